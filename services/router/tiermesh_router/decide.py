"""Where a request goes. Pure: only the message's fields and the scores count, never what a prompt says."""

from tiermesh_contracts.escalations import LABELS_MAX
from tiermesh_contracts.requests import AUTO, AcceptedRequest, InferenceRequest, Privacy
from tiermesh_contracts.results import ResultReason, Status
from tiermesh_contracts.routing import Candidate, RouteReason, RoutingDecision
from tiermesh_contracts.routing import Route as To
from tiermesh_router.model import End, Escalate, Facts, SendLocal, Step, TaskScore, Unscored

CANDIDATES_MAX = 8
"""Scores kept in a decision, the best first."""


def accept(request: InferenceRequest, timestamp_ms: int, privacy_default: Privacy) -> AcceptedRequest:
    """Fix once what the rest of the way carries unchanged: acceptance, expiry and privacy."""
    return AcceptedRequest(
        request=request,
        accepted_at_ms=timestamp_ms,
        expires_at_ms=timestamp_ms + request.deadline_ms,
        privacy=request.privacy or privacy_default,
    )


def choose_route(task: str, scores: tuple[TaskScore, ...], *, may_leave: bool) -> RoutingDecision:
    """`scores` are those of every installed task for `auto`, else of the named one, or empty without it.

    Known text goes to its task's model. Novel text goes to a frontier if it may leave; if not, a named task's
    model does what it can, and `auto` is refused.
    """
    ranked = sorted(scores, key=lambda score: (-score.margin, score.task))
    is_named = task != AUTO
    if not ranked:
        if is_named:
            return RoutingDecision(route=To.REFUSE, reason=RouteReason.UNKNOWN_TASK)
        return RoutingDecision(route=To.ESCALATE if may_leave else To.REFUSE, reason=RouteReason.NOVEL)
    best = ranked[0]
    if best.margin >= 0:
        return _chosen(To.LOCAL, RouteReason.IN_SCOPE, best, ranked)
    if may_leave:
        return _chosen(To.ESCALATE, RouteReason.NOVEL, best if is_named else None, ranked)
    if is_named:
        return _chosen(To.LOCAL, RouteReason.LOCAL_ONLY, best, ranked)
    return _chosen(To.REFUSE, RouteReason.NOVEL, None, ranked)


def _chosen(route: To, reason: RouteReason, chosen: TaskScore | None, ranked: list[TaskScore]) -> RoutingDecision:
    best = ranked[0]
    return RoutingDecision(
        route=route,
        reason=reason,
        task=chosen.task if chosen else None,
        model=chosen.model if chosen else None,
        model_version=chosen.version if chosen else None,
        score=chosen.score if chosen else None,
        threshold=chosen.threshold if chosen else None,
        novelty=-best.margin,
        candidates=tuple(
            Candidate(task=each.task, score=each.score, threshold=each.threshold)
            for each in ranked[:CANDIDATES_MAX]
        ),
    )


def choose_step(facts: Facts) -> Step:
    """The one thing to do with a request."""
    match facts.scores:
        case Unscored.EXPIRED:
            routing = RoutingDecision(route=To.REFUSE, reason=RouteReason.EXPIRED)
            return End(Status.EXPIRED, ResultReason.DEADLINE, routing, "its deadline passed before it was routed")
        case Unscored.OVERLOADED:
            return End(Status.REFUSED, ResultReason.OVERLOADED, None, "too many requests wait to be routed")
        case scores:
            routing = choose_route(facts.task, scores, may_leave=facts.may_leave)
            return _step_of(routing, facts, scores)


def _step_of(routing: RoutingDecision, facts: Facts, scores: tuple[TaskScore, ...]) -> Step:
    match routing.route, routing.reason:
        case To.LOCAL, _:
            return SendLocal(routing)
        case To.ESCALATE, _ if not facts.frontier:
            detail = "no installed model covers it, and no provider is configured"
            return End(Status.REFUSED, ResultReason.NO_FRONTIER, routing, detail)
        case To.ESCALATE, _:
            return Escalate(routing, facts.frontier, _labels(facts.task, scores))
        case To.REFUSE, RouteReason.UNKNOWN_TASK:
            detail = f"no installed model has task {facts.task!r}"
            return End(Status.REFUSED, ResultReason.UNKNOWN_TASK, routing, detail)
        case _:
            detail = "no installed model covers it, and it may not leave"
            return End(Status.REFUSED, ResultReason.PRIVATE_AND_NOVEL, routing, detail)


def _labels(task: str, scores: tuple[TaskScore, ...]) -> tuple[str, ...]:
    """The answers of a named task, so that a frontier answers with one of them; none where they are too many."""
    if task == AUTO or len(scores[0].labels) > LABELS_MAX:
        return ()
    return scores[0].labels
