"""What a producer may ask, and what is refused at the edge."""

import json
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import INPUT_BYTES_MAX, AcceptedRequest, InferenceRequest, Privacy
from tiermesh_contracts.topics import GRANTS, LEDGER, RESULTS, dead_letters, tenant_results


def request(**fields: Any) -> InferenceRequest:
    return InferenceRequest(**{"request_id": new_request_id(), "tenant": "acme", "input": "hello"} | fields)


def refused(why: str, **fields: Any) -> None:
    with pytest.raises(ValidationError, match=why):
        request(**fields)


def test_a_request_survives_the_way_through_bytes() -> None:
    """A field that is lost on the way would be missing in every service."""
    asked = request(
        project="p",
        task="support",
        input=[{"role": "system", "content": "be kind"}, {"role": "user", "content": "grüße 🙂"}],
        output_tokens_max=7,
        deadline_ms=100,
        cost_usd_nanos_max=0,
        priority=9,
        privacy="any",
        on_budget="best_local",
        lineage={"root_id": uuid4(), "depth": 3},
        reply_to="mesh.results.acme.v1",
        metadata={"k": "v"},
    )
    again = InferenceRequest.from_bytes(asked.to_bytes(), "forbid")
    assert again == asked
    assert again.to_bytes() == asked.to_bytes()
    assert again.body_sha256 == asked.body_sha256
    assert again.text == "grüße 🙂"


def test_the_body_hash_tells_bodies_apart_but_not_spellings() -> None:
    """A reused id would pass as the same request, or a resend from another client as a stranger's."""
    asked = request()
    spelled = json.dumps(json.loads(asked.to_bytes()), indent=4, sort_keys=True).encode()
    assert InferenceRequest.from_bytes(spelled).body_sha256 == asked.body_sha256
    assert asked.model_copy(update={"input": "other"}).body_sha256 != asked.body_sha256


@pytest.mark.parametrize(
    "tenant", ["", "A", "a}:b", "a:b", "a b", "-a", "a\n", "ä", "a" * 65, "{org}", "a/b", "a*", "a\x00"]
)
def test_a_tenant_outside_the_grammar_is_refused(tenant: str) -> None:
    """A name with `}:` in it would reach into another organisation's keys, one with a slash into another id."""
    refused("tenant", tenant=tenant)
    refused("project", project=tenant)


@pytest.mark.parametrize("tenant", ["a", "0", "a.b_c-d", "a" * 64])
def test_a_tenant_within_the_grammar_is_taken(tenant: str) -> None:
    """Customers would be locked out by their name."""
    assert request(tenant=tenant).tenant == tenant


@pytest.mark.parametrize(
    "topic",
    [
        LEDGER.name,
        GRANTS.name,
        tenant_results("other"),
        tenant_results("acme.v1"),
        dead_letters(RESULTS.name),
        "mesh.results.v1 ",
        "MESH.RESULTS.V1",
        "mesh.results.acme.v2",
        "",
    ],
)
def test_results_go_to_nobody_elses_topic(topic: str) -> None:
    """A producer would write into the ledger, the grants, or another tenant's answers, through our hands."""
    refused("reply_to", reply_to=topic)


@pytest.mark.parametrize("topic", ["s3cret", "s3cret" * 100_000])
def test_a_foreign_topic_is_not_repeated_in_the_error(topic: str) -> None:
    """What a producer put there would stand in logs and dead letters, up to a megabyte of it."""
    with pytest.raises(ValidationError) as error:
        request(reply_to=topic)
    (found,) = error.value.errors(include_input=False, include_url=False, include_context=False)
    assert "s3cret" not in found["msg"]
    assert len(found["msg"]) < 100


@pytest.mark.parametrize("topic", [RESULTS.name, tenant_results("acme"), tenant_results("a" * 64)])
def test_results_go_to_the_shared_topic_or_the_tenants_own(topic: str) -> None:
    """A tenant with its own topic would get no answers."""
    assert request(reply_to=topic, tenant="a" * 64 if "aaa" in topic else "acme").reply_to == topic


