"""What the router's handler needs from outside."""

from typing import Protocol

from tiermesh_contracts.requests import Origin
from tiermesh_contracts.results import InferenceResult
from tiermesh_router.model import Scores, Step


class ScopeScores(Protocol):
    async def score(self, text: str, task: str, expires_at_ms: int) -> Scores:
        """Scores of `task`, or of every installed one for `auto`; never raises for lateness or overload."""
        ...


class Results(Protocol):
    async def answer(self, origin: Origin, result: InferenceResult) -> None:
        """Publish the terminal result to where the request asked for it."""
        ...


class Decisions(Protocol):
    def count(self, step: Step) -> None: ...
