"""Bad input through the whole mesh: one clear answer or a typed dead letter, and the next request works."""

import asyncio
import json
import time
from collections.abc import Iterable

import redis.asyncio as redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tiermesh_contracts import DeadLetter, DeadLetterReason, InferenceRequest, ResultReason, Status, Tier
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.topics import ESCALATIONS, GRANTS, LOCAL, OUTCOMES, REQUESTS, dead_letters

GOOD = "how do i reset my password"
NOVEL = "Prove that the square root of two is irrational, then write it as a limerick."
UNREADABLE = {
    b"{not json": DeadLetterReason.MALFORMED,
    b"\xff\xfe": DeadLetterReason.MALFORMED,
    b'{"surprise": 1}': DeadLetterReason.INVALID,
    b"[]": DeadLetterReason.INVALID,
}
"""In any topic."""
INNER = (ESCALATIONS.name, GRANTS.name, OUTCOMES.name, LOCAL["classify"].name)


def body(**changes: object) -> bytes:
    fields = {"request_id": str(new_request_id()), "tenant": "acme", "input": GOOD}
    return json.dumps({**fields, **changes}).encode()


def novel() -> InferenceRequest:
    return InferenceRequest(request_id=new_request_id(), tenant="acme", input=NOVEL)


async def send(kafka: str, topic: str, values: Iterable[bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
        for raw in values:
            await producer.send_and_wait(topic, raw, headers=[("x-odd", None), ("x-raw", b"\xff\x00")])


async def dead_letters_of(kafka: str, count: int, topic: str = REQUESTS.name) -> dict[bytes, DeadLetter]:
    """Original value to dead letter, until there are `count` values of the topic."""
    found: dict[bytes, DeadLetter] = {}
    consumer = AIOKafkaConsumer(
        dead_letters(topic), bootstrap_servers=kafka, auto_offset_reset="earliest", fetch_max_wait_ms=10
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


async def settled_sums(redis_url: str) -> dict[str, int]:
    """What the org has held and posted, once nothing is held, at the latest after 20 seconds."""
    deadline = time.monotonic() + 20
    async with redis.Redis.from_url(redis_url, decode_responses=True) as store:
        while True:
            sums = {name: int(n) for name, n in (await store.hgetall("{wiring}:e1:w:org:lifetime:all")).items()}
            if sums.get("held") == 0 or time.monotonic() > deadline:
                return sums
            await asyncio.sleep(0.02)


async def test_bad_records_are_buried_and_the_rest_goes_on(mesh):
    """Would break if one bad record failed its batch or blocked its partition."""
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
        await send(running.kafka, REQUESTS.name, bad)
        good = InferenceRequest(request_id=new_request_id(), tenant="acme", input=GOOD)
        result = await running.client.ask(good)
        letters = await dead_letters_of(running.kafka, len(bad))
    assert (result.status, result.tier) == (Status.ANSWERED, Tier.LOCAL)
    assert {raw: letter.reason for raw, letter in letters.items()} == bad


async def test_bad_records_in_the_inner_topics_move_no_money(mesh):
    """Would break if a record that no service of ours wrote stopped a service, or left money held."""
    async with mesh() as running:
        first = await running.client.ask(novel())
        before = await settled_sums(running.redis_url)
        for topic in INNER:
            await send(running.kafka, topic, UNREADABLE)
            letters = await dead_letters_of(running.kafka, len(UNREADABLE), topic)
            assert {raw: letter.reason for raw, letter in letters.items()} == UNREADABLE, topic
            assert {letter.source_topic for letter in letters.values()} == {topic}
        assert await settled_sums(running.redis_url) == before
        again = await running.client.ask(novel())
        after = await settled_sums(running.redis_url)
    assert (first.tier, again.tier) == (Tier.FRONTIER, Tier.FRONTIER)
    assert before == {"held": 0, "posted": first.cost_usd_nanos}
    assert after == {"held": 0, "posted": first.cost_usd_nanos + again.cost_usd_nanos}
    assert min(first.cost_usd_nanos, again.cost_usd_nanos) > 0


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
