"""Fences and first outcomes on a real store."""

import asyncio
from collections import Counter

import pytest
from redis.asyncio import Redis

from fakes.escalation import grant
from tiermesh_chassis.errors import StoreUnavailable
from tiermesh_chassis.store import connect_store
from tiermesh_cli.embedded import free_port
from tiermesh_contracts.budget import Reservation
from tiermesh_escalation.adapters import RedisFences, RedisFirsts
from tiermesh_escalation.adapters.fences import TTL_MS, fence_key
from tiermesh_escalation.model import Fence, FenceState

LEASE_MS = 60_000


def reservation() -> Reservation:
    return grant().reservation


async def take(store: Redis, about: Reservation, owner: str = "me", lease_ms: int = LEASE_MS) -> Fence:
    return await RedisFences(store).take(about, owner, lease_ms)


async def test_of_many_who_fence_at_once_one_gets_the_call(valkey: Redis, valkey_url: str) -> None:
    """Two processes would make the same call, and one reservation pay for both."""
    about = reservation()
    stores = [connect_store(valkey_url) for _ in range(8)]
    try:
        fences = await asyncio.gather(
            *(take(store, about, f"{n}-{turn}") for turn in range(25) for n, store in enumerate(stores))
        )
    finally:
        for store in stores:
            await store.aclose()
    assert Counter(fence.state for fence in fences) == {FenceState.FENCED: 1, FenceState.HELD: 199}


async def test_the_lease_is_counted_by_the_stores_clock_to_the_millisecond(valkey: Redis) -> None:
    """A lease counted by the clock of a process, or rounded, would end early for one and late for another."""
    about = reservation()
    fence = await take(valkey, about)
    stored = await valkey.hgetall(fence_key("default", about.att))
    assert fence.lease_until_ms == fence.now_ms + LEASE_MS
    assert fence.lease_left_ms == LEASE_MS
    assert stored == {
        "state": "open",
        "owner": "me",
        "epoch": "1",
        "started_ms": str(fence.now_ms),
        "lease_until_ms": str(fence.lease_until_ms),
    }
    seconds, micros = await valkey.time()
    assert 0 <= seconds * 1000 + micros // 1000 - fence.now_ms < 60_000


async def test_an_owner_who_asks_again_still_has_its_fence(valkey: Redis) -> None:
    """An answer lost on the wire would suspend the money of a call that was never made."""
    about = reservation()
    first = await take(valkey, about)
    again = await take(valkey, about, lease_ms=2 * LEASE_MS)
    assert again.state is FenceState.FENCED
    assert again.lease_until_ms >= first.lease_until_ms + LEASE_MS
    assert (await take(valkey, about, "another")).state is FenceState.HELD
    assert (await RedisFences(valkey).void(about, "another")).state is FenceState.HELD
    assert (await RedisFences(valkey).void(about, "me")).state is FenceState.VOID
    assert (await take(valkey, about)).state is FenceState.VOID


@pytest.mark.parametrize(
    "epoch",
    [
        {"epoch": "2", "run_id": "same"},
        {"epoch": "0", "run_id": "same"},
        {"epoch": "1", "run_id": "0" * 40},
        {"epoch": "1"},
        {},
    ],
)
async def test_a_store_that_cannot_speak_for_the_grant_gives_no_fence(valkey: Redis, epoch: dict[str, str]) -> None:
    """After a store was lost, calls already made would be made again under the same reservation."""
    run_id = str(await valkey.hget("{default}:epoch", "run_id"))
    await valkey.delete("{default}:epoch")
    if epoch:
        await valkey.hset("{default}:epoch", mapping={k: run_id if v == "same" else v for k, v in epoch.items()})
    about = reservation()
    assert (await take(valkey, about)).state is FenceState.FOREIGN_EPOCH
    assert (await RedisFences(valkey).void(about, "me")).state is FenceState.FOREIGN_EPOCH
    assert await valkey.keys("*:f:*") == []


async def test_what_was_fenced_in_another_epoch_frees_nothing_in_this_one(valkey: Redis) -> None:
    """Money of the books of now would be released on the word of books that are gone."""
    voided, opened = reservation(), reservation()
    fences = RedisFences(valkey)
    await fences.void(voided, "me")
    await fences.take(opened, "me", LEASE_MS)
    await valkey.hset("{default}:epoch", "epoch", "2")
    assert (await fences.void(voided, "me")).state is FenceState.FOREIGN_EPOCH
    assert (await fences.take(opened, "me", LEASE_MS)).state is FenceState.FOREIGN_EPOCH
    assert (await fences.take(opened, "another", LEASE_MS)).state is FenceState.HELD
    renewed = voided.model_copy(update={"epoch": 2})
    assert (await fences.take(renewed, "me", LEASE_MS)).state is FenceState.FOREIGN_EPOCH


