"""Exported JSON Schemas, and what counts as an incompatible change.

`python -m tiermesh_contracts.schemas DIR` writes one file a message.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from tiermesh_contracts.budget import LedgerEntry, Opening
from tiermesh_contracts.escalations import Escalation, Grant, Outcome, Parked
from tiermesh_contracts.failures import DeadLetter
from tiermesh_contracts.message import Message, Part
from tiermesh_contracts.requests import InferenceRequest, LocalWork
from tiermesh_contracts.results import InferenceResult

EXPORTED: Final[dict[str, type[Part]]] = {
    "inference_request": InferenceRequest,
    "local_work": LocalWork,
    "escalation": Escalation,
    "parked": Parked,
    "grant": Grant,
    "outcome": Outcome,
    "inference_result": InferenceResult,
    "ledger_entry": LedgerEntry,
    "opening": Opening,
    "dead_letter": DeadLetter,
}

Schema = dict[str, Any]


def export() -> dict[str, str]:
    """File name to text, stable under re-export."""
    files = {}
    for name, model in EXPORTED.items():
        schema = model.model_json_schema(mode="validation")
        if issubclass(model, Message):
            schema["x-ce-type"] = model.ce_type
        files[f"{name}.json"] = json.dumps(schema, indent=2, sort_keys=True) + "\n"
    return files


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """What a reader or writer of the `old` schema would trip over in the `new` one, a line each.

    Additive change is compatible: optional fields, further definitions. Not compatible: a field taken away or
    made required, another type, an enum value taken away, a tighter bound.
    """
    found: list[str] = []
    _compare("", old, new, found)
    for name, definition in old.get("$defs", {}).items():
        if name not in new.get("$defs", {}):
            found.append(f"$defs.{name}: taken away")
        else:
            _compare(f"$defs.{name}", definition, new["$defs"][name], found)
    return found


def _compare(path: str, old: Schema, new: Schema, found: list[str]) -> None:
    where = path or "."
    found += [
        f"{where}: {keyword} was {old.get(keyword)!r}, is {new.get(keyword)!r}"
        for keyword in ("type", "$ref", "const", "pattern", "format", "x-ce-type")
        if old.get(keyword) != new.get(keyword)
    ]
    found += [f"{where}: enum value {v!r} taken away" for v in old.get("enum", []) if v not in new.get("enum", [])]
    found += [f"{where}: {option} taken away" for option in _lost_options(old, new)]
    found += [f"{where}: {keyword} is tighter" for keyword in _tighter_bounds(old, new)]
    required = set(new.get("required", [])) - set(old.get("required", []))
    found += [f"{path}.{name}: now required" for name in sorted(required)]
    for name, field in old.get("properties", {}).items():
        if name in new.get("properties", {}):
            _compare(f"{path}.{name}", field, new["properties"][name], found)
        else:
            found.append(f"{path}.{name}: taken away")
    for keyword in ("items", "additionalProperties", "propertyNames"):
        _compare_inner(f"{path}[{keyword}]", old.get(keyword, True), new.get(keyword, True), found)


def _compare_inner(path: str, old: Schema | bool, new: Schema | bool, found: list[str]) -> None:
    """Of what a list or an object holds: True allows anything, False nothing."""
    if isinstance(old, dict) and isinstance(new, dict):
        _compare(path, old, new, found)
    elif old is not False and new is not True and old != new:
        found.append(f"{path}: is tighter")


def _lost_options(old: Schema, new: Schema) -> list[str]:
    return [json.dumps(option) for option in old.get("anyOf", []) if option not in new.get("anyOf", [])]


def _tighter_bounds(old: Schema, new: Schema) -> list[str]:
    upper = ("maximum", "maxLength", "maxItems", "maxProperties", "exclusiveMaximum")
    lower = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
    return [k for k in upper if k in new and new[k] < old.get(k, float("inf"))] + [
        k for k in lower if k in new and new[k] > old.get(k, float("-inf"))
    ]


def main(folder: str) -> None:
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for name, text in export().items():
        (target / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
