"""The guard's edge: escalations to be paid for, outcomes to be booked."""

from tiermesh_budget.decide import resolution_of
from tiermesh_budget.handlers.admission import Admission
from tiermesh_budget.handlers.attending import Attendant
from tiermesh_budget.model import Park, Resolved
from tiermesh_budget.ports import Books, Ledger, Parking
from tiermesh_chassis.clock import Clock
from tiermesh_chassis.delivery import Inbound
from tiermesh_chassis.errors import PermanentError, TransientError
from tiermesh_chassis.telemetry import current_traceparent
from tiermesh_contracts.escalations import Escalation, Outcome, Parked
from tiermesh_contracts.failures import DeadLetterReason

__all__ = ["Admission", "Attendant", "GuardHandlers"]


class GuardHandlers:
    def __init__(self, admission: Admission, books: Books, ledger: Ledger, parking: Parking, clock: Clock) -> None:
        self._admission = admission
        self._books = books
        self._ledger = ledger
        self._parking = parking
        self._clock = clock

    async def on_escalations(self, inbound: Inbound[Escalation]) -> None:
        escalation = inbound.message.timed("escalations_queue", inbound.queue_time_ms)
        try:
            waits = await self._admission.admit(escalation)
        except TransientError as error:
            # not a dead letter: money may be held already, and who is parked is admitted again
            waits = Park(str(error))
        if waits is not None:
            trace = current_traceparent()
            parked = Parked(escalation=escalation, parked_at_ms=self._clock(), why=waits.why, traceparent=trace)
            await self._parking.park(parked)

    async def on_outcomes(self, inbound: Inbound[Outcome]) -> None:
        outcome = inbound.message
        booked = await self._books.resolve(outcome.att, resolution_of(outcome))
        if not isinstance(booked, Resolved):
            # never invented: money that was not set aside in these books is somebody's error to look at
            raise PermanentError(DeadLetterReason.UNKNOWN_RESERVATION, f"no reservation {outcome.att}")
        await self._ledger.wait_effective(booked.epoch, booked.seq)
