"""When to try again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiermesh_chassis.retry_policy import RetryPolicy

JITTER = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10**6), JITTER, st.integers(1, 10**5), st.integers(1, 10**5))
def test_a_delay_is_bounded_whatever_the_attempt(attempt: int, jitter: float, first: int, most: int) -> None:
    """The hundredth repeat would wait for years, or spin."""
    delay_ms = RetryPolicy(10**7, first, most).delay_ms(attempt, 0, None, jitter)
    assert delay_ms is not None
    assert min(first, most) // 2 <= delay_ms <= most


@given(st.integers(1, 20), JITTER)
def test_attempts_are_bounded(attempts_max: int, jitter: float) -> None:
    """A record that never works would be tried for ever."""
    policy = RetryPolicy(attempts_max=attempts_max)
    delays = [policy.delay_ms(attempt, 0, None, jitter) for attempt in range(1, attempts_max + 5)]
    assert delays.count(None) == 5
    assert None not in delays[: attempts_max - 1]


@given(st.integers(1, 5), st.integers(0, 10_000), st.integers(0, 20_000), JITTER)
def test_nothing_starts_at_or_after_the_deadline(attempt: int, now: int, expires: int, jitter: float) -> None:
    """Work, and perhaps money, for an answer that nobody waits for."""
    delay_ms = RetryPolicy().delay_ms(attempt, now, expires, jitter)
    assert delay_ms is None or now + delay_ms < expires


@pytest.mark.parametrize(("attempt", "low", "high"), [(1, 50, 100), (2, 100, 200), (3, 200, 400), (5, 800, 1600)])
def test_the_ceiling_doubles_and_jitter_spreads_below_it(attempt: int, low: int, high: int) -> None:
    """Everyone who failed together would come back together."""
    policy = RetryPolicy()
    assert policy.delay_ms(attempt, 0, None, 0.0) == low
    assert policy.delay_ms(attempt, 0, None, 0.999_999) in {high - 1, high}
