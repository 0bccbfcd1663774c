"""Builds the one ONNX graph of a classifier.

    input_ids [N, T], attention_mask [N, T]                                    int64
      encoder, mean of the tokens, unit length                   → embedding [N, D]
      embedding @ weights + bias, softmax                        → probabilities [N, L]
      embedding @ whitening, distance to the nearest centre      → scope_score [N]    (see scope.py)

The two heads share nothing but the embedding, so a run that fetches one does not compute the other.
"""

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from tiermesh_modelkit.encoders import GraphEncoder
from tiermesh_modelkit.head import LinearHead
from tiermesh_modelkit.scope import ScopeHead

OPSET = 21
IR_VERSION = 10

Initializers = dict[str, npt.NDArray[np.generic]]

_INPUTS = ("input_ids", "attention_mask")


def build_encoder_graph(encoder: GraphEncoder) -> bytes:
    """The serialised encoder alone, with the output `embedding` [N, D]; training embeds with it."""
    nodes, initializers = _embedding(encoder)
    return _serialise(nodes, initializers, {"embedding": ["N", encoder.description.dim]})


def build_graph(encoder: GraphEncoder, head: LinearHead, scope: ScopeHead) -> bytes:
    """The serialised model; equal inputs give equal bytes."""
    nodes, initializers = _embedding(encoder)
    initializers |= {
        "head_weights": head.weights.astype(np.float32),
        "head_bias": head.bias.astype(np.float32),
        "scope_whitening": scope.whitening.astype(np.float32),
        "scope_origin": scope.origin.astype(np.float32),
        "scope_axis_weights": scope.axis_weights.astype(np.float32),
        "scope_centres_twice": (2 * scope.centres.T).astype(np.float32),
        "scope_centres_square": np.square(scope.centres).sum(axis=1).astype(np.float32),
    }
    outputs: dict[str, list[str | int]] = {
        "embedding": ["N", encoder.description.dim],
        "probabilities": ["N", head.bias.shape[0]],
        "scope_score": ["N"],
    }
    return _serialise([*nodes, *_probability_nodes(), *_scope_nodes()], initializers, outputs)


def _serialise(
    nodes: list[onnx.NodeProto], initializers: Initializers, outputs: dict[str, list[str | int]]
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["N", "T"]) for name in _INPUTS],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in initializers.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="tiermesh",
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _embedding(encoder: GraphEncoder) -> tuple[list[onnx.NodeProto], Initializers]:
    node = helper.make_node
    nodes = [
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        *encoder.nodes(),
        node("ReduceSum", ["mask", "axis_1"], ["counts"], keepdims=1),
        node("Max", ["counts", "one"], ["counts_min_1"]),
        node("Div", ["sums", "counts_min_1"], ["means"]),
        node("ReduceL2", ["means", "axis_1"], ["norms"], keepdims=1),
        node("Max", ["norms", "tiny"], ["norms_min"]),
        node("Div", ["means", "norms_min"], ["embedding"]),
    ]
    initializers: Initializers = {
        **encoder.initializers(),
        "axis_1": np.array([1], dtype=np.int64),
        "one": np.array(1, dtype=np.float32),
        "tiny": np.array(1e-12, dtype=np.float32),
    }
    return nodes, initializers


def _probability_nodes() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("MatMul", ["embedding", "head_weights"], ["products"]),
        node("Add", ["products", "head_bias"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]


def _scope_nodes() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("MatMul", ["embedding", "scope_whitening"], ["white_from_zero"]),
        node("Sub", ["white_from_zero", "scope_origin"], ["white"]),
        node("MatMul", ["white", "scope_centres_twice"], ["white_products"]),
        node("Sub", ["white_products", "scope_centres_square"], ["nearness"]),
        node("ReduceMax", ["nearness", "axis_1"], ["nearest"], keepdims=0),
        node("Mul", ["white", "scope_axis_weights"], ["white_weighted"]),
        node("Mul", ["white", "white_weighted"], ["white_squares"]),
        node("ReduceSum", ["white_squares", "axis_1"], ["distance"], keepdims=0),
        node("Sub", ["nearest", "distance"], ["scope_score"]),
    ]
