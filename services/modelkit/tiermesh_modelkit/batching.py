"""Batches form by back-pressure: while one runs in a thread, the next one collects. Idle, nothing waits.

The policy is `plan_batch`, pure; `Batcher` is the loop around it. Policy after text-embeddings-inference's queue.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

BYTES_PER_TOKEN = 4
"""English prose has four to five bytes a token. An estimate is enough to fill a batch: the padded tokens of
one run, and with them its memory, are bounded by the model itself."""


class Overloaded(Exception):
    """As many entries wait as may; nothing was queued."""


class DeadlinePassed(Exception):
    """The entry's deadline came while it waited; it was not run."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the policy knows of an entry."""

    tokens: int
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Positions among the waiting, in their order of arrival; what is in neither goes on waiting."""

    taken: tuple[int, ...] = ()
    """To run now, shortest first, so that neighbours need little padding."""
    expired: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Batched(Generic[R]):
    """What came of one entry."""

    result: R
    queue_time_ms: int
    """From its submission to the start of its batch."""


@dataclass(slots=True)
class _Entry(Generic[T, R]):
    item: T
    waiting: Waiting
    submitted_ms: int
    future: asyncio.Future[Batched[R]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


def estimate_tokens(text: str) -> int:
    return 1 + len(text.encode(errors="replace")) // BYTES_PER_TOKEN


def plan_batch(waiting: Sequence[Waiting], *, now_ms: int, batch_tokens_max: int) -> BatchPlan:
    """Take in order of arrival until the next one would pass the token budget; nobody is overtaken, so nobody
    starves. The first one is taken whatever its size. Entries past their deadline are never taken."""
    taken: list[int] = []
    expired: list[int] = []
    tokens, is_full = 0, False
    for position, entry in enumerate(waiting):
        if entry.expires_at_ms <= now_ms:
            expired.append(position)
            continue
        tokens += entry.tokens
        is_full = is_full or (bool(taken) and tokens > batch_tokens_max)
        if not is_full:
            taken.append(position)
    taken.sort(key=lambda position: waiting[position].tokens)
    return BatchPlan(tuple(taken), tuple(expired))


class Batcher(Generic[T, R]):
    """One queue, one batch in progress.

    `run` is blocking, is called on `executor` with at least one item, and returns one result an item, in order.
    Where it raises, each item of that batch is run once more alone: one bad text fails alone.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Sequence[R]],
        *,
        executor: Executor,
        clock: Callable[[], int],
        batch_tokens_max: int,
        waiting_max: int,
    ) -> None:
        self._run = run
        self._executor = executor
        self._clock = clock
        self._batch_tokens_max = batch_tokens_max
        self._waiting_max = waiting_max
        self._waiting: list[_Entry[T, R]] = []
        self._pump: asyncio.Task[None] | None = None

    async def submit(self, item: T, *, tokens: int, expires_at_ms: int) -> Batched[R]:
        """Wait for the item's result.

        Raises `Overloaded`, `DeadlinePassed`, or whatever `run` raised for this item.
        """
        if len(self._waiting) >= self._waiting_max:
            raise Overloaded(f"{self._waiting_max} entries wait already")
        entry: _Entry[T, R] = _Entry(item, Waiting(tokens, expires_at_ms), self._clock())
        self._waiting.append(entry)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run_waiting())
        return await entry.future

    async def _run_waiting(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            if batch:
                await self._run_batch(batch)

    def _next_batch(self) -> list[_Entry[T, R]]:
        entries = [entry for entry in self._waiting if not entry.future.done()]
        plan = plan_batch(
            [entry.waiting for entry in entries], now_ms=self._clock(), batch_tokens_max=self._batch_tokens_max
        )
        for position in plan.expired:
            entries[position].future.set_exception(DeadlinePassed("the deadline passed in the queue"))
        gone = {*plan.taken, *plan.expired}
        self._waiting = [entry for position, entry in enumerate(entries) if position not in gone]
        return [entries[position] for position in plan.taken]

    async def _run_batch(self, batch: list[_Entry[T, R]]) -> None:
        started_ms = self._clock()
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._executor, self._call, [entry.item for entry in batch])
        (outcome,) = await asyncio.gather(running, return_exceptions=True)
        if not isinstance(outcome, BaseException):
            for entry, result in zip(batch, outcome, strict=True):
                if not entry.future.done():
                    entry.future.set_result(Batched(result, started_ms - entry.submitted_ms))
        elif len(batch) > 1:
            for entry in batch:
                await self._run_batch([entry])
        elif not batch[0].future.done():
            batch[0].future.set_exception(outcome)

    def _call(self, items: Sequence[T]) -> Sequence[R]:
        results = self._run(items)
        if len(results) != len(items):
            raise RuntimeError(f"{len(items)} items gave {len(results)} results")
        return results
