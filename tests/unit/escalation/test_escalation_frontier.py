"""The HTTP adapter against servers on loopback: the simulated frontier, and some that misbehave."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession, web

from fakes.escalation import RATES
from tiermesh_cli.embedded import free_port
from tiermesh_cli.frontier_sim import SimSettings
from tiermesh_cli.frontier_sim.server import serving
from tiermesh_contracts.escalations import Evidence
from tiermesh_escalation.adapters import HttpFrontier
from tiermesh_escalation.adapters.frontier import RESPONSE_BYTES_MAX
from tiermesh_escalation.decide import read_seen
from tiermesh_escalation.model import Call, Ending, Seen

ATT = "a" * 64
BODY = json.dumps({"model": "sim-large", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 16})


def call(url: str, timeout_ms: int = 20_000, api_key: str | None = None) -> Call:
    return Call(ATT, "sim", "sim-large", f"{url}/chat/completions", BODY.encode(), timeout_ms, api_key)


@pytest.fixture
async def frontier() -> AsyncIterator[HttpFrontier]:
    adapter = HttpFrontier(connections_max=4)
    yield adapter
    await adapter.aclose()


@contextlib.asynccontextmanager
async def simulated(*faults: str, **settings: Any) -> AsyncIterator[str]:
    async with serving(SimSettings(median_ms=0.0, p95_ms=0.0, **settings)) as url:
        if faults:
            async with (
                ClientSession() as session,
                session.post(f"{url}/faults", json={"next_calls": faults}) as done,
            ):
                assert done.status == 200
        yield url


async def bill(url: str) -> list[dict[str, Any]]:
    async with ClientSession() as session, session.get(f"{url}/bill") as response:
        lines: list[dict[str, Any]] = (await response.json())["lines"]
        return lines


@contextlib.asynccontextmanager
async def answering(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def speaking(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that reads a request, sends these bytes, and closes; with the heads that it read."""
    heads: list[bytes] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


async def test_an_answer_costs_what_the_provider_bills(frontier: HttpFrontier) -> None:
    """Posted money would differ from the bill, or a bill line find no reservation."""
    async with simulated() as url:
        finding = read_seen(await frontier.complete(call(f"{url}/v1")), RATES)
        (line,) = await bill(url)
    assert finding.evidence is Evidence.COMPLETED
    assert finding.output is not None
    assert finding.output.startswith("[simulated]")
    assert finding.cost_usd_nanos == line["cost_usd_nanos"]
    assert (finding.response_id, ATT) == (line["response_id"], line["client_request_id"])


@pytest.mark.parametrize(
    ("fault", "evidence", "answered", "billed"),
    [
        ("no_usage", Evidence.UNKNOWN, True, 1),
        ("zero_usage", Evidence.COMPLETED, True, 1),
        ("rate_limited", Evidence.REJECTED, False, 0),
        ("unavailable", Evidence.UNKNOWN, False, 0),
        ("server_error", Evidence.UNKNOWN, False, 1),
        ("error_200", Evidence.UNKNOWN, False, 0),
        ("cut", Evidence.UNKNOWN, False, 1),
    ],
)
async def test_each_fault_is_seen_for_what_it_is(
    frontier: HttpFrontier, fault: str, evidence: Evidence, answered: bool, billed: int
) -> None:
    """Money would be freed for a billed call, an answer lost, or a call repeated behind our back."""
    async with simulated(fault) as url:
        finding = read_seen(await frontier.complete(call(f"{url}/v1")), RATES)
        assert len(await bill(url)) == billed
    assert finding.evidence is evidence
    assert (finding.output is not None) is answered
    assert finding.cost_usd_nanos == (0 if fault == "zero_usage" else None)


async def test_a_provider_that_hangs_ends_as_timed_out(frontier: HttpFrontier) -> None:
    """A call would outlive its fence, or be taken for one that was not billed."""
    async with simulated("hang", hang_ms=60_000.0) as url:
        seen = await frontier.complete(call(f"{url}/v1", timeout_ms=200))
        assert len(await bill(url)) == 1
    assert seen.ending is Ending.TIMED_OUT
    assert read_seen(seen, RATES).evidence is Evidence.UNKNOWN


