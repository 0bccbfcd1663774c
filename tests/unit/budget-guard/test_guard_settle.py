"""What each evidence does to held money."""

import pytest

from fakes.budget import escalation, held, outcome
from tiermesh_budget.decide import resolution_of
from tiermesh_budget.decide.settle import Resolution, To
from tiermesh_contracts.budget import LIMIT_USD_NANOS_MAX, Reservation
from tiermesh_contracts.escalations import Evidence, Grant

RESERVATION = Reservation.model_validate_json(held().reservation_json[:-1] + ',"epoch":1,"seq":1}')
GRANT = Grant(escalation=escalation(), reservation=RESERVATION)


@pytest.mark.parametrize(
    ("evidence", "cost", "resolution"),
    [
        (Evidence.COMPLETED, 450, Resolution(To.SETTLED, 450)),
        (Evidence.COMPLETED, 0, Resolution(To.SETTLED, 0)),
        (Evidence.COMPLETED, None, Resolution(To.SUSPENDED, 0)),
        (Evidence.COMPLETED, LIMIT_USD_NANOS_MAX, Resolution(To.SETTLED, LIMIT_USD_NANOS_MAX)),
        (Evidence.REJECTED, None, Resolution(To.SETTLED, 0)),
        (Evidence.NOT_SENT, None, Resolution(To.RELEASED, 0)),
        (Evidence.UNKNOWN, None, Resolution(To.SUSPENDED, 0)),
        (Evidence.UNKNOWN, 450, Resolution(To.SUSPENDED, 0)),
    ],
)
def test_evidence_moves_a_hold_and_missing_usage_is_not_zero(evidence, cost, resolution):
    """Unknown cost would be booked as nothing, or an answer that was free stay held."""
    assert resolution_of(outcome(GRANT, evidence, cost_usd_nanos=cost)) == resolution


@pytest.mark.parametrize("cost", [LIMIT_USD_NANOS_MAX + 1, 2**53, 2**63, 10**30])
def test_a_cost_that_the_store_cannot_count_is_money_of_unknown_amount(cost):
    """A provider that reports absurd usage would break the script half way through, at every repeat."""
    assert resolution_of(outcome(GRANT, cost_usd_nanos=cost)) == Resolution(To.SUSPENDED, 0)
