"""Committing and giving up partitions, with a consumer that can be slow or refuse."""

import asyncio

from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaConnectionError

from tiermesh_chassis import committing
from tiermesh_chassis.committing import Committer, RebalanceListener
from tiermesh_chassis.offsets import Ticket

KEY = TopicPartition("t", 0)


class Consumer:
    """Keeps what is committed; a commit can be held open, or fail once."""

    def __init__(self) -> None:
        self.commits: list[dict[TopicPartition, int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()
        self.failures: list[Exception] = []
        self.assigned = {TopicPartition("t", 0)}

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        self.begun.set()
        await self.open.wait()
        if self.failures:
            raise self.failures.pop()
        self.commits.append(offsets)


def committer(consumer: Consumer) -> Committer:
    made = Committer()
    made.bind(consumer)  # type: ignore[arg-type]  # a consumer with the one method that is used
    return made


def start(committer: Committer, offset: int) -> Ticket:
    ticket = committer.offsets.start("t", 0, offset)
    assert ticket is not None
    return ticket


async def until_committed(consumer: Consumer, offset: int) -> None:
    async with asyncio.timeout(5):
        while not consumer.commits or consumer.commits[-1][KEY] != offset:
            await asyncio.sleep(0.01)


async def test_a_record_finished_during_a_commit_is_committed_too() -> None:
    """The last record before a quiet hour would stay uncommitted, and be done again after a crash."""
    consumer = Consumer()
    made = committer(consumer)
    first, second = start(made, 0), start(made, 1)
    consumer.open.clear()
    made.finish(first)
    await consumer.begun.wait()
    made.finish(second)
    consumer.open.set()
    await until_committed(consumer, 2)


async def test_commits_are_gathered() -> None:
    """A commit a record would be most of the traffic."""
    consumer = Consumer()
    made = committer(consumer)
    for ticket in [start(made, offset) for offset in range(100)]:
        made.finish(ticket)
    await until_committed(consumer, 100)
    assert len(consumer.commits) == 1


async def test_a_commit_that_fails_is_tried_again() -> None:
    """A broker that changes its leader would leave finished work uncommitted."""
    consumer = Consumer()
    consumer.failures = [KafkaConnectionError()]
    made = committer(consumer)
    made.finish(start(made, 0))
    await until_committed(consumer, 1)


async def test_a_refused_commit_is_offered_again_until_its_partition_is_forgotten() -> None:
    """Given up at once, what is still ours after the rebalance would be handled twice; kept for ever, an offset of
    the old assignment would be forced on the new owner."""
    consumer = Consumer()
    consumer.failures = [CommitFailedError()]
    made = committer(consumer)
    made.offsets.finish(start(made, 0))
    assert not await made.commit()
    assert await made.commit()
    assert consumer.commits == [{TopicPartition("t", 0): 1}]
    consumer.failures = [CommitFailedError()]
    made.offsets.finish(start(made, 1))
    assert not await made.commit()
    made.offsets.forget({("t", 0)})
    assert await made.commit()
    assert len(consumer.commits) == 1


async def test_a_revoke_lets_the_work_finish_and_commits_it() -> None:
    """Each rebalance would repeat the work in flight."""
    consumer = Consumer()
    made = committer(consumer)
    ticket = start(made, 0)
    asyncio.get_running_loop().call_later(0.05, made.finish, ticket)
    await RebalanceListener(made).on_partitions_revoked({KEY})
    assert consumer.commits == [{KEY: 1}]
    assert not made.offsets.in_flight()


async def test_a_revoke_voids_what_does_not_finish_in_time() -> None:
    """A late record would be committed over its new owner, or the whole group would wait for it."""
    consumer = Consumer()
    made = committer(consumer)
    done, late = start(made, 0), start(made, 1)
    made.offsets.finish(done)
    await RebalanceListener(made, drain=False).on_partitions_revoked({KEY})
    assert consumer.commits == [{KEY: 1}]
    made.finish(late)
    await asyncio.sleep(2 * committing.COMMIT_INTERVAL_S)
    assert consumer.commits == [{KEY: 1}]
    assert start(made, 1)


async def test_an_assignment_begins_anew() -> None:
    """What was received under the former assignment would be taken for received under this one, and skipped."""
    made = committer(Consumer())
    start(made, 0)
    await RebalanceListener(made).on_partitions_assigned({KEY})
    assert start(made, 0)


async def test_a_partition_that_moved_away_does_not_hold_back_the_others() -> None:
    """aiokafka refuses a whole commit for one partition that is not assigned: the others would wait for ever."""
    consumer = Consumer()
    made = committer(consumer)
    made.offsets.finish(start(made, 4))
    gone = made.offsets.start("t", 1, 9)
    assert gone is not None
    made.offsets.finish(gone)
    await made.commit()
    assert consumer.commits == [{TopicPartition("t", 0): 5}]
