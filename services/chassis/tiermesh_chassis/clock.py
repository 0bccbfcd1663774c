"""The one place that reads the wall clock."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Milliseconds since the epoch."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000
