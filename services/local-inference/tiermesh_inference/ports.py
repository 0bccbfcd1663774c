"""What the handler of local work needs from outside."""

from typing import Protocol

from tiermesh_contracts.requests import Origin
from tiermesh_contracts.results import InferenceResult
from tiermesh_inference.model import Seen


class Classifier(Protocol):
    async def classify(self, text: str, task: str | None, expires_at_ms: int) -> Seen:
        """What the task's model says; never raises for lateness, overload or a missing model."""
        ...


class Results(Protocol):
    async def answer(self, origin: Origin, result: InferenceResult) -> None:
        """Publish the terminal result to where the request asked for it."""
        ...