async def test_a_body_that_never_ends_is_timed_out_too(frontier: HttpFrontier) -> None:
    """A timeout that counts from the last byte would never come."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.02)

    async with answering(drip) as url:
        seen = await frontier.complete(call(url, timeout_ms=300))
    assert seen.ending is Ending.TIMED_OUT


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}",
        "https://127.0.0.1:{port}",
        "http://nowhere.invalid:{port}",
        "http://[::bad",
    ],
)
async def test_what_never_connected_was_provably_not_sent(frontier: HttpFrontier, url: str) -> None:
    """Money would stay suspended for a call that cannot have been made."""
    seen = await frontier.complete(call(url.format(port=free_port()), timeout_ms=10_000))
    assert (seen.ending, seen.status) == (Ending.NOT_CONNECTED, None)
    assert seen.detail.isidentifier()


async def test_a_call_that_found_no_free_connection_in_time_was_not_sent() -> None:
    """A queue of our own would look like calls of unknown outcome."""
    adapter = HttpFrontier(connections_max=1)
    async with simulated("hang", hang_ms=60_000.0) as url:
        first = asyncio.create_task(adapter.complete(call(f"{url}/v1")))
        while not await bill(url):
            await asyncio.sleep(0.01)
        second = await adapter.complete(call(f"{url}/v1", timeout_ms=100))
        assert second.ending is Ending.NOT_CONNECTED
        assert len(await bill(url)) == 1
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    await adapter.aclose()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", Seen(Ending.CUT, detail="ServerDisconnectedError")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Seen(Ending.CUT, detail="ClientPayloadError")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", Seen(Ending.ANSWERED, 200, None)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe", Seen(Ending.ANSWERED, 200, None)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", Seen(Ending.ANSWERED, 200, {})),
        (b"HTTP/1.1 429 No\r\nContent-Length: 2\r\n\r\nno", Seen(Ending.ANSWERED, 429, None)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Seen(Ending.ANSWERED, 204, None)),
    ],
)
async def test_responses_that_are_none_are_told_apart(
    frontier: HttpFrontier, answer: bytes, expected: Seen
) -> None:
    """A call that may have been billed would pass for one that was not, or raise in the middle of an attempt."""
    async with speaking(answer) as (url, heads):
        assert await frontier.complete(call(url)) == expected
    assert len(heads) == 1


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
async def test_a_server_that_does_not_speak_http_is_of_unknown_outcome(
    frontier: HttpFrontier, answer: bytes
) -> None:
    """An error in the middle of an attempt would leave its money held."""
    async with speaking(answer) as (url, _):
        assert (await frontier.complete(call(url))).ending is Ending.CUT


async def test_a_response_too_large_is_not_read_to_its_end(frontier: HttpFrontier) -> None:
    """One response could fill the memory of the process that holds all calls."""
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(1_024):
                await response.write(b" " * 65_536)
                sent += 65_536
        return response

    async with answering(flood) as url:
        seen = await frontier.complete(call(url))
    assert (seen.ending, seen.status) == (Ending.TOO_LARGE, 200)
    assert sent < 4 * RESPONSE_BYTES_MAX


async def test_json_too_deep_to_read_is_no_answer(frontier: HttpFrontier) -> None:
    """A response of brackets would break the handler after the call was made."""

    async def deep(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"[" * 200_000)

    async with answering(deep) as url:
        assert await frontier.complete(call(url)) == Seen(Ending.ANSWERED, 200, None)


async def test_a_redirect_is_not_followed(frontier: HttpFrontier) -> None:
    """Text and key would go to an address that nobody configured."""
    paths: list[str] = []

    async def redirect(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with answering(redirect) as url:
        seen = await frontier.complete(call(url))
    assert (seen.ending, seen.status) == (Ending.ANSWERED, 307)
    assert paths == ["/chat/completions"]


async def test_a_connection_used_before_and_closed_is_not_tried_again(frontier: HttpFrontier) -> None:
    """A client that repeats a POST by itself makes a second call under one reservation."""
    calls = 0

    async def second_time_gone(request: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        if calls == 2 and request.transport is not None:
            request.transport.abort()
        return web.json_response({})

    async with answering(second_time_gone) as url:
        assert (await frontier.complete(call(url))).ending is Ending.ANSWERED
        assert (await frontier.complete(call(url))).ending is Ending.CUT
    assert calls == 2


async def test_what_leaves_is_the_body_the_key_and_the_attempts_id(frontier: HttpFrontier) -> None:
    """Anything else would be sent than was priced, or the bill could not be matched."""
    got: list[tuple[bytes, Any]] = []

    async def keep(request: web.Request) -> web.StreamResponse:
        got.append((await request.read(), request.headers.copy()))
        return web.json_response({}, headers={"Set-Cookie": "a=b"})

    async with answering(keep) as url:
        await frontier.complete(call(url, api_key="sk-1"))
        await frontier.complete(call(url))
    (body, first), (_, second) = got
    assert body == BODY.encode()
    assert first["Content-Type"] == "application/json"
    assert first["X-Client-Request-Id"] == ATT
    assert first["Authorization"] == "Bearer sk-1"
    assert "Authorization" not in second
    assert "Cookie" not in second
