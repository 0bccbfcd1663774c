"""From an attempt's evidence to what happens to its money."""

from enum import StrEnum
from typing import NamedTuple

from tiermesh_contracts.escalations import Evidence, Outcome


class To(StrEnum):
    SETTLED = "settled"
    RELEASED = "released"
    SUSPENDED = "suspended"


class Resolution(NamedTuple):
    to: To
    cost_usd_nanos: int


def resolution_of(outcome: Outcome) -> Resolution:
    """Evidence moves a hold; silence and time never do.

    Completed without a cost is money of unknown amount, not money of amount zero: it is suspended.
    """
    match outcome.evidence:
        case Evidence.COMPLETED if outcome.cost_usd_nanos is not None:
            return Resolution(To.SETTLED, outcome.cost_usd_nanos)
        case Evidence.REJECTED:
            return Resolution(To.SETTLED, 0)
        case Evidence.NOT_SENT:
            return Resolution(To.RELEASED, 0)
        case _:
            return Resolution(To.SUSPENDED, 0)
