"""When the demo raises its limit."""

from tiermesh_cli.showcase.progress import DEFERRED_WAIT_S_MAX, SHORT_S_MIN, Progress, should_raise
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.results import InferenceResult, ResultReason, Status, Tier


def short(sent: int, *reasons: ResultReason) -> Progress:
    progress = Progress(total=100, limit_usd_nanos=10, sent=sent, short_since_s=100.0)
    progress.waiting_since_s["att"] = 100.0
    for reason in reasons:
        progress.end(
            InferenceResult(
                request_id=new_request_id(1), tenant="acme", status=Status.ANSWERED, tier=Tier.LOCAL, reason=reason
            )
        )
    return progress


BOTH = (ResultReason.BUDGET_BEST_LOCAL, ResultReason.BUDGET_REFUSED)


def test_the_limit_stays_while_money_is_not_short():
    """A raise before the money is short shows nothing."""
    assert not should_raise(Progress(total=100, limit_usd_nanos=10, sent=100), 1_000.0)


def test_it_is_raised_half_way_once_every_sort_was_short_for_a_while():
    """Too early, and no request was refused or degraded yet."""
    assert should_raise(short(50, *BOTH), 100.0 + SHORT_S_MIN)
    assert not should_raise(short(49, *BOTH), 100.0 + SHORT_S_MIN)
    assert not should_raise(short(50, *BOTH), 100.0 + SHORT_S_MIN / 2)
    assert not should_raise(short(50, BOTH[0]), 100.0 + SHORT_S_MIN)


def test_who_waits_is_not_left_to_expire():
    """Deferred requests have a deadline of 8 s: a raise after it answers nobody."""
    assert should_raise(short(1), 100.0 + DEFERRED_WAIT_S_MAX)


def test_it_is_raised_once():
    """A second raise would hide that the first one did not come into force."""
    progress = short(100, *BOTH)
    progress.is_raised = True
    assert not should_raise(progress, 1_000.0)
