"""Dead letters: what could not be processed, why, and the original bytes untouched."""

from enum import StrEnum

from tiermesh_contracts.message import Part


class DeadLetterReason(StrEnum):
    MALFORMED = "malformed"
    """Not JSON, not UTF-8, or empty."""
    INVALID = "invalid"
    """JSON, but not a message of this topic."""
    OVERSIZED = "oversized"
    ID_REUSED = "id_reused"
    """A request id that was used before with another body."""
    UNKNOWN_RESERVATION = "unknown_reservation"
    """An outcome for money that was never set aside; it is never invented."""
    RETRIES_EXHAUSTED = "retries_exhausted"
    UNEXPECTED = "unexpected"
    """A defect of ours: the record is kept, the partition goes on."""


class DeadLetter(Part):
    """The `x-` headers of a dead letter; its value and its other headers are the original's."""

    reason: DeadLetterReason
    detail: str
    """One line, bounded; never the text of a request."""
    service: str
    source_topic: str
    source_partition: int
    source_offset: int
    failed_at: str
    """ISO 8601, UTC."""
    request_id: str | None = None
    tenant: str | None = None
    redrive: int = 0

    def to_headers(self) -> dict[str, str]:
        values = self.model_dump(exclude_none=True)
        return {f"x-{name.replace('_', '-')}": str(value) for name, value in values.items()}

    @classmethod
    def from_headers(cls, headers: dict[str, str]) -> "DeadLetter":
        return cls.model_validate(
            {name[2:].replace("-", "_"): value for name, value in headers.items() if name.startswith("x-")}
        )
