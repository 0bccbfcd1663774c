"""Grants and outcomes as they come, come again, and come late."""

import pytest

from fakes.escalation import (
    EXPIRES_AT_MS,
    LARGE,
    NOW_MS,
    SMALL,
    FixedEndpoints,
    MemoryFences,
    MemoryFirsts,
    RecordedResults,
    RecordedWatch,
    ScriptedFrontier,
    answered,
    completion,
    escalation,
    grant,
    inbound,
    outcome,
)
from fakes.publishing import RecordingPublisher
from tiermesh_chassis.errors import StoreUnavailable, TransientError
from tiermesh_contracts.escalations import Escalation, Evidence, Grant, Outcome
from tiermesh_contracts.requests import Privacy
from tiermesh_contracts.results import Status
from tiermesh_contracts.topics import ESCALATIONS, OUTCOMES
from tiermesh_escalation.handlers import GrantHandlers, OutcomeHandlers
from tiermesh_escalation.model import Ending, FenceState, Seen


class Mesh:
    """The handlers with everything they touch."""

    def __init__(self, *states: FenceState, process: str = "p", now_ms: int = NOW_MS + 50) -> None:
        self.fences = MemoryFences(list(states) or [FenceState.FENCED])
        self.frontier = ScriptedFrontier()
        self.publisher = RecordingPublisher()
        self.results = RecordedResults()
        self.watch = RecordedWatch()
        self.firsts = MemoryFirsts()
        self.endpoints = FixedEndpoints()
        self.grants = GrantHandlers(
            process=process,
            endpoints=self.endpoints,
            fences=self.fences,
            frontier=self.frontier,
            publisher=self.publisher,
            watch=self.watch,
            clock=lambda: now_ms,
        )
        self.outcomes = OutcomeHandlers(
            firsts=self.firsts, publisher=self.publisher, results=self.results, clock=lambda: now_ms
        )

    @property
    def steps(self) -> list[str]:
        return [what for what, _, _ in self.fences.asked]

    async def outcome_of(self, about: Grant) -> Outcome:
        await self.grants.on_grants(inbound(about))
        (published,) = self.publisher.published
        assert isinstance(published.message, Outcome)
        return published.message


async def test_a_grant_becomes_one_call_one_outcome_and_a_finished_fence() -> None:
    """Money that was set aside would buy nothing, or its use leave no record."""
    mesh, about = Mesh(), grant()
    written = await mesh.outcome_of(about)
    assert (written.evidence, written.verdict, written.output) == (Evidence.COMPLETED, "final", "it is late")
    assert mesh.steps == ["take", "finish"]
    assert mesh.fences.leases_ms == [35_000]
    assert [call.att for call in mesh.frontier.calls] == [about.reservation.att]
    (published,) = mesh.publisher.published
    assert (published.topic, published.key) == (OUTCOMES.name, about.reservation.att)
    assert published.event_id == about.reservation.att
    assert published.correlation_id == str(about.escalation.accepted.request.request_id)
    assert written.grant.reservation == about.reservation
    assert written.grant.escalation.accepted.timings_ms == {"grants_queue": 20, "frontier": 0}
    ((call, finding, _),) = mesh.watch.found
    assert (call.model, finding.cost_usd_nanos) == ("sim-large", written.cost_usd_nanos)


@pytest.mark.parametrize(
    ("about", "verdict"),
    [
        (grant(body_sha256="0" * 64), "next"),
        (grant(not_after_ms=NOW_MS), "next"),
        (grant(provider="another"), "next"),
        (grant(escalation(candidates=(LARGE,)), body_sha256="0" * 64), "final"),
        (grant(escalation(privacy=Privacy.LOCAL_ONLY)), "final"),
    ],
)
async def test_what_may_not_be_sent_is_voided_and_its_money_returned(about: Grant, verdict: str) -> None:
    """The call would be made all the same, or its money stay held although nothing left."""
    mesh = Mesh(FenceState.VOID)
    written = await mesh.outcome_of(about)
    assert mesh.frontier.calls == []
    assert mesh.steps == ["void", "finish"]
    assert (written.evidence, written.verdict) == (Evidence.NOT_SENT, verdict)
    assert written.detail


