"""Labelled examples in, a model folder out."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from tiermesh_modelkit.calibrate import (
    calibration_error,
    confidence_threshold,
    fit_temperature,
    scope_threshold,
    select,
)
from tiermesh_modelkit.datasets import Example, check_trainable, examples_sha256, read_examples
from tiermesh_modelkit.encoders import GraphEncoder, load_encoder
from tiermesh_modelkit.errors import ManifestInvalid
from tiermesh_modelkit.graph import build_encoder_graph, build_graph
from tiermesh_modelkit.head import LinearHead, OutOfFold, choose_c, fit_head, folds_count, predict_out_of_fold
from tiermesh_modelkit.manifest import (
    MODEL_NAME,
    TOKENIZER_NAME,
    Manifest,
    Metrics,
    Thresholds,
    Training,
    content_version,
    file_entry,
    write_manifest,
)
from tiermesh_modelkit.runner import GraphRunner
from tiermesh_modelkit.scope import fit_scope

ERROR_MAX = 0.10
SCOPE_QUANTILE = 0.05
TRAINING_THREADS = 2

FIT_THREADS = 1
"""Of the linear algebra. The matrices are small: on two shared cores, threads that wait for each other made
CLINC150 take 95 s (66 s of processor time) instead of 58 s (25 s). And the bytes do not depend on
the number of cores."""

Progress = Callable[[str, int, int], None]  # stage, steps done, steps of the stage


@dataclass(frozen=True)
class TrainedModel:
    manifest: Manifest
    files: dict[str, bytes]

    def write(self, folder: Path) -> None:
        """Makes the folder, or replaces it: the new one is whole on disk before the old one moves away."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as beside:
            staged, retired = Path(beside) / "model", Path(beside) / "retired"
            staged.mkdir()
            for name, content in self.files.items():
                (staged / name).write_bytes(content)
            write_manifest(staged, self.manifest)
            if folder.exists():
                folder.rename(retired)
            staged.rename(folder)


def train(
    examples: Sequence[Example],
    *,
    task: str,
    name: str,
    encoder: str = "static",
    error_max: float = ERROR_MAX,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> TrainedModel:
    """Fits a classifier and its thresholds; equal arguments give equal bytes.

    Raises ExamplesInvalid for fewer than two labels or a label with one example, WeightsMissing without the
    encoder's weights, ManifestInvalid for an unknown encoder.
    """
    check_trainable(examples)
    loaded = load_encoder(encoder)
    with threadpool_limits(limits=FIT_THREADS):
        return _fit(examples, loaded, task, name, error_max, seed, on_progress or _silent)


def _fit(
    examples: Sequence[Example],
    loaded: GraphEncoder,
    task: str,
    name: str,
    error_max: float,
    seed: int,
    report: Progress,
) -> TrainedModel:
    labels = tuple(sorted({each.label for each in examples}))
    numbers = np.array([labels.index(each.label) for each in examples], dtype=np.int64)
    embeddings = _embed(loaded, [each.text for each in examples], report)
    c = choose_c(embeddings, numbers, seed=seed)
    unseen = predict_out_of_fold(
        embeddings,
        numbers,
        c=c,
        scope_fit=loaded.scope_fit,
        seed=seed,
        on_fold=lambda done, total: report("folds", done, total),
    )
    temperature = fit_temperature(unseen.logits, numbers)
    head = fit_head(embeddings, numbers, c)
    head = LinearHead(head.weights / temperature, head.bias / temperature)
    report("fit", 1, 1)
    model_bytes = build_graph(loaded, head, fit_scope(embeddings, numbers, loaded.scope_fit))
    thresholds, metrics = _judge(unseen, numbers, temperature, error_max)
    files = {MODEL_NAME: model_bytes, TOKENIZER_NAME: loaded.tokenizer_bytes}
    manifest = Manifest(
        name=name,
        version=content_version(model_bytes),
        task=task,
        labels=labels,
        input_tokens_max=loaded.input_tokens_max,
        encoder=loaded.description,
        thresholds=thresholds,
        training=Training(
            examples_count=len(examples),
            examples_sha256=examples_sha256(examples),
            seed=seed,
            folds=folds_count(numbers),
            inverse_regularisation=c,
            temperature=temperature,
            scope_sphere_share=loaded.scope_fit.sphere_share,
            scope_relative_share=loaded.scope_fit.relative_share,
        ),
        metrics=metrics,
        files={each: file_entry(content) for each, content in files.items()},
    )
    return TrainedModel(manifest, files)


def train_folder(
    examples_path: Path,
    out_dir: Path,
    *,
    task: str | None = None,
    encoder: str = "static",
    max_error: float = ERROR_MAX,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Manifest:
    """Trains on a .jsonl or .csv file and writes out_dir, whose name becomes the model's (and the task's)."""
    name = _model_name(out_dir)
    trained = train(
        read_examples(examples_path),
        task=task or name,
        name=name,
        encoder=encoder,
        error_max=max_error,
        seed=seed,
        on_progress=on_progress,
    )
    trained.write(out_dir)
    return trained.manifest


def _silent(stage: str, done: int, total: int) -> None:
    pass


def _model_name(folder: Path) -> str:
    name = folder.resolve().name
    if not name or not name[0].isalnum() or not all(each in _NAME_LETTERS for each in name) or len(name) > 64:
        raise ManifestInvalid(f"model folder name {name!r}: use a-z, 0-9, '.', '_' and '-', as in `support`")
    return name


_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")


def _embed(encoder: GraphEncoder, texts: list[str], report: Progress) -> npt.NDArray[np.float64]:
    """Unit vectors [N, D] by the graph that will run them later."""
    runner = GraphRunner(
        build_encoder_graph(encoder),
        encoder.tokenizer_bytes,
        input_tokens_max=encoder.input_tokens_max,
        run_tokens_max=encoder.description.run_tokens_max,
        special_tokens=encoder.description.special_tokens,
        threads=TRAINING_THREADS,
    )
    done = 0

    def on_rows(rows: int) -> None:
        nonlocal done
        done += rows
        report("encode", done, len(texts))

    report("encode", 0, len(texts))
    return runner.run("embedding", runner.tokenise(texts), (encoder.description.dim,), on_rows).astype(np.float64)


def _judge(
    unseen: OutOfFold, numbers: npt.NDArray[np.int64], temperature: float, error_max: float
) -> tuple[Thresholds, Metrics]:
    logits = unseen.logits / temperature
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    confidence = probabilities.max(axis=1)
    correct = logits.argmax(axis=1) == numbers
    scope_min = scope_threshold(unseen.scope_scores, quantile=SCOPE_QUANTILE)
    known = unseen.scope_scores >= scope_min
    confidence_min = confidence_threshold(confidence[known], correct[known], error_max=error_max)
    selection = select(known & (confidence >= confidence_min), correct)
    thresholds = Thresholds(
        scope_score=scope_min,
        confidence=confidence_min,
        scope_quantile=SCOPE_QUANTILE,
        error_max=error_max,
        examples_count=len(numbers),
        how=(
            f"out of fold on the training examples: scope_score keeps {1 - SCOPE_QUANTILE:.0%} of them; "
            f"confidence is the smallest with at most {error_max:.1%} wrong among the accepted; "
            "plain estimates without a guarantee"
        ),
    )
    metrics = Metrics(
        accuracy=float(correct.mean()),
        coverage=selection.coverage,
        accepted_error=selection.accepted_error,
        calibration_error=calibration_error(confidence, correct),
    )
    return thresholds, metrics
