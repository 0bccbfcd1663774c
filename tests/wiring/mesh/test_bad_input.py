"""Bad input through the whole mesh: one clear answer or a typed dead letter, and the next request works."""

import asyncio
import json

import redis.asyncio as redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tiermesh_contracts import DeadLetter, DeadLetterReason, InferenceRequest, ResultReason, Status, Tier
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.topics import REQUESTS, dead_letters

GOOD = "how do i reset my password"


def body(**changes: object) -> bytes:
    fields = {"request_id": str(new_request_id()), "tenant": "acme", "input": GOOD}
    return json.dumps({**fields, **changes}).encode()


async def dead_letters_of(kafka: str, count: int) -> dict[bytes, DeadLetter]:
    """Original value to dead letter, of the first `count` of the request topic."""
    found: dict[bytes, DeadLetter] = {}
    consumer = AIOKafkaConsumer(
        dead_letters(REQUESTS.name), bootstrap_servers=kafka, auto_offset_reset="earliest", fetch_max_wait_ms=10
    )
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            while len(found) < count:
                record = await consumer.getone()
                headers = {name: value.decode() for name, value in record.headers if name.startswith("x-")}
                found[record.value] = DeadLetter.from_headers(headers)
    finally:
        await consumer.stop()
    return found


async def held_usd_nanos(redis_url: str) -> int:
    async with redis.Redis.from_url(redis_url, decode_responses=True) as store:
        held = await store.hget("{wiring}:e1:w:org:lifetime:all", "held")
    return int(held or 0)


async def test_bad_records_are_buried_and_the_rest_goes_on(mesh):
    """Would break if one bad record failed its batch, blocked its partition or left money held."""
    bad = {
        b"{not json": DeadLetterReason.MALFORMED,
        b"\xff\xfe": DeadLetterReason.MALFORMED,
        body(output_tokens_max=10**9): DeadLetterReason.INVALID,
        body(tenant="a}:b"): DeadLetterReason.INVALID,
        body(reply_to="mesh.ledger.v1"): DeadLetterReason.INVALID,
        body(reply_to="mesh.results.other.v1"): DeadLetterReason.INVALID,
        body(input=""): DeadLetterReason.INVALID,
        body(input="x" * 300_000): DeadLetterReason.INVALID,
        body(deadline_ms=-1): DeadLetterReason.INVALID,
        body(surprise=1): DeadLetterReason.INVALID,
    }
    async with mesh() as running:
        producer = AIOKafkaProducer(bootstrap_servers=running.kafka, acks="all")
        await producer.start()
        for raw in bad:
            await producer.send_and_wait(REQUESTS.name, raw, headers=[("x-odd", None), ("x-raw", b"\xff\x00")])
        await producer.stop()
        good = InferenceRequest(request_id=new_request_id(), tenant="acme", input=GOOD)
        result = await running.client.ask(good)
        letters = await dead_letters_of(running.kafka, len(bad))
        assert await held_usd_nanos(running.redis_url) == 0
    assert (result.status, result.tier) == (Status.ANSWERED, Tier.LOCAL)
    assert {raw: letter.reason for raw, letter in letters.items()} == bad


async def test_readable_but_wrong_requests_get_a_typed_answer(mesh):
    """Would break if a producer waited for its deadline instead of being told what is wrong."""
    async with mesh() as running:
        unknown = InferenceRequest(request_id=new_request_id(), tenant="acme", task="poetry", input=GOOD)
        refused = await running.client.ask(unknown)
        assert (refused.status, refused.reason) == (Status.REFUSED, ResultReason.UNKNOWN_TASK)

        first = InferenceRequest(request_id=new_request_id(), tenant="acme", input=GOOD)
        again = first.model_copy(update={"input": "where is my parcel"})
        answered = await running.client.ask(first)
        await running.client.submit(again)
        letters = await dead_letters_of(running.kafka, 1)
        assert answered.label == "reset_password"
        assert [letter.reason for letter in letters.values()] == [DeadLetterReason.ID_REUSED]

        private = InferenceRequest(
            request_id=new_request_id(), tenant="acme", privacy="local_only", input="Integrate x squared, please."
        )
        stays = await running.client.ask(private)
        assert (stays.status, stays.reason) == (Status.REFUSED, ResultReason.PRIVATE_AND_NOVEL)
        assert running.client.repeats.conflicting == 0
