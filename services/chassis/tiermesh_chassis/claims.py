"""Claims in the store: who speaks first for a request id. Without a store the mesh answers all the same."""

import time
from typing import Protocol
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

CLAIM_TTL_S = 86_400
"""Longer than any redelivery of a record whose result was published."""

STORE_REST_S = 2.0
"""After a failure the store is left alone this long: work that needs no money never waits for it."""


class Claims(Protocol):
    async def first_result(self, tenant: str, request_id: UUID, redrive: int, raw: bytes) -> bytes:
        """The bytes of the first who claimed; `raw` where that is the caller, or nobody can say."""
        ...

    async def first_body(self, tenant: str, request_id: UUID, redrive: int, body_sha256: str) -> str:
        """The body hash first seen under this id; `body_sha256` where it is new, or nobody can say."""
        ...


class RedisClaims:
    """SET NX GET: one round trip, atomic."""

    def __init__(self, store: Redis) -> None:
        self._store = store
        self._resting_until = 0.0

    async def first_result(self, tenant: str, request_id: UUID, redrive: int, raw: bytes) -> bytes:
        first = await self._first(f"mesh:claim:{tenant}:{request_id}:{redrive}", raw.decode())
        return raw if first is None else first.encode()

    async def first_body(self, tenant: str, request_id: UUID, redrive: int, body_sha256: str) -> str:
        first = await self._first(f"mesh:body:{tenant}:{request_id}:{redrive}", body_sha256)
        return body_sha256 if first is None else first

    async def _first(self, key: str, value: str) -> str | None:
        """What was there before, or None. Tenants follow a grammar without colons, so keys cannot collide."""
        if time.monotonic() < self._resting_until:
            return None
        try:
            before = await self._store.set(key, value, nx=True, get=True, ex=CLAIM_TTL_S)
        except (RedisError, OSError) as error:
            self._resting_until = time.monotonic() + STORE_REST_S
            log.warning("store down, going on without claims", error=repr(error))
            return None
        return before if isinstance(before, str) else None
