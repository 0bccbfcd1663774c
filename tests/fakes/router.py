"""What stands in for the mesh around the router's handler."""

from dataclasses import dataclass, field
from uuid import UUID

from tiermesh_contracts.requests import Origin
from tiermesh_contracts.results import InferenceResult
from tiermesh_router.model import Scores, Step


@dataclass
class MemoryClaims:
    """Claims of one process, first come first served."""

    bodies: dict[tuple[str, UUID, int], str] = field(default_factory=dict)
    results: dict[tuple[str, UUID, int], bytes] = field(default_factory=dict)
    kept_until_ms: list[int | None] = field(default_factory=list)
    """What was asked for with each body."""

    async def first_result(self, tenant: str, request_id: UUID, redrive: int, raw: bytes) -> bytes:
        return self.results.setdefault((tenant, request_id, redrive), raw)

    async def first_body(
        self, tenant: str, request_id: UUID, redrive: int, body_sha256: str, keep_until_ms: int | None = None
    ) -> str:
        self.kept_until_ms.append(keep_until_ms)
        return self.bodies.setdefault((tenant, request_id, redrive), body_sha256)


@dataclass
class RecordingResults:
    answered: list[tuple[Origin, InferenceResult]] = field(default_factory=list)

    async def answer(self, origin: Origin, result: InferenceResult) -> None:
        self.answered.append((origin, result))


@dataclass
class GivenScores:
    scores: Scores
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    async def score(self, text: str, task: str, expires_at_ms: int) -> Scores:
        self.asked.append((text, task, expires_at_ms))
        return self.scores


@dataclass
class CountedSteps:
    steps: list[Step] = field(default_factory=list)

    def count(self, step: Step) -> None:
        self.steps.append(step)
