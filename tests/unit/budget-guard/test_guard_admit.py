"""Admission, pure: who is asked, at what worst case, and what happens when the money is short."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.budget import BEST_LOCAL, LARGE, NOW_MS, OFFERS, SMALL, UNPRICED, escalation, offer
from tiermesh_budget.decide import decide_short, plan_admission
from tiermesh_budget.decide.admit import at_deadline, bid_for
from tiermesh_budget.model import End, NoMoney, Park, Tender
from tiermesh_contracts.budget import Rates
from tiermesh_contracts.escalations import Evidence, ModelRef, Tried
from tiermesh_contracts.frontier import chat_body
from tiermesh_contracts.requests import ChatMessage, OnBudget, Privacy
from tiermesh_contracts.results import ResultReason, Status, Tier, Usage

BUDGET, OWN = NoMoney("tenant:acme", "day"), NoMoney("request", "lifetime")
UNKNOWN = ModelRef(provider="gone", model="m")


def tried(*refs):
    return tuple(Tried(ref=ref, evidence=Evidence.UNKNOWN) for ref in refs)


def refs_of(plan):
    assert isinstance(plan, Tender)
    return [bid.offer.ref for bid in plan.bids]


def reason_of(plan):
    assert isinstance(plan, End)
    return plan.result.status, plan.result.reason


@pytest.mark.parametrize("late_ms", [0, 1, 10**9])
def test_nothing_is_asked_for_at_or_after_the_deadline(late_ms):
    """Money would be held for an answer that nobody waits for."""
    about = escalation(deadline_ms=1_000, about={"best_local": BEST_LOCAL})
    plan = plan_admission(about, OFFERS, NOW_MS + 1_000 + late_ms)
    assert reason_of(plan) == (Status.EXPIRED, ResultReason.DEADLINE)
    assert refs_of(plan_admission(about, OFFERS, NOW_MS + 999)) == [LARGE, SMALL]


@pytest.mark.parametrize("privacy", [Privacy.LOCAL_ONLY, Privacy.REDACT])
def test_what_may_not_leave_gets_no_bid_whatever_its_candidates(privacy):
    """Private text would be sent to a frontier by the last gate before it."""
    plan = plan_admission(escalation(privacy=privacy), OFFERS, NOW_MS)
    assert reason_of(plan) == (Status.REFUSED, ResultReason.PRIVATE_AND_NOVEL)
    plan = plan_admission(escalation(privacy=privacy, about={"best_local": BEST_LOCAL}), OFFERS, NOW_MS)
    assert reason_of(plan) == (Status.ANSWERED, ResultReason.BEST_LOCAL)


@pytest.mark.parametrize(
    ("candidates", "done", "end"),
    [
        ((), (), (Status.FAILED, ResultReason.NO_FRONTIER)),
        ((UNKNOWN,), (), (Status.FAILED, ResultReason.NO_FRONTIER)),
        ((LARGE, SMALL), (LARGE, SMALL), (Status.FAILED, ResultReason.FRONTIER_FAILED)),
        ((LARGE, UNKNOWN), (LARGE,), (Status.FAILED, ResultReason.FRONTIER_FAILED)),
        ((UNPRICED,), (), (Status.REFUSED, ResultReason.NO_PRICE)),
        ((UNPRICED, UNKNOWN), (), (Status.REFUSED, ResultReason.NO_PRICE)),
    ],
)
def test_without_a_model_that_has_a_price_the_request_ends_and_says_why(candidates, done, end):
    """A model that nobody can price would be called for zero dollars."""
    about = escalation(about={"candidates": candidates, "tried": tried(*done)})
    plan = plan_admission(about, OFFERS, NOW_MS)
    assert reason_of(plan) == end
    assert plan.result.attempts == len(done)


def test_the_policys_order_is_kept_and_what_was_tried_is_not_asked_again():
    """The dear model would be asked before the cheap one, or one that failed twice paid twice."""
    third = ModelRef(provider="other", model="m")
    offers = {**OFFERS, third: offer(third)}
    about = escalation(about={"candidates": (SMALL, UNPRICED, third, UNKNOWN, LARGE)})
    assert refs_of(plan_admission(about, offers, NOW_MS)) == [SMALL, third, LARGE]
    about = about.model_copy(update={"tried": tried(third), "attempt": 2})
    assert refs_of(plan_admission(about, offers, NOW_MS)) == [SMALL, LARGE]


def test_a_model_that_cannot_read_the_input_is_skipped():
    """It would be paid to answer with an error."""
    about = escalation(input="x" * 4_000, output_tokens_max=100)
    small = offer(SMALL, context_tokens=1_050)
    assert refs_of(plan_admission(about, {SMALL: small, LARGE: offer()}, NOW_MS)) == [LARGE]
    plan = plan_admission(about, {SMALL: small, UNPRICED: OFFERS[UNPRICED]}, NOW_MS)
    assert reason_of(plan) == (Status.REFUSED, ResultReason.INPUT_TOO_LONG)


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=300)
inputs = texts | st.lists(
    st.builds(ChatMessage, role=st.sampled_from(["system", "user", "assistant"]), content=texts), min_size=1
).map(tuple)
prices = st.integers(0, 100_000_000_000)


@given(
    inputs,
    st.integers(1, 32_768),
    st.builds(
        Rates,
        input_usd_nanos_per_mtok=prices,
        cached_input_usd_nanos_per_mtok=prices,
        output_usd_nanos_per_mtok=prices,
        version=st.just("v"),
    ),
    st.data(),
)
def test_a_hold_covers_every_usage_that_the_body_and_its_limit_allow(text, output_tokens_max, rates, data):
    """A call could cost more than was set aside for it: the bill would pass the books."""
    about = escalation(input=text, output_tokens_max=output_tokens_max)
    bid = bid_for(about, offer(rates=rates))
    assert bid is not None
    body = chat_body(about, LARGE.model)
    assert (bid.att, bid.input_tokens_max, bid.output_tokens_max) == (about.att, len(body), output_tokens_max)
    assert bid.body_sha256 == hashlib.sha256(body).hexdigest()
    assert bid.price == rates
    read = data.draw(st.integers(0, len(body)))
    usage = Usage(
        input_tokens=read,
        cached_input_tokens=data.draw(st.integers(0, read)),
        output_tokens=data.draw(st.integers(0, output_tokens_max)),
    )
    assert rates.cost_usd_nanos(usage) <= bid.amount_usd_nanos


def test_every_bid_of_an_attempt_is_for_the_same_attempt():
    """Two holds could stand for one call."""
    about = escalation(about={"attempt": 3})
    plan = plan_admission(about, OFFERS, NOW_MS)
    assert {bid.att for bid in plan.bids} == {about.att}
    assert about.att != escalation(request_id=about.accepted.request.request_id).att


EXPECTED_SHORT = {
    (OnBudget.DEFER, False, False): "park",
    (OnBudget.DEFER, False, True): "park",
    (OnBudget.DEFER, True, False): (Status.REFUSED, ResultReason.COST_LIMIT),
    (OnBudget.DEFER, True, True): (Status.ANSWERED, ResultReason.BUDGET_BEST_LOCAL),
    (OnBudget.BEST_LOCAL, False, False): (Status.REFUSED, ResultReason.BUDGET_REFUSED),
    (OnBudget.BEST_LOCAL, False, True): (Status.ANSWERED, ResultReason.BUDGET_BEST_LOCAL),
    (OnBudget.BEST_LOCAL, True, False): (Status.REFUSED, ResultReason.COST_LIMIT),
    (OnBudget.BEST_LOCAL, True, True): (Status.ANSWERED, ResultReason.BUDGET_BEST_LOCAL),
    (OnBudget.REFUSE, False, False): (Status.REFUSED, ResultReason.BUDGET_REFUSED),
    (OnBudget.REFUSE, False, True): (Status.REFUSED, ResultReason.BUDGET_REFUSED),
    (OnBudget.REFUSE, True, False): (Status.REFUSED, ResultReason.COST_LIMIT),
    (OnBudget.REFUSE, True, True): (Status.REFUSED, ResultReason.COST_LIMIT),
}


@pytest.mark.parametrize(("on_budget", "own", "local"), EXPECTED_SHORT)
def test_short_of_money_the_request_gets_what_it_asked_for(on_budget, own, local):
    """Who wants an answer now would wait, or who can wait be refused; a limit of its own never comes back."""
    about = escalation(on_budget=on_budget, about={"best_local": BEST_LOCAL if local else None})
    what = decide_short(about, OWN if own else BUDGET, NOW_MS)
    expected = EXPECTED_SHORT[on_budget, own, local]
    if expected == "park":
        assert isinstance(what, Park)
        assert "tenant:acme" in what.why
    else:
        assert reason_of(what) == expected


def test_a_local_answer_in_place_of_a_frontier_says_that_it_is_one():
    """A producer would take a guess for the answer that it asked for."""
    about = escalation(on_budget=OnBudget.BEST_LOCAL, about={"best_local": BEST_LOCAL})
    end = decide_short(about, BUDGET, NOW_MS + 40)
    assert isinstance(end, End)
    result = end.result
    assert (result.degraded, result.tier, result.label_source) == (True, Tier.LOCAL, Tier.LOCAL)
    assert (result.model, result.label, result.confidence) == ("support@3", "refund", 0.4)
    assert (result.cost_usd_nanos, result.reservation_id) == (0, None)
    assert result.timings_ms["total"] == 40


@pytest.mark.parametrize(
    ("parked", "local", "end"),
    [
        (False, False, (Status.EXPIRED, ResultReason.DEADLINE)),
        (False, True, (Status.EXPIRED, ResultReason.DEADLINE)),
        (True, False, (Status.EXPIRED, ResultReason.BUDGET_DEADLINE)),
        (True, True, (Status.ANSWERED, ResultReason.BUDGET_BEST_LOCAL)),
    ],
)
def test_who_waited_for_money_in_vain_gets_the_local_answer_or_is_told_so(parked, local, end):
    """The wait for money would be blamed on the mesh, or a local answer thrown away."""
    about = escalation(about={"best_local": BEST_LOCAL if local else None})
    result = at_deadline(about, NOW_MS + 60_000, parked=parked)
    assert (result.status, result.reason) == end
    assert result.degraded == (parked and local)


def test_a_result_belongs_to_its_request_and_redrive():
    """An answer would reach another request, or be taken for the first send's."""
    about = escalation(request_id=(one := escalation()).accepted.request.request_id, tenant="other")
    about = about.model_copy(update={"accepted": about.accepted.model_copy(update={"redrive": 2})})
    assert at_deadline(about, NOW_MS).identity == ("other", one.accepted.request.request_id, 2)
