import numpy as np
import pytest

from tiermesh_modelkit.datasets import Example
from tiermesh_modelkit.runtime import ClassifierModel
from tiermesh_modelkit.train import train


@pytest.fixture(scope="module")
def minilm(examples: list[Example]) -> ClassifierModel:
    trained = train(examples, task="support", name="support", encoder="minilm")
    return ClassifierModel(
        trained.manifest,
        model_bytes=trained.files["model.onnx"],
        tokenizer_bytes=trained.files["tokenizer.json"],
    )


def test_meaning_counts_beyond_words(minilm: ClassifierModel) -> None:
    """If attention were wired wrongly, the encoder would be no better than a bag of words."""
    texts = ["the dog bit the man", "a hound attacked a person", "the man bit the dog", "interest rates rose again"]
    vectors = minilm.embed(minilm.tokenise(texts))
    same, other = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[3])
    assert same > other + 0.3
    assert float(vectors[0] @ vectors[2]) < 0.999


def test_known_similarity_is_reproduced(minilm: ClassifierModel) -> None:
    """If layers, heads or the activation differed from the published model, its weights would mean nothing.

    The expected values come from a second forward pass, written in numpy on the unquantised weights.
    """
    texts = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    vectors = minilm.embed(minilm.tokenise(texts))
    assert vectors[0] @ vectors[1:].T == pytest.approx([0.695, 0.943, 0.257], abs=0.005)


def test_padding_does_not_leak(minilm: ClassifierModel) -> None:
    """If attention saw padding, a request's answer would depend on its neighbours."""
    tokens = minilm.tokenise(["lamp", "where is my parcel", "", "charged twice " * 40])
    alone = [minilm.classify([each])[0] for each in tokens]
    np.testing.assert_allclose(minilm.classify(tokens), alone, atol=1e-5)


def test_cut_text_keeps_its_closing_token(minilm: ClassifierModel) -> None:
    """If a long text lost its closing token, it would look unlike anything the encoder was trained on."""
    short, long = minilm.tokenise(["parcel", "parcel " * 600])
    assert long.tokens_read == minilm.manifest.input_tokens_max == 512
    assert (long.tokens_count, long.truncated) == (602, True)
    assert long.ids[-1] == short.ids[-1]
