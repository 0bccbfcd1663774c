"""The simulated frontier's answers, refusals and start, asked over loopback as a provider is."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fakes.frontier_caller import chat, frontier
from tiermesh_cli.frontier_sim import SimSettings
from tiermesh_cli.frontier_sim.answers import AnswerKeyInvalid, read_answer_key
from tiermesh_cli.frontier_sim.draws import latency_ms, uniform
from tiermesh_cli.frontier_sim.faults import Fault, FaultsInvalid
from tiermesh_cli.frontier_sim.server import create_app

LABELS = "Classify the user's message as one of: late_parcel, refund. Answer with the label alone."


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
