"""Claims in the store: who speaks first for a request id. Without a store the mesh answers all the same."""

import asyncio
import time
from typing import Final, Protocol
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tiermesh_chassis.clock import Clock, now_ms
from tiermesh_chassis.store import CONNECTIONS_MAX

log = structlog.get_logger(__name__)

CLAIM_TTL_S: Final = 86_400
"""How long a claim is kept beyond the time it is needed; longer than any redelivery of a record in work."""

CLAIM_TTL_S_MAX: Final = 8 * 86_400
"""The longest deadline and a day: a record with a time stamp of the far future is kept no longer."""

CLAIM_TIMEOUT_S: Final = 1.0
"""Local work waits at most this long for a store that does not answer, and then not again for a while."""

CHECK_TIMEOUT_S: Final = 0.25
"""A probe of `/ready` that waits longer may be taken for a no."""

STORE_REST_S = 2.0
"""After a failure the store is left alone this long: work that needs no money never waits for it."""


class Claims(Protocol):
    async def first_result(self, tenant: str, request_id: UUID, redrive: int, raw: bytes) -> bytes:
        """The bytes of the first who claimed; `raw` where that is the caller, or nobody can say."""
        ...

    async def first_body(
        self, tenant: str, request_id: UUID, redrive: int, body_sha256: str, keep_until_ms: int | None = None
    ) -> str:
        """The body hash first seen under this id; `body_sha256` where it is new, or nobody can say.

        Kept at least a day, and where `keep_until_ms` (since the epoch) is given, until a day after it.
        """
        ...


class RedisClaims:
    """SET NX GET: one round trip, atomic."""

    def __init__(self, store: Redis, *, timeout_s: float = CLAIM_TIMEOUT_S, clock: Clock = now_ms) -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._clock = clock
        self._permits = asyncio.Semaphore(CONNECTIONS_MAX)
        self._resting_until = 0.0

    async def first_result(self, tenant: str, request_id: UUID, redrive: int, raw: bytes) -> bytes:
        first = await self._first(f"mesh:claim:{tenant}:{request_id}:{redrive}", raw.decode(), CLAIM_TTL_S)
        return raw if first is None else first.encode()

    async def first_body(
        self, tenant: str, request_id: UUID, redrive: int, body_sha256: str, keep_until_ms: int | None = None
    ) -> str:
        ttl_s = _ttl_s(keep_until_ms, self._clock())
        first = await self._first(f"mesh:body:{tenant}:{request_id}:{redrive}", body_sha256, ttl_s)
        return body_sha256 if first is None else first

    async def check(self) -> str | None:
        """One line where the store does not answer, which holds no work up; for `/ready`."""
        if self._is_resting:
            return "the store does not answer: going on without claims"
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await self._store.ping()
        except (RedisError, OSError) as error:
            return f"the store does not answer: {error!r}"
        return None

    @property
    def _is_resting(self) -> bool:
        return time.monotonic() < self._resting_until

    async def _first(self, key: str, value: str, ttl_s: int) -> str | None:
        """What was there before, or None. Tenants follow a grammar without colons, so keys cannot collide.

        The time-out is around everything, the wait for one of the store's connections too; who had to wait looks
        again whether the store was found away meanwhile.
        """
        if self._is_resting:
            return None
        try:
            async with asyncio.timeout(self._timeout_s), self._permits:
                if self._is_resting:
                    return None
                before = await self._store.set(key, value, nx=True, get=True, ex=ttl_s)
        except (RedisError, OSError) as error:
            if not self._is_resting:
                log.warning("store down, going on without claims", error=repr(error))
            self._resting_until = time.monotonic() + STORE_REST_S
            return None
        return before if isinstance(before, str) else None


def _ttl_s(keep_until_ms: int | None, now_ms: int) -> int:
    ahead_s = 0 if keep_until_ms is None else max(0, keep_until_ms - now_ms) // 1000
    return min(ahead_s + CLAIM_TTL_S, CLAIM_TTL_S_MAX)
