"""What a broker can do, asked once at start.

Apache Kafka is the reference. The embedded broker is Kafka-compatible but has no producer ids, answers an idle
fetch only after half of its longest wait, whatever arrives meanwhile, and completes a join only after half of the
session timeout (0.8 of it for a static member).
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

EMBEDDED_CLUSTER_ID: Final = "tiermesh-embedded"


class BrokerUnreachable(ConnectionError):
    """No broker answered at the given address."""


@dataclass(frozen=True, slots=True)
class BrokerTraits:
    idempotence: bool
    """True where the broker gives producer ids, so that a resent batch is written once."""
    fetch_max_wait_ms: int
    session_timeout_ms: int
    """A killed consumer's partitions move after this."""
    static_membership: bool
    """True where a restarted member with its old name gets its partitions back at once."""


KAFKA = BrokerTraits(idempotence=True, fetch_max_wait_ms=500, session_timeout_ms=10_000, static_membership=True)
EMBEDDED = BrokerTraits(idempotence=False, fetch_max_wait_ms=10, session_timeout_ms=4_000, static_membership=False)


async def broker_traits(bootstrap: str) -> BrokerTraits:
    """Ask the broker at `bootstrap` (`host:port[,host:port]`) who it is.

    Raises `BrokerUnreachable` with one clear line where none answers.
    """
    async with _admin(bootstrap) as admin:
        cluster = await admin.describe_cluster()
    return EMBEDDED if cluster["cluster_id"] == EMBEDDED_CLUSTER_ID else KAFKA


async def missing_topics(bootstrap: str, names: Iterable[str]) -> list[str]:
    """Which of `names` do not exist, sorted.

    Looks at the list of all topics: many brokers create a topic when they are asked about it, with their own
    number of partitions. Raises `BrokerUnreachable`.
    """
    async with _admin(bootstrap) as admin:
        there = await admin.list_topics()
    return sorted(set(names) - set(there))


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5_000)
    try:
        await admin.start()
        yield admin
    except (KafkaError, OSError, ValueError) as error:
        raise BrokerUnreachable(f"no Kafka broker answers at {bootstrap}: {error}") from error
    finally:
        await admin.close()
