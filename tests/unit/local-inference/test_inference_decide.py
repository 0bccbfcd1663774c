from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiermesh_contracts.escalations import LABELS_MAX, EscalationReason, LocalAnswer, ModelRef
from tiermesh_contracts.results import ResultReason, Status
from tiermesh_inference.decide import judge
from tiermesh_inference.model import Answer, BestLocal, Classified, End, Escalate, Facts, Unclassified

FRONTIER = (ModelRef(provider="sim", model="large"),)


def classified(confidence: float = 0.9, threshold: float = 0.8, **changes: Any) -> Classified:
    known = {
        "task": "support",
        "model": "support",
        "version": "0123456789ab",
        "label": "lost",
        "labels": ("lost", "late"),
        "tokens_read": 5,
        "tokens_count": 5,
    }
    return Classified(confidence=confidence, threshold=threshold, **{**known, **changes})


def facts(seen: Any, *, may_leave: bool = True, is_novel: bool = False, frontier: Any = FRONTIER) -> Facts:
    return Facts(seen, may_leave, is_novel, frontier)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 1.0])
@pytest.mark.parametrize("may_leave", [True, False])
def test_a_sure_answer_stands(confidence: float, may_leave: bool) -> None:
    """Sure answers would cost frontier money; the threshold itself is sure, as it was when it was set."""
    seen = classified(confidence)
    assert judge(facts(seen, may_leave=may_leave)) == Answer(seen)


def test_an_unsure_answer_is_escalated_with_what_is_known() -> None:
    """The guard could not fall back to the best local answer, and the frontier would not know the labels."""
    verdict = judge(facts(classified(0.5)))
    assert verdict == Escalate(
        EscalationReason.LOW_CONFIDENCE,
        FRONTIER,
        ("lost", "late"),
        LocalAnswer(
            task="support",
            model="support",
            model_version="0123456789ab",
            label="lost",
            confidence=0.5,
            threshold=0.8,
        ),
    )


@pytest.mark.parametrize(("may_leave", "frontier"), [(False, FRONTIER), (True, ()), (False, ())])
def test_an_unsure_answer_that_cannot_be_escalated_is_given_as_degraded(may_leave: bool, frontier: Any) -> None:
    """Private text would leave, or a request without any frontier would stay without an answer."""
    seen = classified(0.5)
    assert judge(facts(seen, may_leave=may_leave, frontier=frontier)) == BestLocal(seen)


def test_a_novel_text_is_never_answered_as_sure() -> None:
    """Far from its training data a model is often sure and wrong."""
    seen = classified(1.0)
    assert judge(facts(seen, is_novel=True, may_leave=False)) == BestLocal(seen)


def test_a_text_without_a_token_is_never_sure() -> None:
    """A request of blanks would get a confident label made from the model's bias alone."""
    seen = classified(1.0, tokens_read=0, tokens_count=0)
    assert judge(facts(seen, may_leave=False)) == BestLocal(seen)


def test_a_threshold_above_one_is_never_reached() -> None:
    """A model that could not reach its error target says so by such a threshold, and would answer all the same."""
    assert isinstance(judge(facts(classified(1.0, threshold=2.0))), Escalate)


def test_more_labels_than_a_message_holds_are_left_out() -> None:
    """The escalation would fail its own validation; a list cut short might lack the right answer."""
    labels = tuple(f"label-{number}" for number in range(LABELS_MAX + 1))
    verdict = judge(facts(classified(0.1, labels=labels)))
    assert isinstance(verdict, Escalate)
    assert verdict.labels == ()


@pytest.mark.parametrize(
    ("seen", "status", "reason"),
    [
        (Unclassified.EXPIRED, Status.EXPIRED, ResultReason.DEADLINE),
        (Unclassified.OVERLOADED, Status.REFUSED, ResultReason.OVERLOADED),
    ],
)
def test_what_was_not_run_ends_typed(seen: Unclassified, status: Status, reason: ResultReason) -> None:
    """Late or refused work would look like a failure of the model."""
    verdict = judge(facts(seen))
    assert isinstance(verdict, End)
    assert (verdict.status, verdict.reason) == (status, reason)


def test_a_missing_model_is_escalated_only_where_the_text_may_leave() -> None:
    """A model that was taken away between two services would turn private work into a leak, or into silence."""
    verdict = judge(facts(Unclassified.NO_MODEL))
    assert isinstance(verdict, Escalate)
    assert (verdict.reason, verdict.best_local) == (EscalationReason.POLICY, None)
    for kept in (facts(Unclassified.NO_MODEL, may_leave=False), facts(Unclassified.NO_MODEL, frontier=())):
        ended = judge(kept)
        assert isinstance(ended, End)
        assert (ended.status, ended.reason) == (Status.REFUSED, ResultReason.UNKNOWN_TASK)


seen_of_any_kind = st.one_of(
    st.sampled_from(Unclassified),
    st.builds(classified, st.floats(0, 1), st.floats(0, 2), tokens_read=st.integers(0, 9), tokens_count=st.just(9)),
)


@given(seen_of_any_kind, st.booleans(), st.booleans(), st.booleans())
def test_text_that_may_not_leave_is_never_escalated(
    seen: Any, may_leave: bool, is_novel: bool, has_frontier: bool
) -> None:
    """One leak is one too many, whatever the model says."""
    verdict = judge(facts(seen, may_leave=may_leave, is_novel=is_novel, frontier=FRONTIER if has_frontier else ()))
    assert not isinstance(verdict, Escalate) or (may_leave and has_frontier)
