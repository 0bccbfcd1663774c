"""What the guard needs from the outside."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from tiermesh_budget.decide.parking import Space
from tiermesh_budget.decide.settle import Resolution
from tiermesh_budget.model import Bid, Held, Offer, Reply, Resolved, UnknownReservation
from tiermesh_contracts.escalations import Escalation, Grant, ModelRef, Parked


class Books(Protocol):
    """The store's side of money. Every call raises `BooksClosed` rather than guess."""

    async def reserve(self, escalation: Escalation, bid: Bid) -> Reply: ...

    async def find(self, att: str) -> Held | None:
        """The attempt's reservation, whatever its state."""
        ...

    async def resolve(self, att: str, resolution: Resolution) -> Resolved | UnknownReservation: ...

    async def set_limits(self, limits: Sequence[tuple[str, str, int]]) -> int:
        """Scope, window, nano-dollars; returns the seq of the last change, 0 where nothing changed."""
        ...


class Ledger(Protocol):
    async def wait_effective(self, epoch: int, seq: int) -> None:
        """Return once the entry was read back as effective.

        Raises `BooksClosed` where a higher fence came first, `TransientError` where it takes too long.
        """
        ...


class PriceTable(Protocol):
    def offers(self) -> Mapping[ModelRef, Offer]: ...


class Parking(Protocol):
    async def park(self, parked: Parked) -> None: ...

    async def clear(self, att: str) -> None:
        """Write the tombstone of a parked record that was granted or ended."""
        ...


class Index(Protocol):
    """The image of `mesh.deferred` beside the parking lot."""

    @property
    def overfull(self) -> dict[str, Space]:
        """By attempt: read, but beyond their tenant's space; to be ended by whoever attends the lot."""
        ...

    @property
    def is_caught_up(self) -> bool: ...


class Grants(Protocol):
    async def publish(self, grant: Grant) -> None: ...
