"""Claims on a real store."""

import asyncio

import pytest

from tiermesh_chassis.claims import RedisClaims
from tiermesh_chassis.errors import DependencyMissing
from tiermesh_chassis.store import connect_store, require_store
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
