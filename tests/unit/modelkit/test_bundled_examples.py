"""The bundled examples: enough, varied, and not won by keywords."""

import json
import math
import re
from collections import Counter, defaultdict
from importlib import resources

import pytest

TASKS = {"support": (20, 1000), "documents": (6, 180)}
KEYWORDS_A_LABEL = 10


def rows(name: str) -> list[dict[str, str]]:
    path = resources.files("tiermesh_modelkit") / "examples" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z']+", text.lower()))


def keywords(train: list[dict[str, str]]) -> dict[str, dict[str, float]]:
    """The ten words most typical of each label: how often there, times how rare elsewhere."""
    documents = Counter(word for row in train for word in words(row["text"]))
    by_label: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in train:
        by_label[row["label"]].update(words(row["text"]))
    counts = Counter(row["label"] for row in train)
    return {
        label: dict(
            sorted(
                ((word, n / counts[label] * math.log(len(train) / documents[word])) for word, n in found.items()),
                key=lambda scored: -scored[1],
            )[:KEYWORDS_A_LABEL]
        )
        for label, found in by_label.items()
    }


@pytest.mark.parametrize("task", TASKS)
def test_there_are_enough_examples_of_every_label(task):
    """A label with a handful of examples would make the demo's accuracy a matter of luck."""
    labels_min, examples_min = TASKS[task]
    train, test = rows(f"{task}.train"), rows(f"{task}.test")
    assert len({row["label"] for row in train}) >= labels_min
    assert len(train) + len(test) >= examples_min
    assert {row["label"] for row in train} == {row["label"] for row in test}
    assert min(Counter(row["label"] for row in train).values()) >= 15


@pytest.mark.parametrize("task", TASKS)
def test_test_texts_have_few_near_neighbours_in_training(task):
    """Texts of one template on both sides would measure memory, not understanding."""
    train = [words(row["text"]) for row in rows(f"{task}.train")]
    test = [words(row["text"]) for row in rows(f"{task}.test")]
    near = sum(any(len(t & o) > 0.6 * len(t | o) for o in train) for t in test)
    assert near / len(test) <= 0.10


@pytest.mark.parametrize("task", TASKS)
def test_a_keyword_baseline_stays_behind(task):
    """If ten words a label were enough, nobody would need a model and the demo would show nothing."""
    known = keywords(rows(f"{task}.train"))
    test = rows(f"{task}.test")

    def guess(text: str) -> str:
        found = words(text)
        return max(known, key=lambda label: (sum(known[label].get(word, 0) for word in found), label))

    right = sum(guess(row["text"]) == row["label"] for row in test)
    assert right / len(test) < 0.75


def test_uncovered_and_private_requests_are_there():
    """The demo needs work that no model covers, and work that may not leave, covered and uncovered."""
    private = rows("private")
    assert len(rows("uncovered")) >= 150
    assert any(row["label"] is None for row in private)
    assert any(row["label"] is not None for row in private)
    assert any("@example." in row["text"] for row in private)


def test_no_text_stands_twice():
    """A text in train and test, or under two labels, would be wrong in both."""
    texts = [row["text"] for task in TASKS for side in ("train", "test") for row in rows(f"{task}.{side}")]
    texts += [row["text"] for name in ("uncovered", "private") for row in rows(name)]
    assert len(set(texts)) == len(texts)
