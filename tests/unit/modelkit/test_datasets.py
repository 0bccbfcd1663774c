from pathlib import Path

import pytest

from tiermesh_modelkit.datasets import (
    Example,
    bundled_examples,
    check_trainable,
    examples_sha256,
    read_examples,
    read_texts,
)
from tiermesh_modelkit.errors import ExamplesInvalid


def write(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_jsonl_and_csv_give_the_same_examples(tmp_path: Path) -> None:
    """If the two formats differed, the digest of training data would depend on its wrapping."""
    jsonl = write(tmp_path, "a.jsonl", '{"text": "a, \\"b\\"\\nc", "label": "x"}\n\n{"text":"d","label":"y"}\n')
    csv = write(tmp_path, "a.csv", '\ufefftext,label\n"a, ""b""\nc",x\nd,y\n')
    assert read_examples(jsonl) == read_examples(csv) == [Example('a, "b"\nc', "x"), Example("d", "y")]
    assert examples_sha256(read_examples(jsonl)) == examples_sha256(read_examples(csv))


def test_texts_need_no_label(tmp_path: Path) -> None:
    """If uncovered texts needed a label, they could not be used to judge novelty."""
    assert read_texts(write(tmp_path, "a.jsonl", '{"text": "a"}\n{"text": "b", "label": "x"}\n')) == [
        "a",
        "b",
    ]


@pytest.mark.parametrize(
    ("name", "content", "line", "reason"),
    [
        ("a.jsonl", '{"text":"a","label":"x"}\nnot json\n', 2, "not a JSON object"),
        ("a.jsonl", '{"text":"a","label":"x"}\n\n[1]\n', 3, "not a JSON object"),
        ("a.jsonl", '{"text":"a","label":"x"}\n{"text":"","label":"x"}\n', 2, "`text` is missing, empty"),
        ("a.jsonl", '{"text":"a"}\n', 1, "`label` is missing"),
        ("a.jsonl", '{"text":1,"label":"x"}\n', 1, "`text` is missing, empty or not text"),
        ("a.jsonl", '{"text":"a","label":" x"}\n', 1, "outer blanks"),
        ("a.jsonl", '{"text":"\\ud800","label":"x"}\n', 1, "surrogate"),
        ("a.jsonl", '{"text":"' + "a" * 70_000 + '","label":"x"}\n', 1, "longer than 65536 bytes"),
        ("a.jsonl", "[" * 50_000 + "\n", 1, "not a JSON object"),
        ("a.csv", "text,label\na,x\n ,x\n", 3, "`text` is missing, empty"),
        ("a.csv", "body,label\na,x\n", 2, "`text` is missing"),
        ("a.csv", 'text,label\n"a,x\n', 2, "unexpected end"),
    ],
)
def test_bad_row_names_file_and_line(tmp_path: Path, name: str, content: str, line: int, reason: str) -> None:
    """If the error did not say where, nobody would find one bad row among a hundred thousand."""
    path = write(tmp_path, name, content)
    with pytest.raises(ExamplesInvalid) as caught:
        read_examples(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"x", "are .jsonl or .csv"),
        ("a.jsonl", b"", "has no rows"),
        ("a.csv", b"text,label\n", "has no rows"),
        ("a.jsonl", b'{"text":"\xff","label":"x"}\n', "not UTF-8"),
    ],
)
def test_bad_file_is_named(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    """If an empty or foreign file passed, training would fail later without its name."""
    path = write(tmp_path, name, content)
    with pytest.raises(ExamplesInvalid, match=reason) as caught:
        read_examples(path)
    assert str(path) in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    """If a mistyped path gave a traceback, the command would not be for people."""
    with pytest.raises(ExamplesInvalid, match="does not exist"):
        read_examples(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("examples", "reason"),
    [
        ([], "have none"),
        ([Example("a", "x"), Example("b", "x")], "only 'x'"),
        ([Example("a", "x"), Example("b", "x"), Example("c", "rare")], "'rare' has one example"),
    ],
)
def test_untrainable_examples_are_refused(examples: list[Example], reason: str) -> None:
    """If these were trained on, there would be no label to choose or no fold to judge it by."""
    with pytest.raises(ExamplesInvalid, match=reason):
        check_trainable(examples)


@pytest.mark.parametrize("name", ["nothing_of_the_kind", "../manifest"])
def test_unknown_bundled_examples_are_refused(name: str) -> None:
    """If a name could be a path, bundled data would be any file."""
    with pytest.raises(ExamplesInvalid, match="no bundled examples"):
        bundled_examples(name)
