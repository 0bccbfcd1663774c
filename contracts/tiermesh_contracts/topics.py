"""The registry of topics: data only. Whatever creates, writes or reads a topic takes its name from here."""

from dataclasses import dataclass
from typing import Final, Literal

DAY_MS: Final = 86_400_000
FOR_EVER_MS: Final = -1
MESSAGE_BYTES_MAX: Final = 1_048_576
"""The largest record of any topic; the broker's own default limit, so that no broker needs tuning for us."""

REPLICATION_MAX: Final = 3
"""Copies of each record, where there are as many brokers: one may die while another is being replaced."""

Pool = Literal["classify", "generate", "embed"]
POOLS: Final[tuple[Pool, ...]] = ("classify", "generate", "embed")


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: who writes it, who reads it, what its key is, and what the broker must know about it."""

    name: str
    key: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    partitions: int = 6
    partitions_fixed: bool = False
    """True where an offset or a partition orders money or answers: the count may never change."""
    retention_ms: int = 7 * DAY_MS
    cleanup: Literal["delete", "compact"] = "delete"
    broker_time: bool = False
    """True where the broker, not the producer, stamps the record: deadlines start there."""

    @property
    def config(self) -> dict[str, str]:
        """Broker settings of the topic, as Kafka spells them."""
        settings = {
            "cleanup.policy": self.cleanup,
            "max.message.bytes": str(MESSAGE_BYTES_MAX),
            "message.timestamp.type": "LogAppendTime" if self.broker_time else "CreateTime",
        }
        if self.cleanup == "delete":
            settings["retention.ms"] = str(self.retention_ms)
        return settings


_LOCAL_READERS = ("local-inference",)
_ANSWERING = ("router", "local-inference", "budget-guard", "escalation")

REQUESTS = Topic("mesh.requests.v1", "tenant or conversation", ("producers",), ("router",), broker_time=True)
LOCAL: Final[dict[Pool, Topic]] = {
    pool: Topic(f"mesh.local.{pool}.v1", "request id", ("router",), _LOCAL_READERS) for pool in POOLS
}
ESCALATIONS = Topic("mesh.escalations.v1", "tenant", ("router", "local-inference", "escalation"), ("budget-guard",))
GRANTS = Topic("mesh.grants.v1", "att", ("budget-guard",), ("escalation",))
DEFERRED = Topic(
    "mesh.deferred.v1", "att", ("budget-guard",), ("budget-guard",), partitions_fixed=True, cleanup="compact"
)
OUTCOMES = Topic(
    "mesh.outcomes.v1",
    "att",
    ("escalation",),
    ("budget-guard", "escalation"),
    partitions_fixed=True,
    retention_ms=30 * DAY_MS,
)
RESULTS = Topic(
    "mesh.results.v1",
    "request id",
    _ANSWERING,
    ("producers",),
    partitions_fixed=True,
    retention_ms=30 * DAY_MS,
)
LEDGER = Topic(
    "mesh.ledger.v1",
    "org",
    ("budget-guard",),
    ("budget-guard", "audit"),
    partitions_fixed=True,
    retention_ms=FOR_EVER_MS,
)
OPENINGS = Topic("mesh.openings.v1", "org", ("budget-guard",), ("budget-guard",), cleanup="compact")
FEEDBACK = Topic("mesh.feedback.v1", "request id", ("producers",), ("learning loop",), retention_ms=90 * DAY_MS)

TOPICS: Final[tuple[Topic, ...]] = (
    REQUESTS,
    *LOCAL.values(),
    ESCALATIONS,
    GRANTS,
    DEFERRED,
    OUTCOMES,
    RESULTS,
    LEDGER,
    OPENINGS,
    FEEDBACK,
)


def replication_of(brokers: int) -> int:
    """Copies of each record on a cluster of `brokers`."""
    return min(REPLICATION_MAX, brokers)


def min_insync(copies: int) -> int:
    """How many of `copies` must have a record before `acks=all` is answered: all but one, and at least one."""
    return max(1, copies - 1)


def tenant_results(tenant: str) -> str:
    """Name of a tenant's own result topic."""
    return f"mesh.results.{tenant}.v1"


def may_reply_to(reply_to: str, tenant: str) -> bool:
    """True for the shared result topic and the tenant's own; anything else would let a producer write
    another tenant's answers, or the ledger, through our hands."""
    return reply_to in {RESULTS.name, tenant_results(tenant)}


def dead_letters(topic: str) -> str:
    """Name of the topic that holds the dead letters of `topic`."""
    return f"{topic}.dlq"


def dead_letter_topics() -> tuple[Topic, ...]:
    """A dead-letter topic for each topic that a service reads."""
    return tuple(
        Topic(
            dead_letters(t.name),
            "as source",
            ("chassis",),
            ("operators",),
            partitions=1,
            retention_ms=30 * DAY_MS,
        )
        for t in TOPICS
        if t.readers != ("producers",) and t not in {OPENINGS, FEEDBACK}
    )
