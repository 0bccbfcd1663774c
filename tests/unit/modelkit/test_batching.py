import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiermesh_modelkit.batching import (
    Batcher,
    DeadlinePassed,
    Overloaded,
    Waiting,
    estimate_tokens,
    plan_batch,
)

NEVER_MS = 10**15


def waiting(*tokens: int, expires_at_ms: int = NEVER_MS) -> list[Waiting]:
    return [Waiting(each, expires_at_ms) for each in tokens]


def test_a_batch_takes_the_oldest_up_to_its_tokens_and_runs_them_shortest_first() -> None:
    """Runs would exceed their memory, or pad short texts to the length of long ones."""
    plan = plan_batch(waiting(30, 10, 20, 50), now_ms=0, batch_tokens_max=60)
    assert plan.taken == (1, 2, 0)


def test_a_large_entry_is_not_overtaken_by_small_ones_behind_it() -> None:
    """Under a steady flow of short texts a long one would never run."""
    assert plan_batch(waiting(30, 50, 1), now_ms=0, batch_tokens_max=60).taken == (0,)


def test_an_entry_larger_than_the_budget_runs_alone() -> None:
    """It would wait until its deadline, and everything behind it too."""
    assert plan_batch(waiting(500, 1), now_ms=0, batch_tokens_max=60).taken == (0,)


def test_what_is_late_is_dropped_wherever_it_waits() -> None:
    """Work nobody waits for any more would take the place of work that is still wanted."""
    entries = [*waiting(10, expires_at_ms=100), *waiting(60), *waiting(10, expires_at_ms=99)]
    plan = plan_batch(entries, now_ms=100, batch_tokens_max=60)
    assert (plan.taken, plan.expired) == ((1,), (0, 2))


entries_of_any_kind = st.lists(st.builds(Waiting, st.integers(1, 200), st.integers(0, 20)), max_size=40)


@given(entries_of_any_kind, st.integers(0, 20), st.integers(1, 300))
def test_every_plan_keeps_its_bounds_and_makes_progress(
    entries: list[Waiting], now_ms: int, batch_tokens_max: int
) -> None:
    """A plan that takes nothing from a queue of live entries would spin for ever."""
    plan = plan_batch(entries, now_ms=now_ms, batch_tokens_max=batch_tokens_max)
    alive = [position for position, entry in enumerate(entries) if entry.expires_at_ms > now_ms]
    assert set(plan.expired) == set(range(len(entries))) - set(alive)
    assert sorted(plan.taken) == alive[: len(plan.taken)]
    assert bool(plan.taken) == bool(alive)
    assert len(plan.taken) <= 1 or sum(entries[position].tokens for position in plan.taken) <= batch_tokens_max
    lengths = [entries[position].tokens for position in plan.taken]
    assert lengths == sorted(lengths)


def test_every_text_counts_for_at_least_one_token() -> None:
    """A flood of empty texts would make a batch without end; half a surrogate pair would end the handler."""
    assert estimate_tokens("") == 1
    assert estimate_tokens("\ud800") == 1
    assert estimate_tokens("x" * 400) == 101


class Gate:
    """A run that records its batches, and does not return while the gate is shut."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.entered = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def run(self, items: Sequence[str]) -> list[str]:
        self.batches.append(list(items))
        self.entered.set()
        assert self.open.wait(10)
        if "bad" in items:
            raise ValueError("no such text")
        return [item.upper() for item in items]


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


Make = Callable[..., Batcher[str, str]]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def make(gate: Gate, executor: ThreadPoolExecutor) -> Make:
    def made(
        *, waiting_max: int = 100, batch_tokens_max: int = 100, clock: Callable[[], int] = lambda: 0
    ) -> Batcher[str, str]:
        return Batcher(
            gate.run, executor=executor, clock=clock, batch_tokens_max=batch_tokens_max, waiting_max=waiting_max
        )

    return made


async def shut_and_busy(gate: Gate, batcher: Batcher[str, str]) -> asyncio.Task[str]:
    """A first entry whose run is in progress and will not end before the gate opens."""
    gate.open.clear()
    first = asyncio.create_task(ask(batcher, "first"))
    await asyncio.to_thread(gate.entered.wait, 10)
    return first


async def ask(batcher: Batcher[str, str], item: str, *, tokens: int = 1, expires_at_ms: int = NEVER_MS) -> str:
    return (await batcher.submit(item, tokens=tokens, expires_at_ms=expires_at_ms)).result


async def test_what_waits_while_a_batch_runs_becomes_the_next_one(gate: Gate, make: Make) -> None:
    """Every text would be run alone, at a fraction of the throughput."""
    batcher = make()
    first = await shut_and_busy(gate, batcher)
    others = [asyncio.create_task(ask(batcher, item)) for item in ("a", "b", "c")]
    await asyncio.sleep(0)
    gate.open.set()
    assert await asyncio.gather(first, *others) == ["FIRST", "A", "B", "C"]
    assert gate.batches == [["first"], ["a", "b", "c"]]


async def test_results_find_their_entries_whatever_the_order_of_the_run(gate: Gate, make: Make) -> None:
    """Sorted by length for the run, one request would get another's answer."""
    batcher = make()
    first = await shut_and_busy(gate, batcher)
    long = asyncio.create_task(ask(batcher, "long", tokens=9))
    short = asyncio.create_task(ask(batcher, "short", tokens=1))
    await asyncio.sleep(0)
    gate.open.set()
    assert tuple(await asyncio.gather(first, long, short)) == ("FIRST", "LONG", "SHORT")
    assert gate.batches[1] == ["short", "long"]


