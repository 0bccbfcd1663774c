"""Fences and first outcomes, in the store. Every key begins with `{org}`, so that an org's keys share a slot."""

from importlib.resources import files
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tiermesh_chassis.errors import StoreUnavailable
from tiermesh_contracts.budget import Reservation
from tiermesh_escalation.model import Fence, FenceState

log = structlog.get_logger(__name__)

TTL_MS: Final = 8 * 86_400_000
"""A reservation's record lives until 7 days past its deadline; its fence outlives it."""


class RedisFences:
    """One script decides (`lua/fence.lua`), called by its hash and loaded again where the store forgot it."""

    def __init__(self, store: Redis) -> None:
        self._store = store
        source = files("tiermesh_escalation").joinpath("lua/fence.lua").read_text(encoding="utf-8")
        self._script = store.register_script(source)

    async def take(self, reservation: Reservation, owner: str, lease_ms: int) -> Fence:
        return await self._fence(reservation, owner, "open", lease_ms)

    async def void(self, reservation: Reservation, owner: str) -> Fence:
        return await self._fence(reservation, owner, "void", 0)

    async def finish(self, reservation: Reservation) -> None:
        """Written whether or not the fence was there: an attempt with an outcome is never called again."""
        key = fence_key(reservation.org, reservation.att)
        try:
            async with self._store.pipeline(transaction=True) as both:
                both.hset(key, "state", "finished")
                both.pexpire(key, TTL_MS)
                await both.execute()
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"cannot finish a fence: {error!r}") from error

    async def _fence(self, reservation: Reservation, owner: str, state: str, lease_ms: int) -> Fence:
        keys = [f"{{{reservation.org}}}:epoch", fence_key(reservation.org, reservation.att)]
        try:
            verdict, lease_until_ms, now_ms = await self._script(
                keys=keys, args=[owner, reservation.epoch, state, lease_ms, TTL_MS]
            )
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"cannot fence an attempt: {error!r}") from error
        return Fence(FenceState(verdict), int(lease_until_ms), int(now_ms))


class RedisFirsts:
    """Which outcome of an attempt is the first by offset."""

    def __init__(self, store: Redis) -> None:
        self._store = store

    async def is_first(self, org: str, att: str, partition: int, offset: int) -> bool:
        """Outcomes of one attempt share a partition and may be handled side by side: the lower offset counts,
        whoever asks first. Without a store all are taken for first; the claim on the result still holds."""
        place = f"{partition}:{offset}"
        try:
            known = await self._store.set(f"{{{org}}}:d:{att}", place, nx=True, get=True, px=TTL_MS)
        except (RedisError, OSError) as error:
            log.warning("store down, delivering without knowing earlier outcomes", error=repr(error))
            return True
        if not isinstance(known, str):
            return True
        known_partition, _, known_offset = known.partition(":")
        return int(known_partition) == partition and offset <= int(known_offset)


def fence_key(org: str, att: str) -> str:
    return f"{{{org}}}:f:{att}"
