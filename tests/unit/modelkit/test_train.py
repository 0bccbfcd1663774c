import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tiermesh_modelkit.calibrate import NEVER_CONFIDENT
from tiermesh_modelkit.datasets import Example, examples_sha256
from tiermesh_modelkit.errors import ExamplesInvalid, ManifestInvalid
from tiermesh_modelkit.evaluate import evaluate, evaluate_folder
from tiermesh_modelkit.runtime import ClassifierModel
from tiermesh_modelkit.train import train, train_folder


def write_examples(path: Path, examples: list[Example]) -> Path:
    rows = (json.dumps({"text": each.text, "label": each.label}) for each in examples)
    path.write_text("\n".join(rows) + "\n")
    return path


def test_folder_in_folder_out(tmp_path: Path, examples: list[Example]) -> None:
    """If the two calls of the command line did not fit together, no user could train a model."""
    data = write_examples(tmp_path / "rows.jsonl", examples)
    stages: list[str] = []
    manifest = train_folder(data, tmp_path / "support", on_progress=lambda stage, *_: stages.append(stage))
    assert (manifest.name, manifest.task, manifest.labels) == (
        "support",
        "support",
        ("charge", "parcel", "password"),
    )
    assert manifest.training.examples_count == len(examples)
    assert manifest.training.examples_sha256 == examples_sha256(examples)
    assert list(dict.fromkeys(stages)) == ["encode", "folds", "fit"]
    (tmp_path / "oos.jsonl").write_text('{"text": "prove that seven is prime"}\n')
    evaluation = evaluate_folder(tmp_path / "support", data, tmp_path / "oos.jsonl")
    assert evaluation.version == manifest.version
    assert evaluation.model_dump()["oos_count"] == 1


def test_two_labels_train(examples: list[Example]) -> None:
    """If the two-label case were not mended, its only column would be read as one label's probability."""
    two = [each for each in examples if each.label != "parcel"]
    trained = train(two, task="t", name="t")
    model = ClassifierModel(
        trained.manifest,
        model_bytes=trained.files["model.onnx"],
        tokenizer_bytes=trained.files["tokenizer.json"],
    )
    assert evaluate(model, two).accuracy == 1


def test_thresholds_say_how_they_were_made(model: ClassifierModel, examples: list[Example]) -> None:
    """If a threshold's origin were unknown, nobody could say what it promises."""
    thresholds = model.manifest.thresholds
    assert thresholds.examples_count == len(examples)
    assert "out of fold" in thresholds.how
    assert "without a guarantee" in thresholds.how


def test_model_that_cannot_reach_the_error_is_never_sure() -> None:
    """If random labels still gave a confident model, wrong answers would be delivered as sure ones."""
    random = np.random.default_rng(0)
    words = ["lamp", "sofa", "order", "box", "card", "mail", "door", "time", "app", "plan"]
    noise = [Example(" ".join(random.choice(words, 4)), f"label{n % 2}") for n in range(60)]
    trained = train(noise, task="t", name="t", error_max=0.0)
    assert trained.manifest.thresholds.confidence > 0.5
    assert trained.manifest.metrics.coverage < 0.3 or trained.manifest.thresholds.confidence == NEVER_CONFIDENT


def test_evaluation_agrees_with_the_model(model: ClassifierModel, examples: list[Example]) -> None:
    """If the report did not count what the services decide, its figures would be another model's."""
    evaluation = evaluate(model, examples, ["prove that the square root of seven is irrational"] * 2)
    tokens = model.tokenise([each.text for each in examples])
    known = model.scope_scores(tokens) >= model.manifest.thresholds.scope_score
    sure = model.classify(tokens).max(axis=1) >= model.manifest.thresholds.confidence
    assert evaluation.coverage == pytest.approx(float((known & sure).mean()))
    assert evaluation.oos_auroc is not None
    assert evaluation.oos_auroc > 0.5


def test_label_the_model_does_not_know_is_refused(model: ClassifierModel) -> None:
    """If a strange label counted as wrong, a mixed-up file would look like a bad model."""
    with pytest.raises(ExamplesInvalid, match="'elsewhere' is not one of"):
        evaluate(model, [Example("a", "elsewhere")])


def test_bad_folder_name_is_refused(tmp_path: Path, examples: list[Example]) -> None:
    """If any folder name became a model's name, it would not fit a topic or a metric."""
    data = write_examples(tmp_path / "rows.jsonl", examples)
    with pytest.raises(ManifestInvalid, match="'My Model'"):
        train_folder(data, tmp_path / "My Model")


def test_running_needs_no_training_library() -> None:
    """If the runtime pulled sklearn or onnx in, the images would be several times as large."""
    code = (
        "import sys; import tiermesh_modelkit.store, tiermesh_modelkit.evaluate;"
        "print([m for m in ('sklearn', 'onnx', 'safetensors', 'scipy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
