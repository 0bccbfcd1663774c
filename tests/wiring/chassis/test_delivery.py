"""Delivery on a real broker: whatever arrives, the rest is processed once and offsets reach the end."""

import asyncio
import json
from collections import Counter
from typing import Any, TypeAlias

from aiokafka import ConsumerRecord

from tiermesh_chassis.delivery import Inbound, Lane
from tiermesh_chassis.errors import PermanentError, TransientError
from tiermesh_chassis.retry_policy import RetryPolicy
from tiermesh_contracts.failures import DeadLetter, DeadLetterReason
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import InferenceRequest
from tiermesh_contracts.results import InferenceResult
from tiermesh_contracts.topics import MESSAGE_BYTES_MAX, RESULTS, dead_letters, tenant_results
from wiring.chassis.rig import Headers, Rig

Record: TypeAlias = "ConsumerRecord[bytes, bytes]"

QUICK = RetryPolicy(attempts_max=3, delay_first_ms=5, delay_max_ms=10)


def request(said: str, **fields: Any) -> InferenceRequest:
    return InferenceRequest(request_id=new_request_id(), tenant="acme", input=said, **fields)


class Handler:
    """Does what the request's text says, and counts how often."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.inbound: list[Inbound[InferenceRequest]] = []

    async def __call__(self, inbound: Inbound[InferenceRequest]) -> None:
        said = inbound.message.text
        self.seen[said] += 1
        self.inbound.append(inbound)
        match said.partition(" ")[0]:
            case "permanent":
                raise PermanentError(DeadLetterReason.UNKNOWN_RESERVATION, "never set aside")
            case "reused":
                raise PermanentError(DeadLetterReason.ID_REUSED, "another body")
            case "transient":
                raise TransientError("not now")
            case "once" if self.seen[said] == 1:
                raise TransientError("not now")
            case "defect":
                raise ZeroDivisionError("private text")


def letter_of(record: Record) -> DeadLetter:
    return DeadLetter.from_headers({name: value.decode() for name, value in record.headers})


async def results_in(rig: Rig, topic: str) -> list[InferenceResult]:
    return [InferenceResult.from_bytes(record.value) for record in await rig.read_all(topic)]


async def test_bad_records_go_to_the_dead_letters_and_the_rest_is_processed_once(rig: Rig) -> None:
    """One poison record would stop its partition, come back for ever, or take its batch with it."""
    topic, handler, service = await rig.topic(), Handler(), rig.service()
    service.subscribe(topic, Lane(InferenceRequest, handler, in_flight_max=16, retry=QUICK))
    good = [request(f"good {n}") for n in range(40)]
    bad = {name: request(name) for name in ("permanent", "transient", "defect", "reused")}
    own = request("permanent own", reply_to=tenant_results("acme"))
    once = request("once")
    schema = json.dumps({"request_id": str(new_request_id()), "tenant": "acme", "input": 7}).encode()
    oversized = request("large").to_bytes().ljust(MESSAGE_BYTES_MAX + 1)
    headers: Headers = [("traceparent", b"\xff\xfe"), ("none", None), ("text", "ü".encode()), ("x-app", b"mine")]
    values = [
        *(r.to_bytes() for r in good[:20]),
        b"{not json",
        None,
        b"",
        b"\xff\x00",
        b"[1]",
        b"[" * 100_000,
        schema,
        oversized,
        *(r.to_bytes() for r in (*bad.values(), own, once)),
        *(r.to_bytes() for r in good[20:]),
    ]
    await rig.send(topic, values, headers)

    async with rig.running(service):
        await rig.until_committed(rig.name, topic, len(values))
        letters = await rig.read(dead_letters(topic.name), 13)

    assert {said: handler.seen[said] for said in handler.seen if said.startswith("good")} == {
        r.text: 1 for r in good
    }
    assert handler.seen["once"] == 2
    assert handler.seen["transient"] == QUICK.attempts_max
    found = {letter.source_offset: letter for letter in map(letter_of, letters)}
    assert Counter(letter.reason for letter in found.values()) == {
        DeadLetterReason.MALFORMED: 5,
        DeadLetterReason.INVALID: 2,
        DeadLetterReason.OVERSIZED: 1,
        DeadLetterReason.UNKNOWN_RESERVATION: 2,
        DeadLetterReason.RETRIES_EXHAUSTED: 1,
        DeadLetterReason.UNEXPECTED: 1,
        DeadLetterReason.ID_REUSED: 1,
    }
    defect = found[values.index(bad["defect"].to_bytes())]
    assert defect.request_id == str(bad["defect"].request_id)
    assert "private" not in defect.detail
    for letter in letters:
        source = dict(letter.headers)
        original = values[int(source["x-source-offset"])]
        if source["x-reason"] != b"oversized":
            assert letter.value == (original or b"")
        assert letter.key == b"key"
        assert source["text"] == "ü".encode()
        assert source["x-app"] == b"mine"
        assert json.loads(source["x-headers-unread"]) == {"traceparent": "//4=", "none": None}
        assert source["x-service"] == rig.name.encode()
        assert source["x-source-topic"] == topic.name.encode()


async def test_whoever_can_be_named_is_told_of_the_dead_letter(rig: Rig) -> None:
    """A producer would wait for its deadline, or an answered request would be called failed."""
    topic, service = await rig.topic(), rig.service()
    silent = await rig.topic("silent")
    service.subscribe(topic, Lane(InferenceRequest, Handler(), in_flight_max=16, retry=QUICK))
    service.subscribe(silent, Lane(InferenceRequest, Handler(), in_flight_max=16, owes_result=False))
    told = {name: request(name) for name in ("permanent", "defect")}
    own = request("permanent", reply_to=tenant_results("acme"))
    reused, unheard = request("reused"), request("permanent")
    wrong = {"request_id": str(new_request_id()), "tenant": "acme", "input": 7}
    foreign = wrong | {"tenant": "a}:b", "request_id": str(new_request_id())}
    await rig.send(silent, [unheard.to_bytes()])
    await rig.send(topic, [r.to_bytes() for r in (reused, own, *told.values())])
    await rig.send(topic, [json.dumps(body).encode() for body in (foreign, wrong)])

    async with rig.running(service):
        await rig.until_committed(rig.name, topic, 6)
        await rig.until_committed(rig.name, silent, 1)
        await rig.read(dead_letters(silent.name), 1)
    results = {str(r.request_id): r for r in await results_in(rig, RESULTS.name)}
    for named in (*(str(r.request_id) for r in told.values()), wrong["request_id"]):
        assert (results[named].status, results[named].reason) == ("failed", "dead_lettered")
    for unnamed in (reused.request_id, unheard.request_id, foreign["request_id"], own.request_id):
        assert str(unnamed) not in results
    assert own.request_id in {r.request_id for r in await results_in(rig, own.reply_to)}


async def test_a_record_as_large_as_the_broker_takes_can_still_be_buried(rig: Rig) -> None:
    """A dead letter that is itself too large ends the process at each redelivery: one record stops a service."""
    topic, service = await rig.topic(), rig.service()
    service.subscribe(topic, Lane(InferenceRequest, Handler(), in_flight_max=16))
    large, beside = b"x" * (MESSAGE_BYTES_MAX - 70_000), b"h" * 60_000
    await rig.send(topic, [large], [("big", beside)])
    await rig.send(topic, [b"small"], [("big", large + b"h" * 65_000)])
    async with rig.running(service):
        await rig.until_committed(rig.name, topic, 2)
        first, second = await rig.read(dead_letters(topic.name), 2)
    assert first.value == second.value == b""
    assert dict(first.headers)["big"] == beside
    assert "big" not in dict(second.headers)
    assert [letter_of(letter).reason for letter in (first, second)] == [DeadLetterReason.MALFORMED] * 2


async def test_a_stop_finishes_and_commits_the_work_in_flight(rig: Rig) -> None:
    """Every deployment would repeat what was just being done, calls that cost money included."""
    topic, service = await rig.topic(), rig.service()
    begun, done = asyncio.Event(), []

    async def slow(inbound: Inbound[InferenceRequest]) -> None:
        begun.set()
        await asyncio.sleep(0.5)
        done.append(inbound.offset)

    service.subscribe(topic, Lane(InferenceRequest, slow, in_flight_max=8))
    async with rig.running(service):
        await rig.send(topic, [request("x").to_bytes() for _ in range(3)])
        await begun.wait()
    assert sorted(done) == list(range(len(done)))
    assert done
    assert await rig.committed(rig.name, topic) == len(done)
