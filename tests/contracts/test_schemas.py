"""The exported schemas: committed, current, and never broken."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiermesh_contracts.schemas import EXPORTED, export, incompatibilities, main

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "contracts" / "schemas"
PROMISED = COMMITTED / "promised"
"""What others may rely on; changed by hand, when a version is released, and never by `make schemas`."""

Schema = dict[str, Any]


@pytest.fixture
def request_schema() -> Schema:
    schema: Schema = json.loads(export()["inference_request.json"])
    return schema


@pytest.fixture
def result_schema() -> Schema:
    schema: Schema = json.loads(export()["inference_result.json"])
    return schema


def test_the_committed_files_are_what_the_code_says(tmp_path: Path) -> None:
    """Others build their producers from these files and would send what is refused."""
    main(str(tmp_path / "new"))
    fresh = {f.name: f.read_text(encoding="utf-8") for f in (tmp_path / "new").iterdir()}
    committed = {f.name: f.read_text(encoding="utf-8") for f in COMMITTED.glob("*.json")}
    assert fresh == export()
    assert committed == fresh, "run: python -m tiermesh_contracts.schemas contracts/schemas"


def test_nothing_breaks_what_was_promised() -> None:
    """Whoever built on the promised messages could not read, or be read by, what this version writes."""
    promised = {f.stem: json.loads(f.read_text(encoding="utf-8")) for f in PROMISED.iterdir()}
    assert promised.keys() <= EXPORTED.keys(), "a message was taken away"
    now = {name: json.loads(export()[f"{name}.json"]) for name in promised}
    assert {name: incompatibilities(promised[name], now[name]) for name in promised} == {name: [] for name in now}


def test_every_message_is_promised() -> None:
    """A message that nobody promised may be broken unseen."""
    assert {f.stem for f in PROMISED.iterdir()} == EXPORTED.keys(), "copy the new schema into promised/"


def _drop_field(s: Schema) -> None:
    del s["properties"]["tenant"]


def _require(s: Schema) -> None:
    s["required"].append("priority")


def _retype(s: Schema) -> None:
    s["properties"]["deadline_ms"]["type"] = "string"


def _lower_maximum(s: Schema) -> None:
    s["properties"]["output_tokens_max"]["maximum"] = 1024


def _raise_minimum(s: Schema) -> None:
    s["properties"]["deadline_ms"]["minimum"] = 1000


def _bound_what_was_free(s: Schema) -> None:
    s["properties"]["reply_to"]["maxLength"] = 10


def _narrow_pattern(s: Schema) -> None:
    s["properties"]["tenant"]["pattern"] = "^[a-z]+$"


def _reformat_id(s: Schema) -> None:
    del s["properties"]["request_id"]["format"]


def _drop_enum_value(s: Schema) -> None:
    s["$defs"]["Privacy"]["enum"].remove("redact")


def _drop_definition(s: Schema) -> None:
    del s["$defs"]["Lineage"]


def _drop_option(s: Schema) -> None:
    s["properties"]["input"]["anyOf"].pop()


def _drop_nested_field(s: Schema) -> None:
    del s["$defs"]["ChatMessage"]["properties"]["role"]


def _require_nested_field(s: Schema) -> None:
    s["$defs"]["Lineage"]["required"].append("depth")


def _fewer_metadata(s: Schema) -> None:
    s["properties"]["metadata"]["maxProperties"] = 8


def _shorter_metadata(s: Schema) -> None:
    s["properties"]["metadata"]["additionalProperties"]["maxLength"] = 10


def _forbid_unknown(s: Schema) -> None:
    s["additionalProperties"] = False


def _rename_event(s: Schema) -> None:
    s["x-ce-type"] = "tiermesh.request.v2"


BREAKS = [
    _drop_field,
    _require,
    _retype,
    _lower_maximum,
    _raise_minimum,
    _bound_what_was_free,
    _narrow_pattern,
    _reformat_id,
    _drop_enum_value,
    _drop_definition,
    _drop_option,
    _drop_nested_field,
    _require_nested_field,
    _fewer_metadata,
    _shorter_metadata,
    _forbid_unknown,
    _rename_event,
]


@pytest.mark.parametrize("change", BREAKS)
def test_each_breaking_change_is_found(change: Callable[[Schema], None], request_schema: Schema) -> None:
    """It would be released under the same major version."""
    changed = copy.deepcopy(request_schema)
    change(changed)
    assert len(incompatibilities(request_schema, changed)) >= 1


def test_a_change_inside_a_list_is_found(result_schema: Schema) -> None:
    """Lists hold references or inline schemas; both are part of the message."""
    changed = copy.deepcopy(result_schema)
    changed["$defs"]["RoutingDecision"]["properties"]["candidates"]["items"] = {"type": "string"}
    assert any("candidates[items]" in line for line in incompatibilities(result_schema, changed))


def test_additive_changes_are_none(request_schema: Schema) -> None:
    """Each optional field would need a new major version, or the check would be switched off."""
    changed = copy.deepcopy(request_schema)
    changed["properties"]["seed"] = {"type": "integer", "default": 0}
    changed["properties"]["output_tokens_max"] |= {"maximum": 65_536, "minimum": 0, "description": "new words"}
    changed["properties"]["metadata"]["maxProperties"] = 32
    changed["properties"]["input"]["anyOf"].append({"type": "integer"})
    changed["$defs"]["Privacy"]["enum"].append("hashed")
    changed["$defs"]["Extra"] = {"type": "object"}
    assert incompatibilities(request_schema, changed) == []
    assert incompatibilities(request_schema, request_schema) == []
