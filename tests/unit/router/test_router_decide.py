from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiermesh_contracts.escalations import LABELS_MAX, ModelRef
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import AUTO, InferenceRequest, Privacy
from tiermesh_contracts.results import ResultReason, Status
from tiermesh_contracts.routing import Route, RouteReason
from tiermesh_router.decide import CANDIDATES_MAX, accept, choose_route, choose_step
from tiermesh_router.model import End, Escalate, Facts, SendLocal, TaskScore, Unscored

FRONTIER = (ModelRef(provider="sim", model="large"), ModelRef(provider="sim", model="small"))
LABELS = ("lost", "late")


def task_score(task: str = "support", score: float = 1.0, threshold: float = 0.0, **changes: Any) -> TaskScore:
    known = {"model": task, "version": "0123456789ab", "labels": LABELS}
    return TaskScore(task=task, score=score, threshold=threshold, **{**known, **changes})


def facts(*scores: TaskScore, task: str = AUTO, may_leave: bool = True, frontier: Any = FRONTIER) -> Facts:
    return Facts(task, may_leave, scores, frontier)


def request(**fields: Any) -> InferenceRequest:
    return InferenceRequest(**{"request_id": new_request_id(), "tenant": "acme", "input": "hello", **fields})


def test_acceptance_fixes_expiry_from_the_brokers_time() -> None:
    """A deadline counted from anywhere else would move with each hop and each redelivery."""
    accepted = accept(request(deadline_ms=5_000), 1_000_000, Privacy.LOCAL_ONLY)
    assert (accepted.accepted_at_ms, accepted.expires_at_ms) == (1_000_000, 1_005_000)


@pytest.mark.parametrize(
    ("asked", "default", "may_leave"),
    [
        (None, Privacy.LOCAL_ONLY, False),
        (None, Privacy.ANY, True),
        (Privacy.ANY, Privacy.LOCAL_ONLY, True),
        (Privacy.LOCAL_ONLY, Privacy.ANY, False),
        (Privacy.REDACT, Privacy.ANY, False),
        (None, Privacy.REDACT, False),
    ],
)
def test_privacy_is_the_requests_else_the_default(asked: Privacy | None, default: Privacy, may_leave: bool) -> None:
    """Private text would leave, or text that may leave would be refused."""
    assert accept(request(privacy=asked), 0, default).may_leave is may_leave


def test_known_text_goes_to_the_task_with_the_largest_margin() -> None:
    """Raw scores of two models do not compare: the higher score may be the lesser fit."""
    near = task_score("near", score=-3.0, threshold=-5.0)
    loud = task_score("loud", score=10.0, threshold=9.0)
    decision = choose_route(AUTO, (loud, near), may_leave=True)
    assert (decision.route, decision.reason, decision.task) == (Route.LOCAL, RouteReason.IN_SCOPE, "near")
    assert (decision.score, decision.threshold, decision.novelty) == (-3.0, -5.0, -2.0)
    assert [candidate.task for candidate in decision.candidates] == ["near", "loud"]


def test_a_score_at_the_threshold_is_known() -> None:
    """Thresholds are the least score that counts: the calibration data's own border case would be novel."""
    assert choose_route(AUTO, (task_score(score=0.5, threshold=0.5),), may_leave=True).route is Route.LOCAL


def test_equal_margins_give_one_task_whatever_the_order() -> None:
    """A redelivered request would change its way with the order of the models."""
    one, two = task_score("one"), task_score("two")
    assert choose_route(AUTO, (one, two), may_leave=True) == choose_route(AUTO, (two, one), may_leave=True)


@pytest.mark.parametrize(
    ("task", "may_leave", "route", "reason", "chosen"),
    [
        (AUTO, True, Route.ESCALATE, RouteReason.NOVEL, None),
        (AUTO, False, Route.REFUSE, RouteReason.NOVEL, None),
        ("support", True, Route.ESCALATE, RouteReason.NOVEL, "support"),
        ("support", False, Route.LOCAL, RouteReason.LOCAL_ONLY, "support"),
    ],
)
def test_novel_text(task: str, may_leave: bool, route: Route, reason: RouteReason, chosen: str | None) -> None:
    """Novel text would be answered by a model that knows nothing of it, or private text would leave."""
    decision = choose_route(task, (task_score(score=-2.0),), may_leave=may_leave)
    assert (decision.route, decision.reason, decision.task) == (route, reason, chosen)
    assert decision.novelty == 2.0


