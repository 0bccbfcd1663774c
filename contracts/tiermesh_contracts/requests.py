"""What a producer publishes, and what the router makes of it."""

import hashlib
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, NamedTuple, Self
from uuid import UUID

from pydantic import Field, StringConstraints, field_validator, model_validator

from tiermesh_contracts.message import Message, Part
from tiermesh_contracts.routing import RoutingDecision
from tiermesh_contracts.topics import RESULTS, may_reply_to

INPUT_BYTES_MAX = 262_144
DEADLINE_MS_DEFAULT = 60_000
AUTO = "auto"

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
MetadataKey = Annotated[str, StringConstraints(max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=256)]


class Privacy(StrEnum):
    """Where a request's text may go."""

    LOCAL_ONLY = "local_only"
    REDACT = "redact"
    ANY = "any"


class OnBudget(StrEnum):
    """What to do when an escalation finds no money."""

    DEFER = "defer"
    BEST_LOCAL = "best_local"
    REFUSE = "refuse"


class ChatMessage(Part):
    role: Literal["system", "user", "assistant"]
    content: str


class Lineage(Part):
    """The causation chain of a request, so that an agent's loop is seen as one family."""

    root_id: UUID
    parent_id: UUID | None = None
    depth: Annotated[int, Field(ge=0, le=1000)] = 0


class InferenceRequest(Message):
    """One piece of work, as its producer asks for it."""

    ce_type: ClassVar[str] = "tiermesh.request.v1"

    request_id: UUID
    """UUIDv7, chosen by the producer; sending the same id and body again is harmless."""
    project: Name = "default"
    tenant: Name
    task: Name = AUTO
    """Name of an installed task, or `auto`: the router finds it."""
    input: str | Annotated[tuple[ChatMessage, ...], Field(min_length=1, max_length=256)]
    """Text, or chat messages; at most 262,144 bytes of UTF-8."""
    output_tokens_max: Annotated[int, Field(ge=1, le=32_768)] = 256
    deadline_ms: Annotated[int, Field(ge=100, le=604_800_000)] = DEADLINE_MS_DEFAULT
    """Milliseconds from the broker's timestamp of this record."""
    cost_usd_nanos_max: Annotated[int, Field(ge=0, le=9_000_000_000_000_000)] | None = None
    """The most this request may cost, all attempts together, in nano-dollars."""
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    privacy: Privacy | None = None
    """Absent: the mesh's own default."""
    on_budget: OnBudget = OnBudget.DEFER
    lineage: Lineage | None = None
    reply_to: Annotated[str, StringConstraints(max_length=128)] = RESULTS.name
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] = Field(default_factory=dict)

    @field_validator("request_id")
    @classmethod
    def _is_uuid7(cls, value: UUID) -> UUID:
        if value.version != 7:
            raise ValueError("request_id must be a UUIDv7 (RFC 9562)")
        return value

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        if self.input_bytes == 0:
            raise ValueError("input is empty")
        if self.input_bytes > INPUT_BYTES_MAX:
            raise ValueError(f"input has {self.input_bytes} bytes, the limit is {INPUT_BYTES_MAX}")
        if not may_reply_to(self.reply_to, self.tenant):
            raise ValueError(f"reply_to is not a result topic of tenant {self.tenant!r}")
        return self

    @property
    def text(self) -> str:
        """What the small models read: the text, or the user's messages in order."""
        if isinstance(self.input, str):
            return self.input
        return "\n".join(m.content for m in self.input if m.role == "user")

    @property
    def input_bytes(self) -> int:
        parts = [self.input] if isinstance(self.input, str) else [m.content for m in self.input]
        return sum(len(part.encode()) for part in parts)

    @property
    def root_id(self) -> UUID:
        return self.lineage.root_id if self.lineage else self.request_id

    @property
    def origin(self) -> "Origin":
        return Origin(self, 0)

    @property
    def body_sha256(self) -> str:
        """Hash of the canonical bytes: the same id with another body is another request in disguise."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


class Origin(NamedTuple):
    """The request a message is about: whom a result is owed."""

    request: InferenceRequest
    redrive: int


class AcceptedRequest(Part):
    """A request with what the router fixed about it once; the rest of its way carries this unchanged."""

    request: InferenceRequest
    redrive: Annotated[int, Field(ge=0, le=100)] = 0
    """How often an operator sent it again from the dead letters; part of every id."""
    accepted_at_ms: int
    """The broker's timestamp of the request, milliseconds since the epoch."""
    expires_at_ms: int
    privacy: Privacy
    """Resolved: never absent."""
    timings_ms: dict[str, int] = Field(default_factory=dict)
    """Milliseconds by hop, in the order travelled."""

    @property
    def origin(self) -> Origin:
        return Origin(self.request, self.redrive)

    @property
    def may_leave(self) -> bool:
        """True where the text may reach a frontier. Until a redacting gate exists, `redact` means home."""
        return self.privacy is Privacy.ANY

    def timed(self, hop: str, elapsed_ms: int) -> Self:
        return self.model_copy(update={"timings_ms": {**self.timings_ms, hop: max(0, elapsed_ms)}})


class LocalWork(Message):
    """`mesh.local.<pool>`: a request for a model of ours, and the decision that sent it there."""

    ce_type: ClassVar[str] = "tiermesh.local_work.v1"

    accepted: AcceptedRequest
    routing: RoutingDecision

    @property
    def expires_at_ms(self) -> int:
        return self.accepted.expires_at_ms

    @property
    def origin(self) -> Origin:
        return self.accepted.origin
