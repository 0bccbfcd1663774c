"""The installed models as classifiers, and the meter."""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from opentelemetry import metrics

from tiermesh_chassis.clock import Clock
from tiermesh_chassis.errors import DependencyMissing
from tiermesh_inference.model import Classified, Seen, Unclassified
from tiermesh_modelkit.batching import Batcher, DeadlinePassed, Overloaded, estimate_tokens
from tiermesh_modelkit.errors import ModelMissing
from tiermesh_modelkit.installed import InstalledModels


def open_models(root: Path) -> InstalledModels:
    """Raises `DependencyMissing` with one line that says how to get a model."""
    models = InstalledModels(root)
    try:
        models.require()
    except ModelMissing as error:
        raise DependencyMissing(f"{error} (TIERMESH_MODELS)") from error
    return models


class InferenceMeter:
    def __init__(self) -> None:
        meter = metrics.get_meter("tiermesh.inference")
        self._batch_tokens = meter.create_histogram(
            "tiermesh.inference.batch_tokens",
            description="tokens read in one batch, without padding",
            explicit_bucket_boundaries_advisory=[16, 64, 256, 1024, 4096, 16_384, 65_536],
        )
        self._queue_time_ms = meter.create_histogram(
            "tiermesh.inference.queue_time_ms",
            description="from a request's arrival at its model's queue to the start of its batch",
            explicit_bucket_boundaries_advisory=[1, 2, 5, 10, 25, 50, 100, 250, 1000, 5000, 30_000],
        )
        self._confidence = meter.create_histogram(
            "tiermesh.inference.confidence",
            description="probability of the likeliest label, by task",
            explicit_bucket_boundaries_advisory=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99],
        )

    def record_batch(self, task: str, tokens: int) -> None:
        self._batch_tokens.record(tokens, {"task": task})

    def record_seen(self, seen: Classified, queue_time_ms: int) -> None:
        self._queue_time_ms.record(queue_time_ms, {"task": seen.task})
        self._confidence.record(seen.confidence, {"task": seen.task})


class BatchedClassifier:
    """A queue and a batch in progress for each task, so that a slow model holds up no other one."""

    def __init__(
        self,
        models: InstalledModels,
        meter: InferenceMeter,
        *,
        clock: Clock,
        batch_tokens_max: int,
        waiting_max: int,
    ) -> None:
        self._models = models
        self._meter = meter
        self._clock = clock
        self._batch_tokens_max = batch_tokens_max
        self._waiting_max = waiting_max
        self._executor = ThreadPoolExecutor(os.cpu_count() or 1, "classify")
        self._batchers: dict[str, Batcher[str, Seen]] = {}
        self._looking = asyncio.Lock()

    async def classify(self, text: str, task: str | None, expires_at_ms: int) -> Seen:
        if task is None or not await self._is_installed(task):
            return Unclassified.NO_MODEL
        try:
            batched = await self._batcher(task).submit(
                text, tokens=estimate_tokens(text), expires_at_ms=expires_at_ms
            )
        except DeadlinePassed:
            return Unclassified.EXPIRED
        except Overloaded:
            return Unclassified.OVERLOADED
        if isinstance(batched.result, Classified):
            self._meter.record_seen(batched.result, batched.queue_time_ms)
        return batched.result

    async def check(self) -> str | None:
        return None if self._models.by_task else "no model is installed"

    async def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _is_installed(self, task: str) -> bool:
        """Looks at the folder at once where the router already knows a task that is not loaded here yet."""
        if self._models.task(task) is None:
            async with self._looking:
                if self._models.task(task) is None:
                    await asyncio.to_thread(self._look)
        return self._models.task(task) is not None

    def _look(self) -> None:
        try:
            self._models.refresh()
        except (ModelMissing, OSError):
            return  # logged by the regular look; the models loaded before stay

    def _batcher(self, task: str) -> Batcher[str, Seen]:
        if task not in self._batchers:
            self._batchers[task] = Batcher(
                partial(self._run, task),
                executor=self._executor,
                clock=self._clock,
                batch_tokens_max=self._batch_tokens_max,
                waiting_max=self._waiting_max,
            )
        return self._batchers[task]

    def _run(self, task: str, texts: Sequence[str]) -> list[Seen]:
        model = self._models.task(task)
        if model is None:
            return [Unclassified.NO_MODEL] * len(texts)
        manifest = model.manifest
        tokens = model.tokenise(texts)
        probabilities = model.classify(tokens)
        self._meter.record_batch(task, sum(each.tokens_read for each in tokens))
        best = probabilities.argmax(axis=1)
        return [
            Classified(
                task=task,
                model=manifest.name,
                version=manifest.version,
                label=manifest.labels[number],
                confidence=min(1.0, float(row[number])),
                threshold=manifest.thresholds.confidence,
                labels=manifest.labels,
                tokens_read=read.tokens_read,
                tokens_count=read.tokens_count,
            )
            for number, row, read in zip(best, probabilities, tokens, strict=True)
        ]