async def test_one_bad_text_fails_alone(gate: Gate, make: Make) -> None:
    """A single poisonous request would send its whole batch to the dead letters."""
    batcher = make()
    first = await shut_and_busy(gate, batcher)
    others = [asyncio.create_task(ask(batcher, item)) for item in ("a", "bad", "c")]
    await asyncio.sleep(0)
    gate.open.set()
    assert await first == "FIRST"
    a, bad, c = await asyncio.gather(*others, return_exceptions=True)
    assert (a, c) == ("A", "C")
    assert isinstance(bad, ValueError)


async def test_a_full_queue_refuses_at_once(gate: Gate, make: Make) -> None:
    """Memory would grow with every request of an overload."""
    batcher = make(waiting_max=2)
    first = await shut_and_busy(gate, batcher)
    waiting_ones = [asyncio.create_task(ask(batcher, item)) for item in ("a", "b")]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await ask(batcher, "c")
    gate.open.set()
    assert await asyncio.gather(first, *waiting_ones) == ["FIRST", "A", "B"]


async def test_an_entry_that_became_late_in_the_queue_is_not_run(gate: Gate, make: Make) -> None:
    """Late work would be run, and its result would come after the deadline."""
    now_ms = [0]
    batcher = make(clock=lambda: now_ms[0])
    first = await shut_and_busy(gate, batcher)
    late = asyncio.create_task(ask(batcher, "late", expires_at_ms=50))
    alive = asyncio.create_task(ask(batcher, "alive"))
    await asyncio.sleep(0)
    now_ms[0] = 50
    gate.open.set()
    assert tuple(await asyncio.gather(first, alive)) == ("FIRST", "ALIVE")
    with pytest.raises(DeadlinePassed):
        await late
    assert gate.batches == [["first"], ["alive"]]


async def test_an_entry_nobody_waits_for_any_more_is_not_run(gate: Gate, make: Make) -> None:
    """A cancelled handler would leave work behind, and its answer would break the loop."""
    batcher = make()
    first = await shut_and_busy(gate, batcher)
    gone = asyncio.create_task(ask(batcher, "gone"))
    kept = asyncio.create_task(ask(batcher, "kept"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    gate.open.set()
    assert tuple(await asyncio.gather(first, kept)) == ("FIRST", "KEPT")
    assert gate.batches == [["first"], ["kept"]]


async def test_a_batcher_works_again_after_it_was_idle(gate: Gate, make: Make) -> None:
    """The loop ends with an empty queue: without a new one the next request would wait for ever."""
    batcher = make()
    assert [await ask(batcher, item) for item in ("a", "bad2", "c")] == ["A", "BAD2", "C"]
    assert gate.batches == [["a"], ["bad2"], ["c"]]


async def test_a_run_with_too_few_results_is_an_error_not_a_silence(executor: ThreadPoolExecutor) -> None:
    """Entries without a result would wait for ever, and hold their permits."""
    batcher: Batcher[str, str] = Batcher(
        lambda _: [], executor=executor, clock=lambda: 0, batch_tokens_max=9, waiting_max=9
    )
    with pytest.raises(RuntimeError, match="1 items gave 0 results"):
        await ask(batcher, "a")


async def test_the_wait_in_the_queue_is_measured(gate: Gate, make: Make) -> None:
    """The queue_time metric would show the run, or nothing."""
    now_ms = [0]
    batcher = make(clock=lambda: now_ms[0])
    first = await shut_and_busy(gate, batcher)
    second = asyncio.create_task(batcher.submit("a", tokens=1, expires_at_ms=NEVER_MS))
    await asyncio.sleep(0)
    now_ms[0] = 30
    gate.open.set()
    await first
    assert (await second).queue_time_ms == 30
