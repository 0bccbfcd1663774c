"""Values of the guard's decisions."""

from dataclasses import dataclass

from tiermesh_contracts.budget import Rates, ScopeKind
from tiermesh_contracts.escalations import ModelRef
from tiermesh_contracts.frontier import LimitField
from tiermesh_contracts.results import InferenceResult


@dataclass(frozen=True, slots=True)
class Offer:
    """What is known of a candidate model."""

    ref: ModelRef
    rates: Rates | None
    """None: nobody knows its price, so it is not called."""
    context_tokens: int
    limit_field: LimitField


@dataclass(frozen=True, slots=True)
class Scope:
    """One scope that an attempt counts in; `key` is safe in a store key."""

    kind: ScopeKind
    key: str


@dataclass(frozen=True, slots=True)
class Bid:
    """One attempt at one model, priced at its worst."""

    att: str
    offer: Offer
    amount_usd_nanos: int
    input_tokens_max: int
    output_tokens_max: int
    body_sha256: str
    """Of the body that would be sent."""
    price: Rates
    scopes: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class End:
    """The request ends here, without a call."""

    result: InferenceResult


@dataclass(frozen=True, slots=True)
class Park:
    """Wait for money or the deadline."""

    why: str


@dataclass(frozen=True, slots=True)
class Tender:
    """The bids to try, in the policy's order: the first that the money covers is granted."""

    bids: tuple[Bid, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """The reservation stands (again, where `state` is past `held`)."""

    epoch: int
    seq: int
    state: str
    reservation_json: str


@dataclass(frozen=True, slots=True)
class NoMoney:
    scope: str
    window: str

    @property
    def is_own_limit(self) -> bool:
        """True where the request's own cost limit is short: no budget that returns can help."""
        return self.scope == ScopeKind.REQUEST


@dataclass(frozen=True, slots=True)
class Frozen:
    """The model overran a reservation and waits for an operator."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The evidence is in the books, by an entry up to `seq`."""

    epoch: int
    seq: int
    repeated: bool


@dataclass(frozen=True, slots=True)
class UnknownReservation:
    pass


Reply = Held | NoMoney | Frozen
