"""The `minilm` encoder: the whole of all-MiniLM-L6-v2 (BERT, arXiv 1810.04805) written as ONNX, without torch.

Token rows are int8 with a scale each, as in `static`; the other weights are stored as float16 and cast to
float32 when a session opens. Activations stay float32: quantising them a batch at a time would let the
neighbours in a batch change an answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from tiermesh_modelkit.manifest import Encoder
from tiermesh_modelkit.scope import ScopeFit
from tiermesh_modelkit.weights import WEIGHTS_LICENCE, Weights, quantise_rows

LAYERS, HEADS, DIM = 6, 12, 384
TOKENS_MAX = 512
# Attention holds 12 T² floats a text: 50 MB in flight at 512 tokens.
RUN_TOKENS_MAX = 2_048
# The encoder was trained on cosines: its space is nearly round already.
SCOPE_FIT = ScopeFit(sphere_share=0.8, relative_share=0.5)
_EPSILON = 1e-12
_FAR = 1e9


@dataclass(frozen=True)
class MinilmEncoder:
    weights: Weights
    description: Encoder
    input_tokens_max: int = TOKENS_MAX
    scope_fit: ScopeFit = SCOPE_FIT

    @property
    def tokenizer_bytes(self) -> bytes:
        return self.weights.tokenizer_bytes

    def initializers(self) -> dict[str, npt.NDArray[np.generic]]:
        tensors = self.weights.tensors
        rows, scales = quantise_rows(tensors["embeddings.word_embeddings.weight"])
        positions = (
            tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
        )
        values: dict[str, npt.NDArray[np.generic]] = {
            "rows": rows,
            "scales": scales,
            "positions": positions.astype(np.float16),
            "far": np.array(_FAR, dtype=np.float32),
            "head_scale": np.array(np.sqrt(DIM // HEADS), dtype=np.float32),
            "to_heads": np.array([0, 0, HEADS, DIM // HEADS], dtype=np.int64),
            "from_heads": np.array([0, 0, DIM], dtype=np.int64),
            "axis_0": np.array([0], dtype=np.int64),
            "axis_last": np.array([-1], dtype=np.int64),
            "axes_1_2": np.array([1, 2], dtype=np.int64),
        }
        for name in _float_names():
            value = tensors[name]
            values[name] = (value.T if value.ndim == 2 else value).astype(np.float16)
        return values

    def nodes(self) -> list[onnx.NodeProto]:
        """From input_ids and mask (float) [N, T] to the sums of the tokens [N, D]."""
        node = helper.make_node
        casts = [
            node("Cast", [name], [f"{name}.float"], to=TensorProto.FLOAT) for name in ("positions", *_float_names())
        ]
        layers = [each for layer in range(LAYERS) for each in _layer(layer)]
        return [
            *casts,
            *_embeddings(),
            node("Sub", ["mask", "one"], ["absent"]),
            # 0 for a token that is there, far below any product for padding
            node("Mul", ["absent", "far"], ["attention_shift_flat"]),
            node("Unsqueeze", ["attention_shift_flat", "axes_1_2"], ["attention_shift"]),
            *layers,
            node("Unsqueeze", ["mask", "axis_1"], ["mask_rows"]),
            node("MatMul", ["mask_rows", f"hidden{LAYERS}"], ["sum_rows"]),
            node("Squeeze", ["sum_rows", "axis_1"], ["sums"]),
        ]


def load_minilm(weights: Weights) -> MinilmEncoder:
    description = Encoder(
        name="minilm",
        dim=DIM,
        source=weights.source,
        licence=WEIGHTS_LICENCE,
        precision="int8 token rows, float16 weights, float32 activations",
        special_tokens=True,
        run_tokens_max=RUN_TOKENS_MAX,
    )
    return MinilmEncoder(weights, description)


def _float_names() -> Sequence[str]:
    parts = (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    )
    names = ["embeddings.LayerNorm"]
    names += [f"encoder.layer.{layer}.{part}" for layer in range(LAYERS) for part in parts]
    return [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]


def _embeddings() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("Gather", ["rows", "input_ids"], ["token_rows"], axis=0),
        node("Cast", ["token_rows"], ["token_floats"], to=TensorProto.FLOAT),
        node("Gather", ["scales", "input_ids"], ["token_scales_flat"], axis=0),
        node("Unsqueeze", ["token_scales_flat", "axis_last"], ["token_scales"]),
        node("Mul", ["token_floats", "token_scales"], ["token_words"]),
        node("Shape", ["input_ids"], ["width"], start=1, end=2),
        node("Slice", ["positions.float", "axis_0", "width", "axis_0"], ["token_positions"]),
        node("Add", ["token_words", "token_positions"], ["token_sums"]),
        _normalise("token_sums", "embeddings.LayerNorm", "hidden0"),
    ]


def _layer(layer: int) -> list[onnx.NodeProto]:
    node, prefix, own = helper.make_node, f"encoder.layer.{layer}", f"layer{layer}"
    hidden = f"hidden{layer}"
    heads = []
    for role, axes in (("query", (0, 2, 1, 3)), ("key", (0, 2, 3, 1)), ("value", (0, 2, 1, 3))):
        flat, split, turned = f"{own}.{role}", f"{own}.{role}.split", f"{own}.{role}.heads"
        heads += [
            *_linear(hidden, f"{prefix}.attention.self.{role}", flat),
            node("Reshape", [flat, "to_heads"], [split]),
            node("Transpose", [split], [turned], perm=axes),
        ]
    return [
        *heads,
        node("MatMul", [f"{own}.query.heads", f"{own}.key.heads"], [f"{own}.products"]),
        node("Div", [f"{own}.products", "head_scale"], [f"{own}.scaled"]),
        node("Add", [f"{own}.scaled", "attention_shift"], [f"{own}.shifted"]),
        node("Softmax", [f"{own}.shifted"], [f"{own}.shares"], axis=-1),
        node("MatMul", [f"{own}.shares", f"{own}.value.heads"], [f"{own}.read"]),
        node("Transpose", [f"{own}.read"], [f"{own}.read.turned"], perm=(0, 2, 1, 3)),
        node("Reshape", [f"{own}.read.turned", "from_heads"], [f"{own}.joined"]),
        *_linear(f"{own}.joined", f"{prefix}.attention.output.dense", f"{own}.attended"),
        node("Add", [f"{own}.attended", hidden], [f"{own}.attended.sum"]),
        _normalise(f"{own}.attended.sum", f"{prefix}.attention.output.LayerNorm", f"{own}.middle"),
        *_linear(f"{own}.middle", f"{prefix}.intermediate.dense", f"{own}.wide"),
        node("Gelu", [f"{own}.wide"], [f"{own}.active"]),
        *_linear(f"{own}.active", f"{prefix}.output.dense", f"{own}.narrow"),
        node("Add", [f"{own}.narrow", f"{own}.middle"], [f"{own}.narrow.sum"]),
        _normalise(f"{own}.narrow.sum", f"{prefix}.output.LayerNorm", f"hidden{layer + 1}"),
    ]


def _linear(value: str, name: str, output: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("MatMul", [value, f"{name}.weight.float"], [f"{output}.product"]),
        helper.make_node("Add", [f"{output}.product", f"{name}.bias.float"], [output]),
    ]


def _normalise(value: str, name: str, output: str) -> onnx.NodeProto:
    inputs = [value, f"{name}.weight.float", f"{name}.bias.float"]
    return helper.make_node("LayerNormalization", inputs, [output], axis=-1, epsilon=_EPSILON)
