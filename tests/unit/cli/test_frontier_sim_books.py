"""The simulated frontier's bill and inbox: the oracles of money and of privacy."""

import asyncio

import aiohttp

from fakes.frontier_caller import chat, frontier
from tiermesh_cli.frontier_sim import Price


async def test_the_bill_is_the_sum_of_what_was_answered() -> None:
    """The oracle of the money tests would charge something else than what it said was used."""
    owed = 0
    async with frontier() as caller:
        for number in range(12):
            model = ("sim-large", "sim-small")[number % 2]
            body = chat(f"question {number}", model=model)
            _, answer, _ = await caller.post(body, **{"X-Client-Request-Id": f"att-{number}"})
            rates = {"sim-large": (3_000, 15_000), "sim-small": (250, 1_250)}[model]
            usage = answer["usage"]
            owed += usage["prompt_tokens"] * rates[0] + usage["completion_tokens"] * rates[1]
        bill = await caller.bill()
        tail = await caller.get("/bill?after=11")
    assert bill["total_usd_nanos"] == owed == sum(line["cost_usd_nanos"] for line in bill["lines"])
    assert bill["calls"] == 12
    assert [line["client_request_id"] for line in bill["lines"]] == [f"att-{n}" for n in range(12)]
    assert all(line["delivered"] for line in bill["lines"])
    assert len({line["response_id"] for line in bill["lines"]}) == 12
    assert [line["line"] for line in tail["lines"]] == [12]


def test_a_call_rounds_up_once() -> None:
    """Rounding each part would charge more than the price, rounding down would charge less than was held."""
    assert Price(1, 1).cost_usd_nanos(1, 1) == 1
    assert Price(999_999, 1).cost_usd_nanos(1, 1) == 1
    assert Price(999_999, 2).cost_usd_nanos(1, 1) == 2
    assert Price(0, 0).cost_usd_nanos(10**9, 10**9) == 0


async def test_more_calls_than_allowed_at_once_are_told_to_come_back() -> None:
    """Back-pressure of a provider would not reach the mesh, or would be billed."""
    async with frontier(concurrency_max=2, hang_ms=30_000.0) as caller:
        await caller.queue("hang", "hang")
        held = [asyncio.create_task(caller.post(chat())) for _ in range(2)]
        await caller.billed(2)
        status, _, response = await caller.post(chat())
        calls = (await caller.bill())["calls"]
    assert (status, response.headers["Retry-After"], calls) == (429, "1", 2)
    outcomes = await asyncio.gather(*held, return_exceptions=True)
    assert all(isinstance(outcome, aiohttp.ClientError) for outcome in outcomes)


async def test_a_full_bill_refuses_further_work() -> None:
    """A call would be worked on without a line, and the oracle would be silently short."""
    async with frontier(bill_lines_max=1) as caller:
        statuses = [(await caller.post(chat()))[0] for _ in range(3)]
        assert statuses == [200, 507, 507]
        assert (await caller.bill())["calls"] == 1


async def test_the_inbox_holds_every_text_that_arrived() -> None:
    """A private text that left in a refused call, or in a broken body, would not be seen."""
    async with frontier() as caller:
        await caller.queue("unavailable")
        await caller.post(chat("refused one"))
        await caller.post(chat([{"type": "text", "text": "in parts"}]))
        await caller.post({"messages": "broken secret"})
        texts = await caller.get("/inbox")
    assert texts[:2] == ["refused one", "in parts"]
    assert "broken secret" in texts[2]


async def test_a_full_inbox_counts_what_it_drops() -> None:
    """A privacy check would pass because the texts were no longer kept."""
    async with frontier(inbox_texts_max=1) as caller:
        await caller.post(chat("first"))
        await caller.post(chat("second"))
        async with caller.session.get("/inbox") as response:
            assert response.headers["x-dropped"] == "1"
            assert await response.json() == ["first"]
