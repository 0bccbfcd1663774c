"""How far a run has come, and when its limit is raised. Pure: the clock's reading is an argument."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from tiermesh_cli.showcase.laws import Sums
from tiermesh_contracts.results import InferenceResult, ResultReason

SHORT_S_MIN: Final = 1.5
"""Money is short for at least this long, so that people see it."""
DEFERRED_WAIT_S_MAX: Final = 3.5
"""The limit is raised before this, so that who waits is answered within a deadline of 8 s: the guard looks at
its configuration once a second, and the longest simulated calls take some seconds."""


@dataclass(slots=True)
class Progress:
    total: int
    limit_usd_nanos: int
    phase: str = "starting"
    sent: int = 0
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Results by tier and status."""
    reasons: Counter[ResultReason] = field(default_factory=Counter)
    waiting_since_s: dict[str, float] = field(default_factory=dict)
    """Attempts that wait for money now, by `att`, on the monotonic clock."""
    deferred: set[UUID] = field(default_factory=set)
    """Requests that have ever waited."""
    sums: Sums = field(default_factory=Sums)
    short_since_s: float | None = None
    """When the first request was deferred."""
    is_raised: bool = False
    started_s: float | None = None

    @property
    def ended_count(self) -> int:
        return self.ended.total()

    def end(self, result: InferenceResult) -> None:
        self.ended[result.tier.value, result.status.value] += 1
        self.reasons[result.reason] += 1

    def per_second(self, now_s: float) -> float:
        """Results a second since the first request."""
        return self.ended_count / max(now_s - self.started_s, 0.001) if self.started_s is not None else 0.0


def should_raise(progress: Progress, now_s: float) -> bool:
    """Half-way, once money was short for a while and for every sort of request; or when the first to wait can
    wait no longer."""
    if progress.is_raised or progress.short_since_s is None:
        return False
    if any(now_s - since_s >= DEFERRED_WAIT_S_MAX for since_s in progress.waiting_since_s.values()):
        return True
    all_shown = {ResultReason.BUDGET_BEST_LOCAL, ResultReason.BUDGET_REFUSED} <= progress.reasons.keys()
    was_short = now_s - progress.short_since_s >= SHORT_S_MIN
    return progress.sent * 2 >= progress.total and was_short and all_shown
