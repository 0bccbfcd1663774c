"""The connection to Redis (or Valkey)."""

from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tiermesh_chassis.errors import DependencyMissing

CONNECTIONS_MAX: Final = 64

POOL_TIMEOUT_S: Final = 5.0
"""How long a command waits for a free connection: a busy moment is no sign that the store is away."""


def connect_store(
    url: str,
    *,
    timeout_s: float = 2.0,
    connections_max: int = CONNECTIONS_MAX,
    pool_timeout_s: float = POOL_TIMEOUT_S,
) -> Redis:
    """A client that never repeats a command by itself.

    The library's own retry would send a command again over a new connection, perhaps to a store that has
    restarted empty in between; every repeat here is decided where its meaning is known.
    """
    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
        url,
        decode_responses=True,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        max_connections=connections_max,
        timeout=pool_timeout_s,
    )
    client: Redis = Redis.from_pool(pool)
    return client


async def require_store(client: Redis, url: str) -> None:
    """Raises `DependencyMissing` where the store does not answer."""
    try:
        await client.ping()
    except (RedisError, OSError) as error:
        raise DependencyMissing(f"no Redis answers at {shown_url(url)} (TIERMESH_REDIS_URL): {error}") from error


def shown_url(url: str) -> str:
    """`url` as it may stand in a line that people read: without user, password and query, which may hold one."""
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    return scheme + mark + rest.rpartition("@")[2].partition("?")[0]
