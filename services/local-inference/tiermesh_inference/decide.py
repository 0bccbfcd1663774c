"""Whether a model's answer stands. Pure."""

from tiermesh_contracts.escalations import LABELS_MAX, EscalationReason, LocalAnswer
from tiermesh_contracts.results import ResultReason, Status
from tiermesh_inference.model import Answer, BestLocal, Classified, End, Escalate, Facts, Unclassified, Verdict


def judge(facts: Facts) -> Verdict:
    """A sure answer stands; an unsure one is escalated where the text may leave, and given as degraded if not."""
    match facts.seen:
        case Classified() as seen:
            return _judge_answer(seen, facts)
        case Unclassified.EXPIRED:
            return End(Status.EXPIRED, ResultReason.DEADLINE, "its deadline passed before a model read it")
        case Unclassified.OVERLOADED:
            return End(Status.REFUSED, ResultReason.OVERLOADED, "too many requests wait for its model")
        case Unclassified.NO_MODEL if _may_escalate(facts):
            return Escalate(EscalationReason.POLICY, facts.frontier, (), None)
        case Unclassified.NO_MODEL:
            return End(Status.REFUSED, ResultReason.UNKNOWN_TASK, "the model of its task is not installed here")


def _judge_answer(seen: Classified, facts: Facts) -> Answer | BestLocal | Escalate:
    if facts.is_novel:
        return BestLocal(seen)
    if seen.is_sure:
        return Answer(seen)
    if not _may_escalate(facts):
        return BestLocal(seen)
    labels = seen.labels if len(seen.labels) <= LABELS_MAX else ()  # no choice is better than half of one
    return Escalate(EscalationReason.LOW_CONFIDENCE, facts.frontier, labels, _local_answer(seen))


def _may_escalate(facts: Facts) -> bool:
    return facts.may_leave and bool(facts.frontier)


def _local_answer(seen: Classified) -> LocalAnswer:
    return LocalAnswer(
        task=seen.task,
        model=seen.model,
        model_version=seen.version,
        label=seen.label,
        confidence=seen.confidence,
        threshold=seen.threshold,
    )
