"""Attending the parking lot: money that returns goes to who waits, deadlines end the rest."""

import asyncio

import structlog

from tiermesh_budget.decide import ParkingLot
from tiermesh_budget.decide.admit import at_deadline, ended
from tiermesh_budget.decide.parking import Space
from tiermesh_budget.errors import BooksClosed
from tiermesh_budget.handlers.admission import Admission
from tiermesh_budget.model import Park
from tiermesh_budget.ports import Index, Parking
from tiermesh_chassis.clock import Clock
from tiermesh_chassis.errors import PermanentError, TransientError
from tiermesh_chassis.telemetry import hop
from tiermesh_chassis.terminal import TerminalResults
from tiermesh_contracts.failures import DeadLetterReason
from tiermesh_contracts.results import ResultReason, Status

log = structlog.get_logger(__name__)

ROUND_S = 0.1
RELEASE_MAX = 32
"""Released at once, at most: returning money does not start a stampede on the provider."""


class Attendant:
    def __init__(
        self,
        lot: ParkingLot,
        index: Index,
        admission: Admission,
        parking: Parking,
        results: TerminalResults,
        clock: Clock,
    ) -> None:
        self._lot = lot
        self._index = index
        self._admission = admission
        self._parking = parking
        self._results = results
        self._clock = clock
        self._round = 0
        self._answered: set[str] = set()
        """Over, and answered while nobody could say whether money is held for them."""

    async def run(self) -> None:
        while True:
            try:
                await self.round()
            except TransientError as error:
                log.warning("the parking lot waits", error=str(error))
            await asyncio.sleep(ROUND_S)

    async def round(self) -> None:
        """End what is over, then admit the most urgent until the money is short.

        Nothing is done before the index is read to its end: a record read may have its tombstone further on.
        """
        if not self._index.is_caught_up:
            return
        now_ms = self._clock()
        for space in list(self._index.overfull.values()):
            await self._turn_away(space, now_ms)
        for space in self._lot.expired(now_ms):
            await self._expire(space, now_ms)
        self._round += 1
        await asyncio.gather(*(self._release(s) for s in self._lot.waiting(now_ms, RELEASE_MAX, self._round)))

    async def _turn_away(self, space: Space, now_ms: int) -> None:
        escalation = space.parked.escalation
        full = ended(escalation, Status.REFUSED, ResultReason.PARKING_FULL, now_ms)
        try:
            await self._admission.end(escalation, full)
            await self._parking.clear(space.att)
        except BooksClosed:
            # the record stays in the topic: whether money is held is asked when it is next read
            await self._results.answer(space.parked.origin, full)
        self._index.overfull.pop(space.att, None)

    async def _expire(self, space: Space, now_ms: int) -> None:
        result = at_deadline(space.parked.escalation, now_ms, parked=True)
        try:
            await self._admission.end(space.parked.escalation, result)
        except BooksClosed:
            if space.att not in self._answered:
                await self._results.answer(space.parked.origin, result)
                self._answered.add(space.att)
            return
        self._answered.discard(space.att)
        await self._clear(space)

    async def _release(self, space: Space) -> None:
        carrier = {"traceparent": space.parked.traceparent or ""}
        with hop("release mesh.deferred.v1", carrier, {"tiermesh.parked_ms": self._waited_ms(space)}):
            try:
                waits = isinstance(await self._admission.admit(space.parked.escalation), Park)
            except BooksClosed:
                return
            except PermanentError as error:
                log.warning("a parked record cannot be admitted", att=space.att, error=str(error))
                await self._fail(space, error)
                return
            if not waits:
                await self._clear(space)

    async def _fail(self, space: Space, error: PermanentError) -> None:
        """A reused id is owed no result: the request that had it first is answered on its own."""
        if error.reason is not DeadLetterReason.ID_REUSED:
            failed = ended(space.parked.escalation, Status.FAILED, ResultReason.DEAD_LETTERED, self._clock())
            await self._results.answer(space.parked.origin, failed)
        await self._clear(space)

    async def _clear(self, space: Space) -> None:
        await self._parking.clear(space.att)
        self._lot.take(space.att)

    def _waited_ms(self, space: Space) -> int:
        return self._clock() - space.parked.parked_at_ms
