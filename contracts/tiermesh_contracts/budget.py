"""Money: ids, prices, reservations and the ledger. Every amount is an integer number of nano-dollars."""

import hashlib
import json
from enum import StrEnum
from typing import Annotated, ClassVar, Final
from uuid import UUID

from pydantic import Field

from tiermesh_contracts.message import Message, Part
from tiermesh_contracts.results import Usage

USD_NANOS: Final = 1_000_000_000
LIMIT_USD_NANOS_MAX: Final = 9_000_000 * USD_NANOS
"""Lua's numbers are exact to 2^53, a little above nine million dollars in nano-dollars."""

UsdNanos = Annotated[int, Field(ge=0, le=LIMIT_USD_NANOS_MAX)]


def attempt_id(tenant: str, request_id: UUID, redrive: int, attempt: int) -> str:
    """`att`: the id of one attempt, and so of its reservation, grant, outcome and fence.

    Never built without the tenant: request ids are chosen by producers, who may choose another's.
    """
    parts = json.dumps([tenant, str(request_id), redrive, attempt], separators=(",", ":"))
    return hashlib.sha256(parts.encode()).hexdigest()


class Rates(Part):
    """Price of a model: nano-dollars per million tokens, the dearest tier that could apply."""

    input_usd_nanos_per_mtok: UsdNanos
    cached_input_usd_nanos_per_mtok: UsdNanos
    output_usd_nanos_per_mtok: UsdNanos
    version: str
    """Date or hash of the price table: a later price never reprices history."""

    def cost_usd_nanos(self, usage: Usage) -> int:
        """Price of one call, rounded up once at its end; reasoning tokens are part of the output."""
        fresh_tokens = usage.input_tokens - usage.cached_input_tokens
        total = (
            fresh_tokens * self.input_usd_nanos_per_mtok
            + usage.cached_input_tokens * self.cached_input_usd_nanos_per_mtok
            + usage.output_tokens * self.output_usd_nanos_per_mtok
        )
        return -(-total // 1_000_000)

    def hold_usd_nanos(self, input_tokens_max: int, output_tokens_max: int) -> int:
        """The worst case of a call within these limits: nothing cached, everything written."""
        dearest_input = max(self.input_usd_nanos_per_mtok, self.cached_input_usd_nanos_per_mtok)
        total = input_tokens_max * dearest_input + output_tokens_max * self.output_usd_nanos_per_mtok
        return -(-total // 1_000_000)


class ScopeKind(StrEnum):
    ORG = "org"
    TENANT = "tenant"
    PROJECT = "project"
    MODEL = "model"
    ROOT = "root"
    REQUEST = "request"


class Window(StrEnum):
    """How long a limit lasts, in UTC by the store's clock."""

    MINUTE = "minute"
    DAY = "day"
    MONTH = "month"
    LIFETIME = "lifetime"


class CountedScope(Part):
    """One scope and window that an amount counts in, as it stood when the amount was held."""

    scope: str
    """`kind` or `kind:key`; keys other than the tenant are hashes."""
    window: Window
    window_id: str
    limit_usd_nanos: UsdNanos | None = None
    counted_before_usd_nanos: Annotated[int, Field(ge=0)] = 0
    """Held + posted + suspended before this entry."""


class Reservation(Part):
    """Money set aside for one attempt, and exactly what it may be spent on."""

    att: str
    org: str
    epoch: Annotated[int, Field(ge=1)]
    seq: Annotated[int, Field(ge=0)]
    """Of its `held` entry; 0 where the reservation was carried over from an earlier epoch."""
    amount_usd_nanos: UsdNanos
    provider: str
    model: str
    rates: Rates
    input_tokens_max: Annotated[int, Field(ge=1)]
    output_tokens_max: Annotated[int, Field(ge=1)]
    body_sha256: str
    """Of the bytes that will be sent; anything else is not sent."""
    not_after_ms: int
    """No call starts after this."""


class Balance(Part):
    """What one scope and window had counted when an opening was written; nothing is held at an opening."""

    scope: str
    window: Window
    window_id: str
    posted_usd_nanos: Annotated[int, Field(ge=0)]
    suspended_usd_nanos: Annotated[int, Field(ge=0)]


class Opening(Message):
    """`mesh.openings`: the balances from which the entries of `epoch` count on."""

    ce_type: ClassVar[str] = "tiermesh.opening.v1"

    org: str
    epoch: Annotated[int, Field(ge=1)]
    ledger_offset: Annotated[int, Field(ge=0)]
    """Entries before it are in the balances."""
    at_ms: int
    balances: tuple[Balance, ...] = ()


class LedgerKind(StrEnum):
    EPOCH_OPENED = "epoch_opened"
    LIMIT_SET = "limit_set"
    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"
    SUSPENDED = "suspended"
    OVERRUN = "overrun"
    ADJUSTED = "adjusted"


class LedgerEntry(Message):
    """One transition of money. (org, epoch, seq) is its id; the ledger is append-only and kept for ever."""

    ce_type: ClassVar[str] = "tiermesh.ledger_entry.v1"

    org: str
    epoch: Annotated[int, Field(ge=1)]
    seq: Annotated[int, Field(ge=0)]
    """From 1 in each epoch, given by the store; 0 is the fence `epoch_opened`."""
    kind: LedgerKind
    at_ms: int
    """The store's clock."""
    run_id: str | None = None
    """Of the store, in `epoch_opened`."""
    att: str | None = None
    tenant: str | None = None
    request_id: UUID | None = None
    provider: str | None = None
    model: str | None = None
    price_version: str | None = None
    amount_usd_nanos: Annotated[int, Field(ge=0)] = 0
    """Held: set aside. Settled, overrun: posted. Released, suspended: what was held."""
    freed_usd_nanos: Annotated[int, Field(ge=0)] = 0
    """Taken off held (or off suspended, where `from_suspended`) by this entry."""
    from_suspended: bool = False
    scopes: tuple[CountedScope, ...] = ()

    @property
    def ent(self) -> tuple[str, int, int]:
        return (self.org, self.epoch, self.seq)
