"""The installed models as scorers, and the meter."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from opentelemetry import metrics

from tiermesh_chassis.clock import Clock
from tiermesh_chassis.errors import DependencyMissing
from tiermesh_contracts.requests import AUTO
from tiermesh_contracts.routing import Route
from tiermesh_modelkit.batching import Batcher, DeadlinePassed, Overloaded, estimate_tokens
from tiermesh_modelkit.errors import ModelMissing
from tiermesh_modelkit.installed import InstalledModels
from tiermesh_modelkit.runtime import ClassifierModel, Tokens
from tiermesh_router.model import End, Escalate, Scores, SendLocal, Step, TaskScore, Unscored

UNREAD_SCORE = -1e9
"""Of a text without a single token: the pooled vector of nothing is near the mean of everything, and would
otherwise count as known."""


def open_models(root: Path) -> InstalledModels:
    """Raises `DependencyMissing` with one line that says how to get a model."""
    models = InstalledModels(root)
    try:
        models.require()
    except ModelMissing as error:
        raise DependencyMissing(f"{error} (TIERMESH_MODELS)") from error
    return models


class Asked(NamedTuple):
    text: str
    task: str


class BatchedScopeScores:
    """Scores texts in a thread, in batches that form while the last one runs."""

    def __init__(self, models: InstalledModels, *, clock: Clock, batch_tokens_max: int, waiting_max: int) -> None:
        self._models = models
        self._executor = ThreadPoolExecutor(1, "scope-scores")
        self._batcher = Batcher(
            self._run,
            executor=self._executor,
            clock=clock,
            batch_tokens_max=batch_tokens_max,
            waiting_max=waiting_max,
        )

    async def score(self, text: str, task: str, expires_at_ms: int) -> Scores:
        asked = Asked(text, task)
        try:
            batched = await self._batcher.submit(asked, tokens=estimate_tokens(text), expires_at_ms=expires_at_ms)
        except DeadlinePassed:
            return Unscored.EXPIRED
        except Overloaded:
            return Unscored.OVERLOADED
        return batched.result

    async def check(self) -> str | None:
        return None if self._models.by_task else "no model is installed"

    async def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self, batch: Sequence[Asked]) -> list[tuple[TaskScore, ...]]:
        scores: list[list[TaskScore]] = [[] for _ in batch]
        tokens_by_tokenizer: dict[tuple[str, bool, int], list[Tokens]] = {}
        for model in self._models.by_task.values():
            rows = [row for row, asked in enumerate(batch) if asked.task in {AUTO, model.manifest.task}]
            if not rows:
                continue
            tokenizer = _tokenizer_of(model)
            if tokenizer not in tokens_by_tokenizer:
                tokens_by_tokenizer[tokenizer] = model.tokenise([asked.text for asked in batch])
            tokens = [tokens_by_tokenizer[tokenizer][row] for row in rows]
            for row, read, value in zip(rows, tokens, model.scope_scores(tokens), strict=True):
                scores[row].append(_task_score(model, float(value) if read.tokens_read else UNREAD_SCORE))
        return [tuple(each) for each in scores]


def _tokenizer_of(model: ClassifierModel) -> tuple[str, bool, int]:
    """Equal for models that read a text alike: it is then tokenised once for all of them."""
    manifest = model.manifest
    return manifest.files["tokenizer.json"].sha256, manifest.encoder.special_tokens, manifest.input_tokens_max


def _task_score(model: ClassifierModel, score: float) -> TaskScore:
    manifest = model.manifest
    return TaskScore(
        task=manifest.task,
        model=manifest.name,
        version=manifest.version,
        score=score,
        threshold=manifest.thresholds.scope_score,
        labels=manifest.labels,
    )


class DecisionsMeter:
    def __init__(self) -> None:
        meter = metrics.get_meter("tiermesh.router")
        self._decisions = meter.create_counter(
            "tiermesh.router.decisions", description="requests routed, by route and reason"
        )

    def count(self, step: Step) -> None:
        match step:
            case SendLocal(routing) | Escalate(routing):
                route, reason = routing.route.value, routing.reason.value
            case End():
                route, reason = Route.REFUSE.value, step.reason.value
        self._decisions.add(1, {"route": route, "reason": reason})
