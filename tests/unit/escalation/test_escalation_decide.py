"""Whether to call, whether to ask another model, and what a producer gets."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.escalation import (
    BEST_LOCAL,
    EXPIRES_AT_MS,
    LARGE,
    NOW_MS,
    OTHER,
    SMALL,
    endpoint,
    escalation,
    grant,
    outcome,
)
from tiermesh_contracts.escalations import ATTEMPTS_MAX, Escalation, Evidence, Tried
from tiermesh_contracts.requests import Privacy
from tiermesh_contracts.results import InferenceResult, ResultReason, Status, Tier, Usage
from tiermesh_contracts.topics import MESSAGE_BYTES_MAX
from tiermesh_escalation.decide import conclude, judge_attempt, lease_ms, plan_call, plan_delivery
from tiermesh_escalation.decide.deliveries import match_label
from tiermesh_escalation.model import AskNext, Call, Deliver, Endpoint, Finding, Unsent

FAILED = Finding(Evidence.REJECTED)


def tried(ref: Any) -> Tried:
    return Tried(ref=ref, evidence=Evidence.REJECTED)


def delivered(about: Any, now_ms: int = NOW_MS + 1_000) -> InferenceResult:
    plan = plan_delivery(about, now_ms)
    assert isinstance(plan, Deliver)
    return plan.result


def test_the_call_is_exactly_what_was_reserved() -> None:
    """Another body, model or provider would be sent than the one that money was set aside for."""
    about = grant()
    call = plan_call(about, endpoint(api_key="k"), NOW_MS)
    assert isinstance(call, Call)
    assert hashlib.sha256(call.body).hexdigest() == about.reservation.body_sha256
    assert (call.att, call.provider, call.model, call.api_key) == (about.reservation.att, "sim", "sim-large", "k")


def test_keys_and_texts_stay_out_of_what_is_printed() -> None:
    """A log line of a call would hold the key or the text of a request."""
    call = plan_call(grant(), endpoint(api_key="sk-secret"), NOW_MS)
    assert "sk-secret" not in repr(call)
    assert "parcel" not in repr(call)
    assert "sk-secret" not in repr(endpoint(api_key="sk-secret"))


@pytest.mark.parametrize(
    ("left_ms", "timeout_ms", "expected_ms"),
    [(60_000, 30_000, 30_000), (60_000, 90_000, 60_000), (400, 30_000, 1_000), (60_000, 500, 1_000)],
)
def test_a_call_lasts_no_longer_than_its_provider_and_its_deadline_allow(
    left_ms: int, timeout_ms: int, expected_ms: int
) -> None:
    """A call would outlive its fence, or be cut before it can answer."""
    call = plan_call(grant(), endpoint(timeout_ms=timeout_ms), EXPIRES_AT_MS - left_ms)
    assert isinstance(call, Call)
    assert call.timeout_ms == expected_ms
    assert lease_ms(call) == expected_ms + 5_000


@pytest.mark.parametrize(
    ("changes", "about", "at_ms", "helpless"),
    [
        ({"body_sha256": "0" * 64}, {}, NOW_MS, False),
        ({"att": "0" * 64}, {}, NOW_MS, False),
        ({"not_after_ms": NOW_MS}, {}, NOW_MS, False),
        ({}, {}, EXPIRES_AT_MS, True),
        ({}, {"privacy": Privacy.LOCAL_ONLY}, NOW_MS, True),
        ({}, {"privacy": Privacy.REDACT}, NOW_MS, True),
    ],
)
def test_what_may_not_be_sent_is_not(changes: Any, about: Any, at_ms: int, helpless: bool) -> None:
    """Private text would leave, or a call be made that no money covers."""
    plan = plan_call(grant(escalation(**about), **changes), endpoint(), at_ms)
    assert isinstance(plan, Unsent)
    assert plan.helpless is helpless


@pytest.mark.parametrize(
    "to",
    [None, endpoint(unusable="environment variable K is not set"), endpoint(limit_field="max_completion_tokens")],
)
def test_a_provider_that_cannot_be_asked_is_not(to: Endpoint | None) -> None:
    """A call without its key, or with another limit field than was priced, would be made and refused."""
    plan = plan_call(grant(), to, NOW_MS)
    assert isinstance(plan, Unsent)
    assert not plan.helpless


@pytest.mark.parametrize("evidence", list(Evidence))
def test_an_answer_is_final_and_no_answer_asks_the_next_model(evidence: Evidence) -> None:
    """An answered request would be paid for again, or a failed one given up while a model is left."""
    about = escalation()
    assert judge_attempt(about, LARGE, Finding(evidence, output=""), NOW_MS) == "final"
    assert judge_attempt(about, LARGE, Finding(evidence), NOW_MS) == "next"
    assert judge_attempt(about, LARGE, Finding(evidence, helpless=True), NOW_MS) == "final"


@pytest.mark.parametrize(
    ("about", "at_ms", "verdict"),
    [
        ({"candidates": (LARGE,)}, NOW_MS, "final"),
        ({"candidates": ()}, NOW_MS, "final"),
        ({"tried": (tried(SMALL),)}, NOW_MS, "final"),
        ({"candidates": (LARGE, SMALL, OTHER), "tried": (tried(SMALL),)}, NOW_MS, "next"),
        ({"attempt": ATTEMPTS_MAX - 1}, NOW_MS, "next"),
        ({"attempt": ATTEMPTS_MAX}, NOW_MS, "final"),
        ({}, EXPIRES_AT_MS - 1_000, "next"),
        ({}, EXPIRES_AT_MS - 999, "final"),
        ({}, EXPIRES_AT_MS + 1, "final"),
    ],
)
def test_another_attempt_needs_a_model_a_turn_and_time(about: Any, at_ms: int, verdict: str) -> None:
    """Attempts would go on without end, or start when nobody waits any more."""
    assert judge_attempt(escalation(**about), LARGE, FAILED, at_ms) == verdict


def test_an_answer_too_large_for_a_record_is_left_out_and_its_cost_kept() -> None:
    """The outcome could not be written, and paid money would stay held for ever."""
    usage = Usage(input_tokens=1, output_tokens=1)
    finding = Finding(Evidence.COMPLETED, usage, 18_000, output="\x01" * 200_000, response_id="r")
    written = conclude(grant(), finding, NOW_MS)
    assert len(written.to_bytes()) < MESSAGE_BYTES_MAX - 4_096
    assert (written.output, written.cost_usd_nanos, written.usage) == (None, 18_000, usage)
    assert (written.verdict, written.response_id) == ("next", "r")
    assert conclude(grant(), Finding(Evidence.COMPLETED, usage, 18_000, "x" * 200_000), NOW_MS).output is not None


def test_an_answer_is_delivered_with_its_cost_and_where_it_came_from() -> None:
    """A producer would not know which model answered, at what price, under which reservation."""
    about = grant(escalation(labels=("refund", "late_parcel"), attempt=2))
    result = delivered(outcome(about, output=" Refund.\n"))
    assert (result.status, result.tier, result.reason) == (Status.ANSWERED, Tier.FRONTIER, ResultReason.FRONTIER)
    assert (result.model, result.output, result.label) == ("sim/sim-large", " Refund.\n", "refund")
    assert (result.label_source, result.cost_usd_nanos, result.attempts) == (Tier.FRONTIER, 450_000, 2)
    assert result.reservation_id == about.reservation.att
    assert result.usage == Usage(input_tokens=100, output_tokens=10)
    assert result.timings_ms["total"] == 1_000
    assert result.identity == ("acme", about.escalation.accepted.request.request_id, 0)
    assert not result.degraded


def test_an_answer_of_unknown_cost_is_delivered_all_the_same() -> None:
    """Missing usage would cost the producer an answer that is there."""
    result = delivered(outcome(evidence=Evidence.UNKNOWN, usage=None, cost_usd_nanos=None, output=""))
    assert (result.status, result.output, result.cost_usd_nanos, result.usage) == (Status.ANSWERED, "", 0, None)


@pytest.mark.parametrize("evidence", list(Evidence))
def test_without_an_answer_the_best_local_one_is_delivered_as_degraded(evidence: Evidence) -> None:
    """A usable answer would be withheld, or pass for a sure one."""
    about = grant(escalation(best_local=BEST_LOCAL))
    result = delivered(outcome(about, evidence=evidence, output=None, finished_at_ms=EXPIRES_AT_MS))
    assert (result.status, result.tier, result.reason) == (Status.ANSWERED, Tier.LOCAL, ResultReason.BEST_LOCAL)
    assert (result.model, result.label, result.output) == ("support@3", "refund", "refund")
    assert (result.degraded, result.confidence, result.label_source) == (True, 0.4, Tier.LOCAL)


@pytest.mark.parametrize(
    ("evidence", "finished_at_ms", "status", "reason"),
    [
        (Evidence.UNKNOWN, NOW_MS, Status.FAILED, ResultReason.UNKNOWN_OUTCOME),
        (Evidence.UNKNOWN, EXPIRES_AT_MS, Status.FAILED, ResultReason.UNKNOWN_OUTCOME),
        (Evidence.REJECTED, NOW_MS, Status.FAILED, ResultReason.FRONTIER_FAILED),
        (Evidence.REJECTED, EXPIRES_AT_MS, Status.FAILED, ResultReason.FRONTIER_FAILED),
        (Evidence.COMPLETED, NOW_MS, Status.FAILED, ResultReason.FRONTIER_FAILED),
        (Evidence.NOT_SENT, NOW_MS, Status.FAILED, ResultReason.FRONTIER_FAILED),
        (Evidence.NOT_SENT, EXPIRES_AT_MS, Status.EXPIRED, ResultReason.DEADLINE),
    ],
)
def test_without_any_answer_the_result_says_why(
    evidence: Evidence, finished_at_ms: int, status: Status, reason: ResultReason
) -> None:
    """A producer could not tell a lost answer from a refused call or a missed deadline."""
    result = delivered(outcome(evidence=evidence, output=None, finished_at_ms=finished_at_ms, detail="status 429"))
    assert (result.status, result.reason, result.tier) == (status, reason, Tier.NONE)
    assert (result.output, result.label, result.label_source) == (None, None, None)
    assert result.detail == "status 429"


def test_the_next_attempt_knows_what_was_tried_and_has_an_id_of_its_own() -> None:
    """The same model would be asked again, or the same reservation be used twice."""
    about = grant(escalation(best_local=BEST_LOCAL))
    plan = plan_delivery(
        outcome(about, output=None, verdict="next", evidence=Evidence.UNKNOWN, detail="cut"), NOW_MS
    )
    assert isinstance(plan, AskNext)
    assert plan.escalation.attempt == 2
    assert plan.escalation.tried == (Tried(ref=LARGE, evidence=Evidence.UNKNOWN, detail="cut"),)
    assert plan.escalation.untried == (SMALL,)
    assert plan.escalation.att != about.escalation.att
    assert plan.escalation.best_local == BEST_LOCAL
    assert Escalation.from_bytes(plan.escalation.to_bytes()) == plan.escalation


def test_a_verdict_beyond_the_last_attempt_ends_the_request() -> None:
    """A record from elsewhere would ask for attempts that no message can express, and nobody be answered."""
    about = grant(escalation(attempt=ATTEMPTS_MAX))
    assert delivered(outcome(about, output=None, verdict="next")).status is Status.FAILED


@pytest.mark.parametrize(
    ("output", "label"),
    [
        ("refund", "refund"),
        ("REFUND", "refund"),
        ("  refund.\n", "refund"),
        ("Late   parcel .", "late parcel"),
        ("late.", "late."),
        ("refund please", None),
        ("", None),
        (".", None),
    ],
)
def test_a_label_is_found_whatever_its_case_spaces_and_final_period(output: str, label: str | None) -> None:
    """Frontier answers could not be used as labels, or wrong ones would be."""
    assert match_label(output, ("refund", "late parcel", "late.")) == label


@given(labels=st.lists(st.text(min_size=1, max_size=12), unique=True, max_size=5).map(tuple), output=st.text())
def test_a_label_found_is_one_of_those_offered(labels: tuple[str, ...], output: str) -> None:
    """A made-up label would enter the training data."""
    assert match_label(output, labels) in {*labels, None}
    assert match_label(output, ()) is None