def test_a_named_task_without_a_model_is_refused_even_where_it_may_leave() -> None:
    """A misspelt task would cost frontier money instead of an error that names it."""
    step = choose_step(facts(task="suport"))
    assert isinstance(step, End)
    assert (step.status, step.reason) == (Status.REFUSED, ResultReason.UNKNOWN_TASK)
    assert "'suport'" in step.detail
    assert step.routing is not None
    assert step.routing.reason is RouteReason.UNKNOWN_TASK


@pytest.mark.parametrize(("may_leave", "expected"), [(True, Escalate), (False, End)])
def test_auto_without_any_model_is_novel(may_leave: bool, expected: type) -> None:
    """While the last model is taken away, requests would break the handler and become dead letters."""
    assert isinstance(choose_step(facts(may_leave=may_leave)), expected)


def test_known_text_is_sent_with_its_decision() -> None:
    """The result could not say later why the request went where it went."""
    step = choose_step(facts(task_score()))
    assert isinstance(step, SendLocal)
    assert (step.routing.model, step.routing.model_version) == ("support", "0123456789ab")
    assert (step.routing.propensity, step.routing.exploration) == (1.0, False)


@pytest.mark.parametrize(("task", "labels"), [(AUTO, ()), ("support", LABELS)])
def test_an_escalation_carries_the_labels_of_a_named_task_only(task: str, labels: tuple[str, ...]) -> None:
    """A frontier would answer a classification with prose, or force a label upon a novel question."""
    step = choose_step(facts(task_score(score=-1.0), task=task))
    assert isinstance(step, Escalate)
    assert (step.candidates, step.labels) == (FRONTIER, labels)


def test_more_labels_than_a_message_holds_are_left_out() -> None:
    """The escalation would not pass its own validation and the request would become a dead letter."""
    labels = tuple(f"label-{number}" for number in range(LABELS_MAX + 1))
    step = choose_step(facts(task_score(score=-1.0, labels=labels), task="support"))
    assert isinstance(step, Escalate)
    assert step.labels == ()


@pytest.mark.parametrize(
    ("given_facts", "status", "reason"),
    [
        (facts(task_score(score=-1.0), frontier=()), Status.REFUSED, ResultReason.NO_FRONTIER),
        (facts(task_score(score=-1.0), may_leave=False), Status.REFUSED, ResultReason.PRIVATE_AND_NOVEL),
        (Facts(AUTO, True, Unscored.EXPIRED, FRONTIER), Status.EXPIRED, ResultReason.DEADLINE),
        (Facts("support", False, Unscored.OVERLOADED, ()), Status.REFUSED, ResultReason.OVERLOADED),
    ],
)
def test_what_ends_in_the_router_says_why(given_facts: Facts, status: Status, reason: ResultReason) -> None:
    """A producer matches on the reason: a wrong one makes it retry what cannot work, or give up what could."""
    step = choose_step(given_facts)
    assert isinstance(step, End)
    assert (step.status, step.reason) == (status, reason)


tasks = st.sampled_from(["a", "b", "c", "d"])
scores = st.builds(task_score, task=tasks, score=st.floats(-1e9, 1e9), threshold=st.floats(-1e6, 1e6))


@given(st.lists(scores, max_size=20), st.booleans(), st.booleans())
def test_private_text_never_leaves_and_decisions_stay_small(
    found: list[TaskScore], may_leave: bool, has_frontier: bool
) -> None:
    """One leak is one too many, whatever the scores; and a hundred models would swell every message."""
    for task in (AUTO, "a"):
        given_scores = found if task == AUTO else [score for score in found if score.task == task][:1]
        step = choose_step(
            facts(*given_scores, task=task, may_leave=may_leave, frontier=FRONTIER if has_frontier else ())
        )
        assert not isinstance(step, Escalate) or (may_leave and has_frontier)
        if step.routing is not None:
            assert len(step.routing.candidates) <= CANDIDATES_MAX