async def test_a_grant_past_its_deadline_is_not_called() -> None:
    """Work would be paid for that nobody waits for."""
    mesh = Mesh(FenceState.VOID, now_ms=EXPIRES_AT_MS)
    written = await mesh.outcome_of(grant())
    assert mesh.frontier.calls == []
    assert (written.evidence, written.verdict, written.detail) == (Evidence.NOT_SENT, "final", "past the deadline")


@pytest.mark.parametrize("unsendable", [False, True])
async def test_a_grant_of_another_epoch_is_never_called_and_never_freed(unsendable: bool) -> None:
    """Its money may be counted in books that this store does not know."""
    mesh = Mesh(FenceState.FOREIGN_EPOCH)
    written = await mesh.outcome_of(grant(not_after_ms=NOW_MS) if unsendable else grant())
    assert mesh.frontier.calls == []
    assert (written.evidence, written.verdict) == (Evidence.UNKNOWN, "next")


async def test_a_grant_that_comes_again_after_a_crash_waits_for_the_lease_and_ends_unknown() -> None:
    """The crash may have come after the call: calling again would pay twice, freeing would lose the first."""
    mesh = Mesh(FenceState.HELD, FenceState.HELD, FenceState.LEASE_OVER)
    written = await mesh.outcome_of(grant())
    assert mesh.frontier.calls == []
    assert (written.evidence, written.output) == (Evidence.UNKNOWN, None)
    assert mesh.steps == ["take", "take", "take", "finish"]


async def test_a_grant_that_another_process_finishes_meanwhile_is_done() -> None:
    """A second outcome would be written for a call that has one."""
    mesh = Mesh(FenceState.HELD, FenceState.FINISHED)
    await mesh.grants.on_grants(inbound(grant()))
    assert mesh.frontier.calls == []
    assert mesh.publisher.published == []
    assert mesh.steps == ["take", "take"]


async def test_a_call_that_an_earlier_life_called_off_stays_off() -> None:
    """Its money was returned: a call now would be covered by nothing."""
    mesh = Mesh(FenceState.VOID)
    written = await mesh.outcome_of(grant())
    assert mesh.frontier.calls == []
    assert (written.evidence, written.verdict) == (Evidence.NOT_SENT, "next")


async def test_an_outcome_that_the_brokers_do_not_take_is_kept_and_the_call_not_repeated() -> None:
    """A broker away for a second would cost the answer, or a second call under one reservation."""
    mesh, record = Mesh(), inbound(grant())
    mesh.publisher.failures = [TransientError("away"), TransientError("away")]
    for _ in range(2):
        with pytest.raises(TransientError):
            await mesh.grants.on_grants(record)
    await mesh.grants.on_grants(record)
    assert len(mesh.frontier.calls) == 1
    (published,) = mesh.publisher.published
    assert isinstance(published.message, Outcome)
    assert published.message.output == "it is late"
    assert mesh.steps == ["take", "finish"]


async def test_a_fence_that_cannot_be_finished_does_not_undo_a_recorded_outcome() -> None:
    """A store that goes away after the call would make the grant look undone, and its call be made again."""
    mesh = Mesh()
    mesh.fences.away = frozenset({"finish"})
    written = await mesh.outcome_of(grant())
    assert written.evidence is Evidence.COMPLETED
    assert mesh.steps == ["take", "finish"]


async def test_without_a_fence_there_is_no_call() -> None:
    """A store that is away would let calls through that nobody counts."""

    mesh = Mesh()
    mesh.fences.away = frozenset({"take"})
    with pytest.raises(StoreUnavailable):
        await mesh.grants.on_grants(inbound(grant()))
    assert mesh.frontier.calls == []
    assert mesh.publisher.published == []


