"""The simulated frontier, asked over loopback as a provider is."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tiermesh_cli.frontier_sim import Price, SimSettings
from tiermesh_cli.frontier_sim.answers import AnswerKeyInvalid, read_answer_key
from tiermesh_cli.frontier_sim.draws import latency_ms, uniform
from tiermesh_cli.frontier_sim.faults import Fault, FaultsInvalid
from tiermesh_cli.frontier_sim.server import create_app, serving

FAST: dict[str, Any] = {"median_ms": 0.0, "p95_ms": 0.0, "drip_token_ms": 1.0, "hang_ms": 20.0}
LABELS = "Classify the user's message as one of: late_parcel, refund. Answer with the label alone."


def chat(text: Any = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": "sim-small", "messages": [{"role": "user", "content": text}], **fields}


class Caller:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def post(self, body: Any, **headers: str) -> tuple[int, dict[str, Any], aiohttp.ClientResponse]:
        async with self.session.post("/v1/chat/completions", json=body, headers=headers) as response:
            return response.status, await response.json(), response

    async def stream(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        async with self.session.post("/v1/chat/completions", json={**body, "stream": True}) as response:
            assert response.status == 200
            lines = (await response.text()).split("\n\n")
        events = [line.removeprefix("data: ") for line in lines if line]
        assert events.pop() == "[DONE]"
        return [json.loads(event) for event in events]

    async def get(self, path: str) -> Any:
        async with self.session.get(path) as response:
            return await response.json()

    async def bill(self) -> dict[str, Any]:
        statement: dict[str, Any] = await self.get("/bill")
        return statement

    async def billed(self, calls: int) -> None:
        async with asyncio.timeout(10):
            while (await self.bill())["calls"] < calls:
                await asyncio.sleep(0.01)

    async def queue(self, *faults: str) -> None:
        async with self.session.post("/faults", json={"next_calls": faults}) as response:
            assert response.status == 200


@contextlib.asynccontextmanager
async def frontier(**settings: Any) -> AsyncIterator[Caller]:
    async with serving(SimSettings(**{**FAST, **settings})) as url, aiohttp.ClientSession(url) as session:
        yield Caller(session)


async def test_an_answer_says_it_is_simulated_and_counts_its_tokens() -> None:
    """A simulated answer could be taken for a real one, or its usage would not follow from its bytes."""
    async with frontier() as caller:
        status, body, response = await caller.post(chat("x" * 41))
    text = body["choices"][0]["message"]["content"]
    assert status == 200
    assert response.headers["x-simulated"] == "true"
    assert body["system_fingerprint"] == "tiermesh-simulated"
    assert text.startswith("[simulated]")
    assert body["usage"]["prompt_tokens"] == 11 + 3
    assert body["usage"]["completion_tokens"] == -(-len(text.encode()) // 4)
    assert body["usage"]["total_tokens"] == sum(
        body["usage"][name] for name in ("prompt_tokens", "completion_tokens")
    )
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
    assert body["usage"]["completion_tokens_details"] == {"reasoning_tokens": 0}


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


async def test_the_output_limit_cuts_and_is_never_passed() -> None:
    """A hold priced at the output limit would no longer be an upper bound."""
    async with frontier() as caller:
        for limit in (1, 2, 5):
            for name in ("max_tokens", "max_completion_tokens"):
                _, body, _ = await caller.post(chat("long", **{name: limit}))
                assert body["usage"]["completion_tokens"] == limit
                assert len(body["choices"][0]["message"]["content"]) <= 4 * limit
                assert body["choices"][0]["finish_reason"] == "length"


async def test_a_stream_costs_what_its_twin_costs_and_gives_usage_only_when_asked() -> None:
    """Streaming would change the price, or a client that forgot to ask for usage would not be found out."""
    async with frontier() as caller:
        _, whole, _ = await caller.post(chat("same"))
        silent = await caller.stream(chat("same"))
        telling = await caller.stream(chat("same", stream_options={"include_usage": True}))
        lines = (await caller.bill())["lines"]
    for events in (silent, telling):
        text = "".join(e["choices"][0]["delta"].get("content", "") for e in events if e["choices"])
        assert text == whole["choices"][0]["message"]["content"]
    assert all("usage" not in event for event in silent)
    assert [event["usage"] for event in telling[:-1]] == [None] * (len(telling) - 1)
    assert telling[-1]["choices"] == []
    assert telling[-1]["usage"] == whole["usage"]
    assert len({line["cost_usd_nanos"] for line in lines}) == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"messages": [{"role": "user", "content": "x"}]}, 400, "missing_required_parameter"),
        ({"model": "sim-small"}, 400, "missing_required_parameter"),
        ({"model": "sim-small", "messages": []}, 400, "missing_required_parameter"),
        ({"model": "sim-small", "messages": [{"role": "user", "content": 3}]}, 400, "invalid_value"),
        (chat(max_tokens=0), 400, "invalid_value"),
        (chat(max_tokens=True), 400, "invalid_value"),
        (chat(stream="yes"), 400, "invalid_value"),
        (chat(n=2), 400, "unsupported_value"),
        ([1], 400, "invalid_json"),
        (chat(model="gpt-none"), 404, "model_not_found"),
    ],
)
async def test_a_bad_body_is_refused_as_the_real_api_does_and_not_billed(body: Any, status: int, code: str) -> None:
    """A mesh that sends broken bodies would pass its tests, or pay for refusals."""
    async with frontier() as caller:
        answered, error, response = await caller.post(body)
        assert (answered, error["error"]["code"]) == (status, code)
        assert set(error["error"]) >= {"message", "type", "code"}
        assert response.headers["x-simulated"] == "true"
        assert (await caller.bill())["calls"] == 0


async def test_a_key_is_asked_for_only_where_one_is_set() -> None:
    """A wrong key would be served, so that a mesh that sends none would look sound."""
    async with frontier(api_key="k1") as caller:
        assert (await caller.post(chat()))[0] == 401
        assert (await caller.post(chat(), Authorization="Bearer k2"))[0] == 401
        assert (await caller.post(chat(), Authorization="Bearer k1"))[0] == 200
        assert (await caller.bill())["calls"] == 1


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


async def test_the_answer_key_gives_labels_that_were_offered(tmp_path: Path) -> None:
    """Escalated classifications would get prose, or a label where none was asked for."""
    key = tmp_path / "key.jsonl"
    lines = [{"text": f"text {n}", "label": ("late_parcel", "refund")[n % 2]} for n in range(200)]
    key.write_text("\n".join(json.dumps(line) for line in lines))

    def asked(text: str) -> dict[str, Any]:
        return chat() | {
            "messages": [{"role": "system", "content": LABELS}, {"role": "user", "content": text}],
        }

    async with frontier(answer_key=key, accuracy=0.9) as caller:
        bodies = [(await caller.post(asked(line["text"])))[1] for line in lines]
        again = [(await caller.post(asked(line["text"])))[1] for line in lines[:20]]
        unknown = (await caller.post(asked("never seen")))[1]
        unasked = (await caller.post(chat("text 1")))[1]
    given = [body["choices"][0]["message"]["content"] for body in bodies]
    assert set(given) == {"late_parcel", "refund"}
    assert [body["choices"][0]["message"]["content"] for body in again] == given[:20]
    right = sum(label == line["label"] for label, line in zip(given, lines, strict=True))
    assert 165 <= right <= 195
    for body in (unknown, unasked):
        assert body["choices"][0]["message"]["content"].startswith("[simulated]")


def test_a_broken_answer_key_names_its_line(tmp_path: Path) -> None:
    """A key that is not read would turn every label into prose without a word."""
    key = tmp_path / "key.jsonl"
    key.write_text('{"text": "a", "label": "b"}\n{"text": "a"}\n')
    with pytest.raises(AnswerKeyInvalid, match=r"key\.jsonl:2"):
        read_answer_key(key)
    with pytest.raises(AnswerKeyInvalid, match=r"none\.jsonl"):
        create_app(SimSettings(answer_key=tmp_path / "none.jsonl"))


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


def test_settings_out_of_bounds_are_named() -> None:
    """A wrong option would be taken silently."""
    wrong: dict[str, Any] = {"accuracy": 1.1, "port": 70_000, "p95_ms": 1.0, "concurrency_max": 0}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=name):
            SimSettings(**{name: value})
    with pytest.raises(FaultsInvalid):
        create_app(SimSettings(faults={Fault.CUT: 2.0}))


def test_latency_has_the_median_and_the_95th_percentile_asked_for() -> None:
    """A benchmark against the simulated frontier would measure another provider than it names."""
    drawn = sorted(latency_ms(250, 700, uniform(3, "latency", str(n))) for n in range(4_000))
    assert drawn[2_000] == pytest.approx(250, rel=0.1)
    assert drawn[3_800] == pytest.approx(700, rel=0.1)
    assert latency_ms(0, 0, 0.5) == 0


async def test_a_path_that_is_not_there_and_a_body_too_large_answer_in_the_same_shape() -> None:
    """A client that reads `error.message` would break on the frontier's own limits."""
    async with frontier(body_bytes_max=1_000) as caller:
        status, body, _ = await caller.post(chat("x" * 5_000))
        assert (status, body["error"]["code"]) == (413, "http_413")
        assert (await caller.get("/v1/nothing"))["error"]["code"] == "http_404"
        assert [m["id"] for m in (await caller.get("/v1/models"))["data"]] == ["sim-large", "sim-small"]
        assert (await caller.get("/health"))["simulated"] is True


async def test_lone_surrogates_do_not_break_a_call() -> None:
    """One odd text would end as an unbilled error of the server, which no provider gives."""
    async with frontier() as caller:
        async with caller.session.post(
            "/v1/chat/completions",
            data=b'{"model":"sim-small","messages":[{"role":"user","content":"\\ud800"}]}',
        ) as response:
            assert response.status == 200
        assert (await caller.bill())["calls"] == 1
        assert len(await caller.get("/inbox")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_says_where_it_serves_and_ends_on_a_signal(number: signal.Signals) -> None:
    """Whoever starts it would not find its port, or would wait for ever at its end."""
    code = "import asyncio; from tiermesh_cli.frontier_sim import SimSettings, run; asyncio.run(run(SimSettings()))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        process.send_signal(number)
        assert process.wait(10) == 0
    assert ready["ready"] is True
    assert ready["simulated"] is True
    assert ready["base_url"].removesuffix("/v1") == ready["bill"].removesuffix("/bill")
