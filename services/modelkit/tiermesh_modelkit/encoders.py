"""Encoders that a classifier can stand on, by name."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx

from tiermesh_modelkit.errors import ManifestInvalid
from tiermesh_modelkit.manifest import Encoder
from tiermesh_modelkit.minilm import load_minilm
from tiermesh_modelkit.scope import ScopeFit
from tiermesh_modelkit.static import load_static
from tiermesh_modelkit.weights import Weights, load_weights


class GraphEncoder(Protocol):
    """The part of a graph from input_ids [N, T] and mask (float) [N, T] to sums [N, D] of the tokens' vectors."""

    @property
    def description(self) -> Encoder: ...

    @property
    def scope_fit(self) -> ScopeFit: ...

    @property
    def tokenizer_bytes(self) -> bytes: ...

    @property
    def input_tokens_max(self) -> int: ...

    def initializers(self) -> dict[str, npt.NDArray[np.generic]]: ...

    def nodes(self) -> list[onnx.NodeProto]: ...


ENCODERS: Mapping[str, Callable[[Weights], GraphEncoder]] = {"static": load_static, "minilm": load_minilm}


def load_encoder(name: str) -> GraphEncoder:
    """Raises ManifestInvalid for a name not in ENCODERS, WeightsMissing if its weights are not installed."""
    if name not in ENCODERS:
        raise ManifestInvalid(f"no encoder {name!r}; there are: {', '.join(ENCODERS)}")
    return ENCODERS[name](load_weights())
