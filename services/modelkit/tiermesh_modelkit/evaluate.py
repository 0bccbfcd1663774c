"""How a model does on examples it has not seen, and on texts it must not answer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tiermesh_modelkit.calibrate import auroc, calibration_error, select
from tiermesh_modelkit.datasets import Example, read_examples, read_texts
from tiermesh_modelkit.errors import ExamplesInvalid
from tiermesh_modelkit.runtime import ClassifierModel
from tiermesh_modelkit.store import load_model


class Evaluation(BaseModel):
    """Shares are of 0..1. Accepted = scope score and confidence both reach the manifest's thresholds."""

    model_config = ConfigDict(frozen=True)

    model: str
    version: str
    examples_count: int
    accuracy: float = Field(description="share of right labels over all examples, thresholds aside")
    coverage: float = Field(description="share of examples accepted")
    in_scope: float = Field(description="share of examples whose scope score reaches its threshold")
    accepted_error: float = Field(description="share of wrong labels among the accepted; 0 if none")
    calibration_error: float = Field(description="expected calibration error, 15 bins")
    oos_count: int = 0
    oos_recall: float | None = Field(default=None, description="share of uncovered below the scope threshold")
    oos_refused: float | None = Field(default=None, description="share of uncovered texts not accepted")
    oos_auroc: float | None = Field(default=None, description="of scope_score, examples against uncovered")


def evaluate(model: ClassifierModel, examples: Sequence[Example], oos: Sequence[str] | None = None) -> Evaluation:
    """Runs every example, and the uncovered texts where given.

    Raises ExamplesInvalid for no examples or for a label that the model does not know.
    """
    if not examples:
        raise ExamplesInvalid("no examples to evaluate on")
    strange = sorted({each.label for each in examples} - set(model.labels))
    if strange:
        raise ExamplesInvalid(f"label {strange[0]!r} is not one of model {model.manifest.name}'s labels")
    tokens = model.tokenise([each.text for each in examples])
    probabilities = model.classify(tokens).astype(np.float64)
    scores = model.scope_scores(tokens).astype(np.float64)
    confidence = probabilities.max(axis=1)
    numbers = np.array([model.labels.index(each.label) for each in examples])
    correct = probabilities.argmax(axis=1) == numbers
    thresholds = model.manifest.thresholds
    known = scores >= thresholds.scope_score
    selection = select(known & (confidence >= thresholds.confidence), correct)
    evaluation = Evaluation(
        model=model.manifest.name,
        version=model.manifest.version,
        examples_count=len(examples),
        accuracy=float(correct.mean()),
        coverage=selection.coverage,
        in_scope=float(known.mean()),
        accepted_error=selection.accepted_error,
        calibration_error=calibration_error(confidence, correct),
    )
    if not oos:
        return evaluation
    oos_tokens = model.tokenise(oos)
    oos_scores = model.scope_scores(oos_tokens).astype(np.float64)
    oos_known = oos_scores >= thresholds.scope_score
    oos_sure = model.classify(oos_tokens).max(axis=1) >= thresholds.confidence
    return evaluation.model_copy(
        update={
            "oos_count": len(oos),
            "oos_recall": float(1 - oos_known.mean()),
            "oos_refused": float(1 - (oos_known & oos_sure).mean()),
            "oos_auroc": auroc(scores, oos_scores),
        }
    )


def evaluate_folder(model_dir: Path, examples_path: Path, oos_path: Path | None = None) -> Evaluation:
    """Loads and evaluates; raises ModelError."""
    model = load_model(model_dir)
    return evaluate(model, read_examples(examples_path), read_texts(oos_path) if oos_path else None)
