"""When to try again. Pure: time and randomness are arguments."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with equal jitter, bounded in attempts and by the request's deadline.

    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    attempts_max: int = 6
    delay_first_ms: int = 100
    delay_max_ms: int = 5_000

    def delay_ms(self, attempt: int, now_ms: int, expires_at_ms: int | None, jitter: float) -> int | None:
        """Milliseconds to wait after failed `attempt` (from 1), or None to give up.

        `jitter` is uniform in [0, 1). A deadline beats a retry: what would start after it does not start.
        """
        if attempt >= self.attempts_max:
            return None
        ceiling_ms = min(self.delay_max_ms, self.delay_first_ms * 2 ** min(attempt - 1, 32))
        delay_ms = int(ceiling_ms * (0.5 + jitter / 2))
        if expires_at_ms is not None and now_ms + delay_ms >= expires_at_ms:
            return None
        return delay_ms
