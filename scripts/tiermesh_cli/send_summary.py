"""What became of the requests that were sent, in numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tiermesh_cli.percentiles import percentiles
from tiermesh_cli.send_rows import Row
from tiermesh_contracts.results import InferenceResult, Status


@dataclass(frozen=True, slots=True)
class Sent:
    """One request and its end."""

    row: Row
    result: InferenceResult | None
    """None: lost, nothing came by its deadline and the grace after it."""
    latency_ms: float
    """From just before it was published to its result's arrival."""


def summarise(sent: Sequence[Sent], *, duplicated: int, conflicting: int, elapsed_s: float) -> dict[str, Any]:
    """The summary's JSON object. Accuracy is over answered requests whose right label is known."""
    ended = [(each, each.result) for each in sent if each.result is not None]
    judged = [
        (each.row.label == result.label, result.tier.value)
        for each, result in ended
        if each.row.label is not None and result.status is Status.ANSWERED
    ]
    latencies: dict[str, list[float]] = {}
    for each, result in ended:
        latencies.setdefault(result.tier.value, []).append(each.latency_ms)
    return {
        "requests": len(sent),
        "terminal": len(ended),
        "lost": len(sent) - len(ended),
        "conflicting": conflicting,
        "duplicated": duplicated,
        "by_status": dict(sorted(Counter(result.status.value for _, result in ended).items())),
        "by_tier": dict(sorted(Counter(result.tier.value for _, result in ended).items())),
        "labelled": len(judged),
        "accuracy": _share([right for right, _ in judged]),
        "accuracy_by_tier": {
            tier: _share([right for right, by in judged if by == tier]) for tier in sorted({by for _, by in judged})
        },
        "latency_ms": {tier: asdict(percentiles(values)) for tier, values in sorted(latencies.items())},
        "cost_usd_nanos": sum(result.cost_usd_nanos for _, result in ended),
        "elapsed_s": round(elapsed_s, 3),
        "requests_per_s": round(len(ended) / elapsed_s, 1) if elapsed_s > 0 else 0.0,
    }


def _share(rights: Sequence[bool]) -> float | None:
    return round(sum(rights) / len(rights), 4) if rights else None