async def test_a_lease_that_is_over_stays_over_also_for_its_owner(valkey: Redis) -> None:
    """A process that slept would call after another had told that the outcome is unknown."""
    about = reservation()
    await take(valkey, about, lease_ms=0)
    for owner in ("me", "another"):
        assert (await take(valkey, about, owner)).state is FenceState.LEASE_OVER
        assert (await RedisFences(valkey).void(about, owner)).state is FenceState.LEASE_OVER


async def test_a_finished_attempt_is_never_called_again(valkey: Redis) -> None:
    """A grant that comes again would be paid again, whatever became of epochs and leases."""
    called, never = reservation(), reservation()
    fences = RedisFences(valkey)
    await fences.take(called, "me", LEASE_MS)
    await fences.finish(called)
    await fences.finish(never)
    await valkey.delete("{default}:epoch")
    for about in (called, never):
        assert (await fences.take(about, "me", LEASE_MS)).state is FenceState.FINISHED
        assert (await fences.void(about, "me")).state is FenceState.FINISHED


async def test_a_void_attempt_stays_void(valkey: Redis) -> None:
    """Its money is free again: a call now would be covered by nothing."""
    about = reservation()
    assert (await RedisFences(valkey).void(about, "me")).state is FenceState.VOID
    for owner in ("me", "another"):
        assert (await take(valkey, about, owner)).state is FenceState.VOID


async def test_fences_outlive_the_reservation_and_then_go(valkey: Redis) -> None:
    """A fence that ends too early allows a second call; one that never ends fills the store."""
    fences = RedisFences(valkey)
    opened, voided, finished = reservation(), reservation(), reservation()
    await fences.take(opened, "me", LEASE_MS)
    await fences.void(voided, "me")
    await fences.finish(finished)
    for about in (opened, voided, finished):
        left_ms = await valkey.pttl(fence_key("default", about.att))
        assert TTL_MS - 60_000 < left_ms <= TTL_MS


async def test_a_store_that_forgot_the_script_learns_it_again(valkey: Redis) -> None:
    """After a failover no call could be made until the service restarts."""
    fences = RedisFences(valkey)
    await fences.take(reservation(), "me", LEASE_MS)
    await valkey.script_flush()
    assert (await fences.take(reservation(), "me", LEASE_MS)).state is FenceState.FENCED


async def test_without_a_store_there_is_no_fence_and_every_outcome_is_delivered() -> None:
    """A call would be made unfenced, or an answer withheld because of a store."""
    store = connect_store(f"redis://127.0.0.1:{free_port()}/0", timeout_s=0.5)
    fences, about = RedisFences(store), reservation()
    with pytest.raises(StoreUnavailable):
        await fences.take(about, "me", LEASE_MS)
    with pytest.raises(StoreUnavailable):
        await fences.void(about, "me")
    with pytest.raises(StoreUnavailable):
        await fences.finish(about)
    assert await RedisFirsts(store).is_first("default", about.att, 0, 1)
    await store.aclose()


async def test_the_outcome_of_the_lower_offset_is_the_first_whoever_asks_first(valkey: Redis) -> None:
    """A later outcome would be delivered instead of the one that decides, or the same one not again."""
    firsts = RedisFirsts(valkey)
    assert await firsts.is_first("default", "a", 3, 5)
    assert await firsts.is_first("default", "a", 3, 5)
    assert not await firsts.is_first("default", "a", 3, 6)
    assert await firsts.is_first("default", "a", 3, 4)
    assert not await firsts.is_first("default", "a", 2, 4)
    assert await firsts.is_first("default", "b", 3, 6)
    assert TTL_MS - 60_000 < await valkey.pttl("{default}:d:a") <= TTL_MS


async def test_all_keys_of_an_org_share_a_slot(valkey: Redis) -> None:
    """On a cluster the script would be refused: its keys would live on different shards."""
    about = reservation()
    await take(valkey, about)
    await RedisFirsts(valkey).is_first("default", about.att, 0, 0)
    keys = await valkey.keys("*")
    assert len(keys) == 3
    assert all(str(key).startswith("{default}:") for key in keys)
