"""Labelled examples from JSONL or CSV files, and the ones bundled with the package."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TextIO

from tiermesh_modelkit.errors import ExamplesInvalid

ROWS_MAX = 1_000_000
LINE_BYTES_MAX = 1024 * 1024
TEXT_BYTES_MAX = 64 * 1024
LABEL_BYTES_MAX = 128


@dataclass(frozen=True)
class Example:
    text: str
    label: str


def read_examples(path: Path) -> list[Example]:
    """Rows with `text` and `label` of a .jsonl or .csv file; raises ExamplesInvalid naming file and line."""
    return [Example(_text(row, where), _label(row, where)) for where, row in _rows(path)]


def read_texts(path: Path) -> list[str]:
    """The `text` of every row, labelled or not; raises ExamplesInvalid naming file and line."""
    return [_text(row, where) for where, row in _rows(path)]


def bundled_examples(name: str) -> list[Example]:
    """Examples shipped with the package: `support.train`, `support.test`, `documents.train`, `private`, …"""
    with resources.as_file(_bundled(name)) as path:
        return read_examples(path)


def bundled_texts(name: str) -> list[str]:
    """Texts shipped with the package, such as `uncovered`."""
    with resources.as_file(_bundled(name)) as path:
        return read_texts(path)


def check_trainable(examples: Sequence[Example]) -> None:
    """Raises ExamplesInvalid unless there are two labels and two examples of each."""
    counts = Counter(each.label for each in examples)
    if len(counts) < 2:
        found = f"only {next(iter(counts))!r}" if counts else "none"
        raise ExamplesInvalid(f"a classifier needs at least two labels, the examples have {found}")
    rare = sorted(label for label, count in counts.items() if count < 2)
    if rare:
        raise ExamplesInvalid(f"label {rare[0]!r} has one example; give each label at least two, or drop it")


def examples_sha256(examples: Iterable[Example]) -> str:
    """Digest of texts and labels in their order, whatever file format they came from."""
    digest = hashlib.sha256()
    for each in examples:
        digest.update(json.dumps([each.text, each.label], ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def _bundled(name: str) -> resources.abc.Traversable:
    folder = resources.files("tiermesh_modelkit") / "examples"
    file = folder / f"{name}.jsonl"
    if "/" in name or not file.is_file():
        files = folder.iterdir() if folder.is_dir() else ()
        known = sorted(each.name.removesuffix(".jsonl") for each in files)
        raise ExamplesInvalid(f"no bundled examples {name!r}; there are: {', '.join(known) or 'none'}")
    return file


def _rows(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    readers = {".jsonl": _jsonl_rows, ".csv": _csv_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ExamplesInvalid(f"{path}: examples are .jsonl or .csv files, and the name says which")
    if not path.is_file():
        raise ExamplesInvalid(f"{path} does not exist")
    count = 0
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            for line, row in reader(file, path):
                count += 1
                if count > ROWS_MAX:
                    raise ExamplesInvalid(f"{path}:{line}: more than {ROWS_MAX} rows; train on a sample")
                yield f"{path}:{line}", row
        except UnicodeDecodeError:
            raise ExamplesInvalid(f"{path}: not UTF-8 text (after row {count})") from None
    if count == 0:
        raise ExamplesInvalid(f"{path} has no rows")


def _jsonl_rows(file: TextIO, path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    number = 0
    while line := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(line) > LINE_BYTES_MAX:
            raise ExamplesInvalid(f"{path}:{number}: line longer than {LINE_BYTES_MAX} bytes")
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise ExamplesInvalid(f"{path}:{number}: not a JSON object") from None
        if not isinstance(row, dict):
            raise ExamplesInvalid(f"{path}:{number}: not a JSON object")
        yield number, row


def _csv_rows(file: TextIO, path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    reader = csv.DictReader(file, strict=True)
    try:
        for row in reader:
            yield reader.line_num, {key: value for key, value in row.items() if isinstance(key, str)}
    except csv.Error as error:
        raise ExamplesInvalid(f"{path}:{reader.reader.line_num}: {error}") from None


def _text(row: dict[str, object], where: str) -> str:
    text = _field(row, "text", where)
    if len(text.encode(errors="replace")) > TEXT_BYTES_MAX:
        raise ExamplesInvalid(f"{where}: text longer than {TEXT_BYTES_MAX} bytes")
    return text


def _label(row: dict[str, object], where: str) -> str:
    label = _field(row, "label", where)
    if label != label.strip() or len(label.encode(errors="replace")) > LABEL_BYTES_MAX:
        raise ExamplesInvalid(f"{where}: label has outer blanks or more than {LABEL_BYTES_MAX} bytes")
    return label


def _field(row: dict[str, object], field: str, where: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise ExamplesInvalid(f"{where}: `{field}` is missing, empty or not text")
    if not value.isprintable() and any(0xD800 <= ord(char) <= 0xDFFF for char in value):
        raise ExamplesInvalid(f"{where}: `{field}` holds half a surrogate pair")
    return value
