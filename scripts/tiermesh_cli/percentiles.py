"""Percentiles of what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Percentiles:
    """In the unit of the values; None where there were none."""

    p50: float | None
    p95: float | None
    p99: float | None


def percentiles(values: Sequence[float]) -> Percentiles:
    """By nearest rank, so that each is a value that occurred; rounded to a tenth."""
    ranked = sorted(values)

    def at(percent: int) -> float | None:
        return round(ranked[-(-len(ranked) * percent // 100) - 1], 1) if ranked else None

    return Percentiles(at(50), at(95), at(99))
