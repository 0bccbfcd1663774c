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
from tiermesh_contracts.results import InferenceResult, ResultReason, Status

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
        books_open = await self._turn_away(now_ms)
        if not await self._end_expired(now_ms, ask=books_open):
            return
        self._round += 1
        await asyncio.gather(*(self._release(s) for s in self._lot.waiting(now_ms, RELEASE_MAX, self._round)))

    async def _turn_away(self, now_ms: int) -> bool:
        """End who is beyond its tenant's space. False where the books are closed: their records stay in the topic,
        and whether money is held for them is asked when they are next read."""
        books_open = True
        for space in list(self._index.overfull.values()):
            full = ended(space.parked.escalation, Status.REFUSED, ResultReason.PARKING_FULL, now_ms)
            books_open = await self._end(space, full, ask=books_open)
            if books_open:
                await self._parking.clear(space.att)
            self._answered.discard(space.att)
            self._index.overfull.pop(space.att, None)
        return books_open

    async def _end_expired(self, now_ms: int, *, ask: bool) -> bool:
        """End whose time is up. False where the books are closed: they stay in the lot until the books say whether
        money is held for them."""
        books_open = ask
        for space in self._lot.expired(now_ms):
            over = at_deadline(space.parked.escalation, now_ms, parked=True)
            books_open = await self._end(space, over, ask=books_open)
            if books_open:
                self._answered.discard(space.att)
                await self._clear(space)
        return books_open

    async def _end(self, space: Space, result: InferenceResult, *, ask: bool) -> bool:
        """Answer; False where the books do not say whether money is held, or were not asked because they did not
        say so of the one before: a store that is away costs its time-out once a round, not once a request."""
        if ask:
            try:
                await self._admission.end(space.parked.escalation, result)
            except BooksClosed as closed:
                log.warning("the parking lot goes on without the books", error=str(closed))
            else:
                return True
        if space.att not in self._answered:
            await self._results.answer(space.parked.origin, result)
            self._answered.add(space.att)
        return False

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
