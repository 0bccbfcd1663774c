"""A classifier ready to run: tokenise, then the scope score or the label probabilities, on CPU or CUDA."""

from collections.abc import Sequence

from tiermesh_modelkit.errors import ManifestInvalid
from tiermesh_modelkit.manifest import Manifest
from tiermesh_modelkit.runner import FloatArray, GraphRunner, Tokens

__all__ = ["ClassifierModel", "Tokens"]


class ClassifierModel:
    """Blocking and safe to share between threads; call it from a worker thread, not from an event loop."""

    def __init__(self, manifest: Manifest, *, model_bytes: bytes, tokenizer_bytes: bytes, threads: int = 1) -> None:
        self.manifest = manifest
        self._runner = GraphRunner(
            model_bytes,
            tokenizer_bytes,
            input_tokens_max=manifest.input_tokens_max,
            run_tokens_max=manifest.encoder.run_tokens_max,
            special_tokens=manifest.encoder.special_tokens,
            threads=threads,
        )
        missing = {"embedding", "probabilities", "scope_score"} - self._runner.outputs
        if missing:
            raise ManifestInvalid(f"model {manifest.name}: model.onnx lacks {min(missing)}; train it again")

    @property
    def labels(self) -> tuple[str, ...]:
        return self.manifest.labels

    @property
    def providers(self) -> list[str]:
        """onnxruntime's execution providers, the preferred one first."""
        return self._runner.providers

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text; one cut at the manifest's input_tokens_max says so in `truncated`."""
        return self._runner.tokenise(texts)

    def classify(self, batch: Sequence[Tokens]) -> FloatArray:
        """Probabilities [N, L], columns in the order of the manifest's labels."""
        return self._runner.run("probabilities", batch, (len(self.labels),))

    def scope_scores(self, batch: Sequence[Tokens]) -> FloatArray:
        """How near each text is to what the model was trained on [N]; higher is nearer."""
        return self._runner.run("scope_score", batch, ())

    def embed(self, batch: Sequence[Tokens]) -> FloatArray:
        """Unit vectors [N, D]."""
        return self._runner.run("embedding", batch, (self.manifest.encoder.dim,))
