"""The simulated frontier's faults: what each looks like to a caller, and whether it is billed."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from fakes.frontier_caller import chat, frontier


@pytest.mark.parametrize(("fault", "status"), [("rate_limited", 429), ("unavailable", 503), ("error_200", 200)])
async def test_a_refusal_is_not_billed(fault: str, status: int) -> None:
    """Releasing the hold of a refused call would be wrong against this oracle."""
    async with frontier() as caller:
        await caller.queue(fault, "none")
        answered, body, response = await caller.post(chat())
        assert answered == status
        assert body["error"]["message"]
        assert ("Retry-After" in response.headers) == (fault == "rate_limited")
        assert (await caller.bill())["calls"] == 0
        assert (await caller.post(chat()))[1]["choices"]
        assert (await caller.bill())["calls"] == 1


async def test_an_error_after_the_work_is_billed() -> None:
    """A mesh that frees the money of every 500 would not be found out."""
    async with frontier() as caller:
        await caller.queue("server_error")
        status, body, _ = await caller.post(chat())
        bill = await caller.bill()
    assert (status, body["error"]["code"]) == (500, "server_error")
    assert (bill["calls"], bill["lines"][0]["delivered"]) == (1, False)
    assert bill["total_usd_nanos"] > 0


@pytest.mark.parametrize("fault", ["hang", "cut"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_whose_answer_is_lost_is_billed_as_undelivered(fault: str, stream: bool) -> None:
    """Work paid for and never seen is what a suspended reservation stands for; it would go untested."""
    async with frontier() as caller:
        await caller.queue(fault)
        with pytest.raises(aiohttp.ClientError):
            await caller.post(chat(stream=stream))
        bill = await caller.bill()
    assert [line["delivered"] for line in bill["lines"]] == [False]


async def test_a_caller_that_hangs_up_pays() -> None:
    """The bill would follow the caller's patience and not the provider's work."""
    async with frontier(hang_ms=10_000.0) as caller:
        await caller.queue("hang")
        call = asyncio.create_task(caller.post(chat()))
        await caller.billed(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        bill = await caller.bill()
    assert [line["delivered"] for line in bill["lines"]] == [False]
    assert bill["total_usd_nanos"] > 0


async def test_missing_usage_differs_from_zero_usage_and_both_are_billed() -> None:
    """Settling a call without usage at zero would agree with the bill."""
    async with frontier() as caller:
        await caller.queue("no_usage", "zero_usage", "no_usage", "zero_usage")
        _, missing, _ = await caller.post(chat())
        _, zero, _ = await caller.post(chat())
        telling = {"include_usage": True}
        missing_stream = await caller.stream(chat(stream_options=telling))
        zero_stream = await caller.stream(chat(stream_options=telling))
        bill = await caller.bill()
    assert "usage" not in missing
    assert zero["usage"]["total_tokens"] == 0
    assert all(event.get("usage") is None for event in missing_stream)
    assert zero_stream[-1]["usage"]["completion_tokens"] == 0
    assert len({line["cost_usd_nanos"] for line in bill["lines"]}) == 1
    assert bill["total_usd_nanos"] > 0


async def test_a_drip_gives_a_token_an_event() -> None:
    """A slow stream would arrive whole, so that deadlines inside a stream would go untested."""
    async with frontier() as caller:
        await caller.queue("drip", "drip")
        events = await caller.stream(chat("slow", max_tokens=6))
        status, body, _ = await caller.post(chat("slow", max_tokens=6))
    assert sum("content" in e["choices"][0]["delta"] for e in events) == 1 + 6
    assert (status, body["usage"]["completion_tokens"]) == (200, 6)


async def test_the_same_seed_gives_the_same_calls_and_another_seed_others() -> None:
    """A failure found with a seed could not be found again."""

    async def outcomes(seed: int) -> list[tuple[int, str]]:
        rates = {"unavailable": 0.3, "server_error": 0.2}
        async with frontier(seed=seed) as caller:
            async with caller.session.post("/faults", json={"rates": rates}) as response:
                assert response.status == 200
            found = [await caller.post(chat(f"{n}")) for n in range(60)]
        return [(status, json.dumps(body.get("choices"))) for status, body, _ in found]

    first = await outcomes(7)
    assert await outcomes(7) == first
    assert await outcomes(8) != first
    assert {status for status, _ in first} == {200, 500, 503}


@pytest.mark.parametrize(
    "wish",
    [
        {"rates": {"nothing": 0.1}},
        {"rates": {"cut": 1.5}},
        {"rates": {"cut": -0.1}},
        {"rates": {"cut": 0.6, "hang": 0.6}},
        {"rates": {"cut": True}},
        {"rates": [1]},
        {"next_calls": ["nothing"]},
        {"next_calls": "cut"},
        {"next_calls": ["cut"] * 10_001},
        {"hang_ms": -1},
        {"drip_token_ms": "1"},
        {"rate": {}},
        [],
    ],
)
async def test_a_fault_out_of_bounds_changes_nothing(wish: Any) -> None:
    """A typing error in a test would run it without its fault, and it would pass."""
    async with frontier() as caller:
        before = await caller.get("/faults")
        async with caller.session.post("/faults", json=wish) as response:
            assert response.status == 400
            assert (await response.json())["error"]["message"]
        assert await caller.get("/faults") == before
