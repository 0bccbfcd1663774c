"""What the handlers need from outside."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from tiermesh_contracts.budget import Reservation
from tiermesh_contracts.requests import Origin
from tiermesh_contracts.results import InferenceResult
from tiermesh_escalation.model import Call, Endpoint, Fence, Finding, Seen


class FrontierModel(Protocol):
    async def complete(self, call: Call) -> Seen:
        """Make the call once, never twice; every failure of it is a `Seen`, none is raised."""
        ...


class Endpoints(Protocol):
    def find(self, provider: str) -> Endpoint | None:
        """The provider with its key as it is now; None where it is not configured."""
        ...


class Fences(Protocol):
    """Raises `StoreUnavailable`."""

    async def take(self, reservation: Reservation, owner: str, lease_ms: int) -> Fence:
        """Fence the attempt for a call that ends within `lease_ms`. Repeating it under one owner is harmless."""
        ...

    async def void(self, reservation: Reservation, owner: str) -> Fence:
        """Fence the attempt so that its call is never made; also where the owner has it and did not call."""
        ...

    async def finish(self, reservation: Reservation) -> None:
        """Its outcome is written."""
        ...


class Firsts(Protocol):
    async def is_first(self, org: str, att: str, partition: int, offset: int) -> bool:
        """False where an earlier outcome of the attempt is known; True where nobody can say."""
        ...


class Results(Protocol):
    async def answer(self, origin: Origin, result: InferenceResult) -> None: ...


class Watch(Protocol):
    def call(self, call: Call) -> AbstractContextManager[Callable[[Finding, int], None]]:
        """Watch one call; what it yields is told, inside, what was found and after how many milliseconds."""
        ...
