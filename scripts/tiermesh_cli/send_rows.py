"""Requests from a file: one JSON object a line, checked whole before the first is sent."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from tiermesh_cli.output import CommandFailed
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import InferenceRequest

ROWS_MAX: Final = 1_000_000
ROW_BYTES_MAX: Final = 1_048_576


class RowInvalid(CommandFailed):
    """A row is no request; names the file and the line."""


@dataclass(frozen=True, slots=True)
class Row:
    request: InferenceRequest
    label: str | None
    """The right answer, where the file has it; it is never sent."""


def read_rows(path: Path, defaults: Mapping[str, Any]) -> list[Row]:
    """The requests of `path`; a row's own fields go before `defaults`. Raises `RowInvalid`."""
    rows: list[Row] = []
    seen: dict[tuple[str, str], int] = {}
    for number, line in _lines(path):
        where = f"{path}:{number}"
        row = make_row(_parsed(line, where), defaults, where)
        who = (row.request.tenant, str(row.request.request_id))
        if who in seen:
            raise RowInvalid(f"{where}: request_id {who[1]} is that of line {seen[who]}")
        seen[who] = number
        rows.append(row)
        if len(rows) > ROWS_MAX:
            raise RowInvalid(f"{where}: more than {ROWS_MAX} rows; split the file")
    if not rows:
        raise RowInvalid(f"{path} has no rows")
    return rows


def make_row(fields: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> Row:
    """One request out of a row's fields (`text` is `input`). Raises `RowInvalid` naming the field."""
    given = {**defaults, **fields}
    label = given.pop("label", None)
    if label is not None and not isinstance(label, str):
        raise RowInvalid(f"{where}: label: not text")
    if "text" in given and "input" in given:
        raise RowInvalid(f"{where}: give text or input, not both")
    if "text" in given:
        given["input"] = given.pop("text")
    given.setdefault("request_id", str(new_request_id()))
    try:
        return Row(InferenceRequest.model_validate_json(json.dumps(given), extra="forbid"), label)
    except ValidationError as error:
        raise RowInvalid(f"{where}: {explain(error)}") from error
    except RecursionError:
        raise RowInvalid(f"{where}: nested too deeply") from None


def explain(error: ValidationError) -> str:
    """What is wrong, as `field: why`; a misspelt field before the one that is missing because of it."""
    errors = error.errors()
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    field = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return f"unknown field {field!r}"
    if first["type"] == "missing" and field == "input":
        return "text (or input) is missing"
    why = first["msg"].removeprefix("Value error, ")
    return f"{field}: {why}" if field else why


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            number = 0
            while line := file.readline(ROW_BYTES_MAX + 1):
                number += 1
                if len(line) > ROW_BYTES_MAX:
                    raise RowInvalid(f"{path}:{number}: line longer than {ROW_BYTES_MAX} bytes")
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise RowInvalid(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise RowInvalid(f"{path}: {error.strerror or error}") from error


def _parsed(line: str, where: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise RowInvalid(f"{where}: not a JSON object") from None
    if not isinstance(fields, dict):
        raise RowInvalid(f"{where}: not a JSON object")
    return fields
