"""Chance that repeats: the same seed and words give the same number, in any order of calls."""

import hashlib
import math
from statistics import NormalDist

_NORMAL = NormalDist()


def uniform(seed: int, *words: str) -> float:
    """A number in (0, 1)."""
    digest = hashlib.sha256("\x1f".join((str(seed), *words)).encode(errors="replace")).digest()
    return (int.from_bytes(digest[:6], "big") + 0.5) / 2.0**48


def log_normal(median: float, sigma: float, chance: float) -> float:
    """The value below which the share `chance` of a log-normal distribution lies."""
    return median * math.exp(sigma * _NORMAL.inv_cdf(chance))


def latency_ms(median_ms: float, p95_ms: float, chance: float) -> float:
    """A delay from the log-normal distribution with this median and 95th percentile, at most ten times that."""
    if median_ms == 0:
        return 0.0
    sigma = math.log(p95_ms / median_ms) / _NORMAL.inv_cdf(0.95)
    return min(log_normal(median_ms, sigma, chance), 10 * p95_ms)
