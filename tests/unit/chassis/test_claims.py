"""Claims on a real store."""

import asyncio

import pytest

from tiermesh_chassis.claims import RedisClaims
from tiermesh_chassis.errors import DependencyMissing
from tiermesh_chassis.store import CONNECTIONS_MAX, connect_store, require_store, shown_url
from tiermesh_contracts.ids import new_request_id


async def test_of_fifty_at_once_the_first_wins(redis_url: str) -> None:
    """Two services that answer the same request would publish two different results."""
    store = connect_store(redis_url)
    claims, request_id = RedisClaims(store), new_request_id()
    said = [f'{{"label":"{n}","text":"ü"}}'.encode() for n in range(50)]
    heard = await asyncio.gather(*(claims.first_result("acme", request_id, 0, raw) for raw in said))
    assert len(set(heard)) == 1
    assert heard[0] in said
    assert await claims.first_result("acme", request_id, 0, b"late") == heard[0]
    assert 0 < await store.ttl(f"mesh:claim:acme:{request_id}:0") <= 86_400
    await store.aclose()


async def test_tenants_redrives_and_kinds_do_not_share_claims(redis_url: str) -> None:
    """A stranger who chose the same id would receive, or block, another's answer."""
    store = connect_store(redis_url)
    claims, request_id = RedisClaims(store), new_request_id()
    assert await claims.first_result("acme", request_id, 0, b"a") == b"a"
    assert await claims.first_result("other", request_id, 0, b"b") == b"b"
    assert await claims.first_result("acme", request_id, 1, b"c") == b"c"
    assert await claims.first_body("acme", request_id, 0, "d") == "d"
    assert await claims.first_body("acme", request_id, 0, "e") == "d"
    assert await claims.first_body("acme", new_request_id(), 0, "e") == "e"
    await store.aclose()


async def test_without_a_store_work_goes_on_and_does_not_wait_each_time() -> None:
    """Local work, which needs no money, would stop with the store, or crawl at its time-outs."""
    connections = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    store = connect_store(url, timeout_s=0.25)
    claims, request_id = RedisClaims(store), new_request_id()
    assert await claims.first_result("acme", request_id, 0, b"a") == b"a"
    for _ in range(100):
        assert await claims.first_body("acme", request_id, 0, "b") == "b"
    assert connections == 1
    with pytest.raises(DependencyMissing, match="TIERMESH_REDIS_URL"):
        await require_store(store, url)
    server.close()
    await store.aclose()


async def test_after_a_rest_the_store_is_asked_again(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One lost connection would switch claims off until the next restart."""
    monkeypatch.setattr("tiermesh_chassis.claims.STORE_REST_S", 0.0)
    store = connect_store(redis_url)
    claims, request_id = RedisClaims(store), new_request_id()
    await store.rpush(f"mesh:claim:acme:{request_id}:0", "not", "a", "claim")
    assert await claims.first_result("acme", request_id, 0, b"a") == b"a"
    assert await claims.first_result("acme", request_id, 1, b"a") == b"a"
    assert await claims.first_result("acme", request_id, 1, b"b") == b"a"
    await store.aclose()


@pytest.mark.parametrize(
    ("ahead_s", "ttl_s"),
    [(None, 86_400), (-5, 86_400), (60, 86_460), (604_800, 691_200), (10**12, 691_200)],
)
async def test_a_body_is_kept_a_day_beyond_its_deadline(redis_url: str, ahead_s: int | None, ttl_s: int) -> None:
    """Another body under the id of a request that is still in flight would be answered in its place."""
    store, request_id, now_ms = connect_store(redis_url), new_request_id(), 1_000_000
    claims = RedisClaims(store, clock=lambda: now_ms)
    until_ms = None if ahead_s is None else now_ms + ahead_s * 1000
    assert await claims.first_body("acme", request_id, 0, "d", until_ms) == "d"
    assert ttl_s - 60 < await store.ttl(f"mesh:body:acme:{request_id}:0") <= ttl_s
    await store.aclose()


async def test_of_many_at_once_none_waits_for_a_silent_store_after_another_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those beyond the store's connections would wait in rounds, one after the other, and local work with them."""
    monkeypatch.setattr("tiermesh_chassis.claims.STORE_REST_S", 600.0)
    silent: list[asyncio.StreamWriter] = []

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.append(writer)

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    # Longer time-outs within the one that counts: who waits for a connection has only that one to end it.
    store = connect_store(url, timeout_s=60, pool_timeout_s=60)
    claims = RedisClaims(store, timeout_s=1.0)
    ids = [new_request_id() for _ in range(4 * CONNECTIONS_MAX)]
    async with asyncio.timeout(50):
        heard = await asyncio.gather(*(claims.first_body("acme", each, 0, "d") for each in ids))
    assert heard == ["d"] * len(ids)
    reached = len(silent)
    assert 0 < reached <= CONNECTIONS_MAX
    assert await claims.first_body("acme", new_request_id(), 0, "d") == "d"
    assert await claims.check() == "the store does not answer: going on without claims"
    assert len(silent) == reached
    for writer in silent:
        writer.close()
    server.close()
    await store.aclose()


async def test_who_waited_for_a_connection_looks_again_whether_the_store_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failure that one work item sees would be waited for by each that stood behind it."""
    connections = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    monkeypatch.setattr("tiermesh_chassis.claims.STORE_REST_S", 600.0)
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    store = connect_store(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
    claims = RedisClaims(store, timeout_s=60)
    await asyncio.gather(*(claims.first_body("acme", new_request_id(), 0, "d") for _ in range(4 * CONNECTIONS_MAX)))
    assert connections <= CONNECTIONS_MAX
    server.close()
    await store.aclose()


async def test_a_store_that_is_there_passes_the_check(redis_url: str) -> None:
    """An operator would look for an outage that there is not."""
    store = connect_store(redis_url)
    assert await RedisClaims(store).check() is None
    await store.aclose()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://:s3cret@store:6379/0", "rediss://store:6379/0"),
        ("redis://me:s3/c?r@e://t@store:6379/0", "redis://store:6379/0"),
        ("redis://store/0?username=me&password=s3cret", "redis://store/0"),
        ("unix://me:s3cret@/run/redis.sock", "unix:///run/redis.sock"),
        ("me:s3cret@store:6379", "store:6379"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    """It would stand in terminals, logs and container events."""
    assert shown_url(url) == shown


async def test_a_store_that_is_away_is_named_without_its_password() -> None:
    """The first line of a failed start would tell the password to every reader of the log."""
    url = "redis://me:s3cret@127.0.0.1:1/0"
    store = connect_store(url)
    with pytest.raises(DependencyMissing, match=r"no Redis answers at redis://127\.0\.0\.1:1/0") as error:
        await require_store(store, url)
    assert "s3cret" not in str(error.value)
    await store.aclose()