def test_input_is_bounded_in_bytes_not_characters() -> None:
    """A hold is computed from bytes: a text of four-byte characters would cost four times what was set aside."""
    assert request(input="ä" * (INPUT_BYTES_MAX // 2)).input_bytes == INPUT_BYTES_MAX
    refused("input has", input="ä" * (INPUT_BYTES_MAX // 2) + "a")
    half = {"role": "user", "content": "x" * (INPUT_BYTES_MAX // 2)}
    assert request(input=[half, half]).input_bytes == INPUT_BYTES_MAX
    refused("input has", input=[half, half, {"role": "user", "content": "x"}])


@pytest.mark.parametrize("empty", ["", [], [{"role": "user", "content": ""}], [{"role": "tool", "content": "x"}]])
def test_empty_or_foreign_input_is_refused(empty: Any) -> None:
    """A model would be run, and perhaps paid, for nothing."""
    with pytest.raises(ValidationError, match="input"):
        request(input=empty)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("output_tokens_max", 10**9),
        ("output_tokens_max", -1),
        ("output_tokens_max", 0),
        ("output_tokens_max", float("nan")),
        ("output_tokens_max", float("inf")),
        ("deadline_ms", 99),
        ("deadline_ms", 604_800_001),
        ("deadline_ms", -1),
        ("cost_usd_nanos_max", -1),
        ("cost_usd_nanos_max", 2**53),
        ("priority", 10),
        ("priority", -1),
        ("privacy", "public"),
        ("on_budget", "overspend"),
        ("lineage", {"root_id": str(uuid4()), "depth": 1001}),
        ("lineage", {"root_id": str(uuid4()), "depth": -1}),
        ("metadata", {str(i): "" for i in range(17)}),
        ("metadata", {"k" * 65: ""}),
        ("metadata", {"k": "v" * 257}),
        ("request_id", uuid4()),
        ("request_id", "not an id"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(field: str, value: Any) -> None:
    """An unbounded hold, a deadline of years, or memory filled by one producer."""
    with pytest.raises(ValidationError) as error:
        request(**{field: value})
    assert error.value.errors()[0]["loc"][0] == field


def test_not_a_number_is_no_number_on_the_wire() -> None:
    """JSON's `NaN` would pass as a count and compare false with every limit."""
    raw = request().to_bytes()
    for wrong in (b"NaN", b"-Infinity", b"1e9", b'"many"'):
        with pytest.raises(ValidationError):
            InferenceRequest.from_bytes(raw.replace(b'"output_tokens_max":256', b'"output_tokens_max":' + wrong))


def test_half_a_character_is_refused() -> None:
    """A lone surrogate cannot be encoded: the record would break whoever writes it on."""
    raw = request(input="hello").to_bytes().replace(b"hello", b"\\ud800")
    with pytest.raises(ValidationError):
        InferenceRequest.from_bytes(raw)
    with pytest.raises(ValidationError):
        request(input="\ud800")


def test_unknown_fields_are_ignored_at_run_time_and_refused_in_tests() -> None:
    """A newer producer would stop an older service, or a misspelt field would be seen by nobody."""
    raw = json.dumps(json.loads(request().to_bytes()) | {"tempature": 1}).encode()
    assert InferenceRequest.from_bytes(raw).tenant == "acme"
    with pytest.raises(ValidationError, match="tempature"):
        InferenceRequest.from_bytes(raw, "forbid")


def test_the_edges_of_the_bounds_are_within_them() -> None:
    """Off by one at a documented limit."""
    asked = request(
        output_tokens_max=32_768,
        deadline_ms=604_800_000,
        cost_usd_nanos_max=9_000_000_000_000_000,
        metadata={f"{i:064}": "v" * 256 for i in range(16)},
        lineage={"root_id": uuid4(), "depth": 1000},
    )
    assert InferenceRequest.from_bytes(asked.to_bytes()) == asked


def test_only_any_may_leave() -> None:
    """Private text would reach a frontier."""
    asked = request()
    leaving = {
        privacy: AcceptedRequest(request=asked, accepted_at_ms=0, expires_at_ms=1, privacy=privacy).may_leave
        for privacy in Privacy
    }
    assert leaving == {Privacy.LOCAL_ONLY: False, Privacy.REDACT: False, Privacy.ANY: True}


def test_ids_are_version_7_and_sort_by_time() -> None:
    """The mesh refuses other versions, so the client's own ids would be refused."""
    early, late = new_request_id(1_000), new_request_id(2_000)
    assert early.version == late.version == 7
    assert early.variant == uuid4().variant
    assert early < late
    assert request(request_id=new_request_id()).root_id
