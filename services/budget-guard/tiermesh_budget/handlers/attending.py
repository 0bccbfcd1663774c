"""Attending the parking lot: money that returns goes to who waits, deadlines end the rest."""

import asyncio

import structlog

from tiermesh_budget.decide import ParkingLot
from tiermesh_budget.decide.admit import at_deadline, ended
from tiermesh_budget.decide.parking import Space
from tiermesh_budget.errors import BooksClosed
from tiermesh_budget.handlers.admission import Admission
from tiermesh_budget.model import Park
from tiermesh_budget.ports import Parking
from tiermesh_chassis.clock import Clock
from tiermesh_chassis.errors import PermanentError, TransientError
from tiermesh_chassis.telemetry import hop
from tiermesh_chassis.terminal import TerminalResults
from tiermesh_contracts.results import InferenceResult, ResultReason, Status

log = structlog.get_logger(__name__)

ROUND_S = 0.1
RELEASE_MAX = 32
"""Released at once, at most: returning money does not start a stampede on the provider."""


class Attendant:
    def __init__(
        self,
        lot: ParkingLot,
        overfull: list[Space],
        admission: Admission,
        parking: Parking,
        results: TerminalResults,
        clock: Clock,
    ) -> None:
        self._lot = lot
        self._overfull = overfull
        self._admission = admission
        self._parking = parking
        self._results = results
        self._clock = clock

    async def run(self) -> None:
        while True:
            try:
                await self.round()
            except TransientError as error:
                log.warning("the parking lot waits", error=str(error))
            await asyncio.sleep(ROUND_S)

    async def round(self) -> None:
        """End what is over, then admit the most urgent until the money is short."""
        now_ms = self._clock()
        while self._overfull:
            space = self._overfull.pop()
            escalation = space.parked.escalation
            await self._end(space, ended(escalation, Status.REFUSED, ResultReason.PARKING_FULL, now_ms))
        for space in self._lot.expired(now_ms):
            await self._end(space, at_deadline(space.parked.escalation, now_ms, parked=True))
        await asyncio.gather(*(self._release(s) for s in self._lot.waiting(now_ms, RELEASE_MAX)))

    async def _release(self, space: Space) -> None:
        carrier = {"traceparent": space.parked.traceparent or ""}
        with hop("release mesh.deferred.v1", carrier, {"tiermesh.parked_ms": self._waited_ms(space)}):
            try:
                waits = isinstance(await self._admission.admit(space.parked.escalation), Park)
            except BooksClosed:
                return
            except PermanentError as error:
                log.warning("a parked record cannot be admitted", att=space.att, error=str(error))
                await self._end(
                    space,
                    ended(space.parked.escalation, Status.FAILED, ResultReason.DEAD_LETTERED, self._clock()),
                )
                return
            if not waits:
                await self._clear(space)

    async def _end(self, space: Space, result: InferenceResult) -> None:
        await self._results.answer(space.parked.origin, result)
        await self._clear(space)

    async def _clear(self, space: Space) -> None:
        await self._parking.clear(space.att)
        self._lot.take(space.att)

    def _waited_ms(self, space: Space) -> int:
        return self._clock() - space.parked.parked_at_ms
