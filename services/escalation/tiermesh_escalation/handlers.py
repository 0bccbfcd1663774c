"""The Kafka edge: grants become calls and outcomes, outcomes become results or the next attempt."""

import asyncio
from typing import Final

import structlog

from tiermesh_chassis.clock import Clock
from tiermesh_chassis.delivery import Inbound
from tiermesh_chassis.errors import StoreUnavailable, TransientError
from tiermesh_chassis.logging import without_text
from tiermesh_chassis.publishing import Publisher
from tiermesh_contracts.budget import Reservation
from tiermesh_contracts.escalations import Evidence, Grant, Outcome
from tiermesh_contracts.topics import ESCALATIONS, OUTCOMES
from tiermesh_escalation.decide import conclude, lease_ms, plan_call, plan_delivery, read_fence, read_seen
from tiermesh_escalation.model import AskNext, Call, Deliver, Fence, FenceState, Finding, Unsent
from tiermesh_escalation.ports import Endpoints, Fences, Firsts, FrontierModel, Results, Watch

log = structlog.get_logger(__name__)

POLL_S: Final = 0.5
"""How often a fence held by another is looked at again; its lease bounds how long."""


class GrantHandlers:
    """Makes the one call that a grant pays for.

    1. fence   the attempt, or learn what became of it
    2. call    once
    3. record  one outcome, acknowledged
    4. finish  the fence

    A crash before 1 redelivers to a free fence; between 1 and 3 to one whose lease runs out, and the attempt
    ends unknown; after 3 at worst to a second outcome, which moves no answer.
    """

    def __init__(
        self,
        *,
        process: str,
        endpoints: Endpoints,
        fences: Fences,
        frontier: FrontierModel,
        publisher: Publisher,
        watch: Watch,
        clock: Clock,
    ) -> None:
        """`process` is new in every life of the process: an earlier life's fence is another's."""
        self._process = process
        self._endpoints = endpoints
        self._fences = fences
        self._frontier = frontier
        self._publisher = publisher
        self._watch = watch
        self._clock = clock
        self._unrecorded: dict[str, Outcome] = {}
        """Calls made whose outcome the brokers have not taken yet; no more than there are grants in work."""

    async def on_grants(self, inbound: Inbound[Grant]) -> None:
        reservation = inbound.message.reservation
        outcome = self._unrecorded.get(reservation.att) or await self._attempt_or_unknown(inbound)
        if outcome is None:
            return
        self._unrecorded[reservation.att] = outcome
        await self._publisher.publish(
            OUTCOMES.name,
            outcome,
            key=outcome.att,
            event_id=outcome.att,
            correlation_id=str(outcome.origin.request.request_id),
        )
        await self._finish(reservation)
        self._unrecorded.pop(reservation.att, None)

    async def _attempt_or_unknown(self, inbound: Inbound[Grant]) -> Outcome | None:
        """A defect of ours ends the attempt too: without an outcome its money would be held for ever."""
        try:
            return await self._attempt(inbound)
        except TransientError:
            raise
        except Exception as error:
            log.critical("an attempt broke", att=inbound.message.reservation.att, **without_text(error))
            broken = Finding(Evidence.UNKNOWN, detail=f"a defect: {type(error).__name__}")
            return conclude(inbound.message, broken, self._clock())

    async def _attempt(self, inbound: Inbound[Grant]) -> Outcome | None:
        """The outcome to record; None where one is recorded already."""
        grant, reservation = inbound.message, inbound.message.reservation
        plan = plan_call(grant, self._endpoints.find(reservation.provider), self._clock())
        fence = await self._settled_fence(plan, reservation, self._owner(inbound))
        escalation = grant.escalation.timed("grants_queue", inbound.queue_time_ms)
        finding: Finding | None
        if isinstance(plan, Call) and fence.state is FenceState.FENCED:
            finding, elapsed_ms = await self._call(plan, reservation)
            escalation = escalation.timed("frontier", elapsed_ms)
        else:
            finding = read_fence(fence.state, plan if isinstance(plan, Unsent) else None)
        if finding is None:
            return None
        return conclude(grant.model_copy(update={"escalation": escalation}), finding, self._clock())

    async def _settled_fence(self, plan: Call | Unsent, reservation: Reservation, owner: str) -> Fence:
        """Take or void the fence; where another holds it, wait until it is finished or its lease is over."""
        while True:
            if isinstance(plan, Call):
                fence = await self._fences.take(reservation, owner, lease_ms(plan))
            else:
                fence = await self._fences.void(reservation, owner)
            if fence.state is not FenceState.HELD:
                return fence
            await asyncio.sleep(min(POLL_S, (fence.lease_left_ms + 1) / 1000))

    async def _call(self, call: Call, reservation: Reservation) -> tuple[Finding, int]:
        started_ms = self._clock()
        with self._watch.call(call) as ended:
            finding = read_seen(await self._frontier.complete(call), reservation.rates)
            elapsed_ms = max(0, self._clock() - started_ms)
            ended(finding, elapsed_ms)
        return finding, elapsed_ms

    async def _finish(self, reservation: Reservation) -> None:
        try:
            await self._fences.finish(reservation)
        except StoreUnavailable as error:
            # The outcome is written. A redelivery would find the lease over and add a second one, which is void.
            log.warning("a fence stays open after its outcome", att=reservation.att, error=str(error))

    def _owner(self, inbound: Inbound[Grant]) -> str:
        """The same when the chassis tries this delivery again, another for every other delivery."""
        return f"{self._process}/{inbound.partition}/{inbound.offset}/{inbound.received_ms}"


class OutcomeHandlers:
    """Delivers what the first outcome of an attempt says. The money of every outcome is the guard's part."""

    def __init__(self, *, firsts: Firsts, publisher: Publisher, results: Results, clock: Clock) -> None:
        self._firsts = firsts
        self._publisher = publisher
        self._results = results
        self._clock = clock

    async def on_outcomes(self, inbound: Inbound[Outcome]) -> None:
        outcome = inbound.message
        org = outcome.grant.reservation.org
        if not await self._firsts.is_first(org, outcome.att, inbound.partition, inbound.offset):
            return
        match plan_delivery(outcome, self._clock()):
            case AskNext(escalation):
                request = escalation.accepted.request
                await self._publisher.publish(
                    ESCALATIONS.name,
                    escalation,
                    key=request.tenant,
                    event_id=escalation.att,
                    correlation_id=str(request.request_id),
                )
            case Deliver(result):
                await self._results.answer(outcome.origin, result)
