"""The base of every message that crosses a topic, and the two ways to read one."""

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from tiermesh_contracts.requests import Origin

UnknownFields = Literal["ignore", "forbid"]


class Part(BaseModel):
    """A frozen value inside a message."""

    model_config = ConfigDict(
        frozen=True, use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False
    )


class Message(Part):
    """A record's value: JSON, UTF-8. `ce_type` is its CloudEvents type and carries the major version."""

    ce_type: ClassVar[str]

    @classmethod
    def from_bytes(cls, raw: bytes, unknown: UnknownFields = "ignore") -> Self:
        """Read one message.

        Unknown fields are ignored at run time, so that a newer producer does not stop an older service;
        tests pass `forbid`, so that a misspelt field is seen where it is written.

        Raises `pydantic.ValidationError` for anything that is not such a message.
        """
        return cls.model_validate_json(raw, extra=unknown)

    @property
    def origin(self) -> "Origin | None":
        """The request that this is about: whom a result is owed."""
        return None

    @property
    def expires_at_ms(self) -> int | None:
        """After this nobody waits for what becomes of it; None where it must be handled all the same."""
        return None

    def to_bytes(self) -> bytes:
        """The canonical bytes: absent fields left out, order of declaration."""
        return self.model_dump_json(exclude_none=True).encode()