async def test_an_owner_is_one_delivery_of_one_life_of_the_process() -> None:
    """A redelivery would take the fence of a call that is being made for its own."""
    about, owners = grant(), []
    for process, offset, received_ms in (("p", 7, 1), ("p", 7, 1), ("p", 7, 2), ("p", 8, 1), ("q", 7, 1)):
        mesh = Mesh(process=process)
        await mesh.grants.on_grants(inbound(about, offset=offset, received_ms=received_ms))
        owners.append(mesh.fences.asked[0][2])
    assert owners[0] == owners[1]
    assert len(set(owners)) == 4


@pytest.mark.parametrize(
    ("seen", "evidence", "verdict"),
    [
        (answered(429), Evidence.REJECTED, "next"),
        (answered(500), Evidence.UNKNOWN, "next"),
        (Seen(Ending.TIMED_OUT), Evidence.UNKNOWN, "next"),
        (Seen(Ending.NOT_CONNECTED), Evidence.NOT_SENT, "next"),
        (answered(200, completion(usage=None)), Evidence.UNKNOWN, "final"),
    ],
)
async def test_a_failed_call_is_made_once_and_its_verdict_written(
    seen: Seen, evidence: Evidence, verdict: str
) -> None:
    """A retry of our own would be a call that no reservation covers."""
    mesh = Mesh()
    mesh.frontier.seen = seen
    written = await mesh.outcome_of(grant())
    assert len(mesh.frontier.calls) == 1
    assert (written.evidence, written.verdict) == (evidence, verdict)


async def test_a_final_outcome_becomes_the_result() -> None:
    """A paid answer would not reach who asked for it."""
    mesh, about = Mesh(), outcome()
    await mesh.outcomes.on_outcomes(inbound(about))
    ((origin, result),) = mesh.results.given
    assert origin == about.origin
    assert (result.status, result.output) == (Status.ANSWERED, "it is late")
    assert mesh.firsts.asked == [("default", about.att, 2, 7)]
    assert mesh.publisher.published == []


async def test_a_next_outcome_asks_again_under_the_next_attempts_id() -> None:
    """The request would end without the models that are left, or its repeat be counted as another attempt."""
    mesh, about = Mesh(), outcome(output=None, verdict="next", evidence=Evidence.UNKNOWN)
    for _ in range(2):
        await mesh.outcomes.on_outcomes(inbound(about))
    assert mesh.results.given == []
    first, second = mesh.publisher.published
    assert first == second
    assert (first.topic, first.key) == (ESCALATIONS.name, "acme")
    assert isinstance(first.message, Escalation)
    assert (first.message.attempt, first.message.untried) == (2, (SMALL,))
    assert first.event_id == first.message.att


async def test_a_later_outcome_of_an_attempt_moves_no_answer() -> None:
    """Late evidence would change a delivered result, or start another attempt for it."""
    mesh = Mesh()
    mesh.firsts.first = False
    await mesh.outcomes.on_outcomes(inbound(outcome()))
    await mesh.outcomes.on_outcomes(inbound(outcome(output=None, verdict="next")))
    assert mesh.results.given == []
    assert mesh.publisher.published == []


async def test_a_defect_ends_the_attempt_unknown_instead_of_holding_its_money_for_ever() -> None:
    """Buried without an outcome, the hold would stay: only evidence moves money."""

    class Broken(FixedEndpoints):
        def find(self, provider: str) -> None:
            raise ValueError("MY-SECRET-DIAGNOSIS")

    mesh = Mesh()
    mesh.endpoints = Broken()
    mesh.grants._endpoints = mesh.endpoints
    written = await mesh.outcome_of(grant())
    assert written.evidence is Evidence.UNKNOWN
    assert written.detail == "a defect: ValueError"
    assert mesh.frontier.calls == []
