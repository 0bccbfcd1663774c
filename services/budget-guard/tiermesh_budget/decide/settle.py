"""From an attempt's evidence to what happens to its money."""

from enum import StrEnum
from typing import NamedTuple

from tiermesh_contracts.budget import LIMIT_USD_NANOS_MAX
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

    Completed without a cost is money of unknown amount, not money of amount zero: it is suspended. So is a cost
    beyond what the books can count, which no call can have had.
    """
    cost = outcome.cost_usd_nanos
    match outcome.evidence:
        case Evidence.COMPLETED if cost is not None and cost <= LIMIT_USD_NANOS_MAX:
            return Resolution(To.SETTLED, cost)
        case Evidence.REJECTED:
            return Resolution(To.SETTLED, 0)
        case Evidence.NOT_SENT:
            return Resolution(To.RELEASED, 0)
        case _:
            return Resolution(To.SUSPENDED, 0)
