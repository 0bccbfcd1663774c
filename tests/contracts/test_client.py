"""The producer's client on a real broker, with a mesh that says what the test wants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord

from tiermesh_chassis.admin import create_topics, registry
from tiermesh_cli.embedded import free_port
from tiermesh_contracts.brokers import BrokerUnreachable
from tiermesh_contracts.client import MeshClient, TopicMissing
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import InferenceRequest
from tiermesh_contracts.results import InferenceResult
from tiermesh_contracts.topics import REQUESTS, RESULTS, tenant_results


def request(**fields: Any) -> InferenceRequest:
    return InferenceRequest(**{"request_id": new_request_id(), "tenant": "acme", "input": "hello"} | fields)


def result(asked: InferenceRequest, **fields: Any) -> InferenceResult:
    said = {"request_id": asked.request_id, "tenant": asked.tenant, "status": "answered", "tier": "local"}
    return InferenceResult(**said | {"reason": "confident", "label": "yes"} | fields)


@asynccontextmanager
async def mesh(kafka: str) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=False) as producer:
        yield producer


async def say(mesh: AIOKafkaProducer, *results: InferenceResult, topic: str = RESULTS.name) -> None:
    for one in results:
        await mesh.send_and_wait(topic, one.to_bytes(), key=str(one.request_id).encode())


async def until_waiting(client: MeshClient, asked: InferenceRequest) -> None:
    async with asyncio.timeout(10):
        while (asked.tenant, asked.request_id) not in client._waiting:
            await asyncio.sleep(0.01)


async def published(kafka: str, asked: InferenceRequest) -> "ConsumerRecord[bytes, bytes]":
    consumer = AIOKafkaConsumer(
        REQUESTS.name, bootstrap_servers=kafka, auto_offset_reset="earliest", fetch_max_wait_ms=10
    )
    async with consumer, asyncio.timeout(20):
        async for record in consumer:
            if record.value == asked.to_bytes():
                return record
    raise AssertionError


async def test_a_request_is_published_with_its_key_event_and_trace(kafka: str) -> None:
    """The router could not read it, or requests of one conversation would overtake each other."""
    plain, keyed = request(), request()
    async with MeshClient(kafka, source="shop") as client:
        assert await client.submit(plain) == plain.request_id
        await client.submit(keyed, key="conversation", traceparent=f"00-{1:032x}-{1:016x}-01")
    first, second = await published(kafka, plain), await published(kafka, keyed)
    assert (first.key, second.key) == (b"acme", b"conversation")
    headers = {name: value.decode() for name, value in second.headers}
    assert headers["ce_id"] == headers["correlation_id"] == str(keyed.request_id)
    assert headers["ce_source"] == "tiermesh/shop"
    assert headers["ce_type"] == "tiermesh.request.v1"
    assert headers["traceparent"] == f"00-{1:032x}-{1:016x}-01"
    assert "traceparent" not in dict(first.headers)


async def test_the_first_result_is_the_answer_and_repeats_are_counted(kafka: str) -> None:
    """A producer would act twice, or on the second of two answers."""
    asked, last = request(), request()
    async with mesh(kafka) as services, MeshClient(kafka) as client:
        waiting = asyncio.create_task(client.ask(asked))
        await until_waiting(client, asked)
        stranger = result(asked, tenant="other", label="not mine")
        await say(services, stranger, result(asked), result(asked), result(asked, label="no"))
        assert (await waiting).label == "yes"
        marker = asyncio.create_task(client.ask(last))
        await until_waiting(client, last)
        async with asyncio.timeout(20):
            while client.repeats.duplicated + client.repeats.conflicting < 2:
                await asyncio.sleep(0.01)
        await say(services, result(last))
        await marker
        assert (client.repeats.duplicated, client.repeats.conflicting) == (1, 1)


async def test_results_arrive_as_a_stream_without_those_that_are_waited_for(kafka: str) -> None:
    """A producer that sends and reads apart would miss answers, or see another reader's twice."""
    asked, streamed = request(), [request() for _ in range(20)]
    tenant = f"t{asked.request_id.hex}"
    own = request(tenant=tenant, reply_to=tenant_results(tenant))
    await create_topics(kafka, registry((tenant,)))
    async with mesh(kafka) as services, MeshClient(kafka, result_topics=(RESULTS.name, own.reply_to)) as client:
        stream = client.results()
        first = asyncio.create_task(anext(stream))
        waiting = asyncio.create_task(client.ask(asked))
        await until_waiting(client, asked)
        await services.send_and_wait(own.reply_to, b"{what a newer mesh writes")
        await say(services, result(asked), *(result(one) for one in streamed))
        await say(services, result(own), topic=own.reply_to)
        async with asyncio.timeout(20):
            heard = {(await first).request_id} | {(await anext(stream)).request_id for _ in range(20)}
        assert heard == {one.request_id for one in (*streamed, own)}
        assert (await waiting).request_id == asked.request_id


async def test_a_stream_that_was_left_holds_nobody_up(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its results would pile up unread, and from the 10,000th on every ask would end at its deadline."""
    monkeypatch.setattr("tiermesh_contracts.client.RESULTS_UNREAD_MAX", 2)
    asked, last, heard = request(), request(), [request() for _ in range(8)]
    async with mesh(kafka) as services, MeshClient(kafka) as client, asyncio.timeout(40):
        async with aclosing(client.results()) as stream:
            first = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            await say(services, *(result(one) for one in heard))
            assert (await first).request_id in {one.request_id for one in heard}
            while not client._unread.full():
                await asyncio.sleep(0.01)
        for one in (asked, last):
            waiting = asyncio.create_task(client.ask(one))
            await until_waiting(client, one)
            await say(services, *(result(request()) for _ in range(8)), result(one))
            assert (await waiting).request_id == one.request_id
        async with aclosing(client.results()) as stream:
            late = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            await say(services, result(fresh := request()))
            assert (await late).request_id == fresh.request_id


async def test_streams_end_with_the_reader(kafka: str) -> None:
    """A producer would wait for results that nobody reads any more, for ever."""
    async with mesh(kafka) as services, MeshClient(kafka) as client, asyncio.timeout(40):
        streams = [client.results() for _ in range(3)]
        waiting = [asyncio.create_task(anext(stream)) for stream in streams]
        await asyncio.sleep(0)
        await say(services, result(one := request()))
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result().request_id for task in done] == [one.request_id]
        assert client._reader is not None
        client._reader.cancel()
        for task in set(waiting) - done:
            with pytest.raises(ConnectionError, match="enter a new one"):
                await task
        for stream in (*streams[:1], client.results()):
            with pytest.raises((ConnectionError, StopAsyncIteration)):
                await anext(stream)


async def test_asking_again_after_a_time_out_gets_the_answer_that_came_meanwhile(kafka: str) -> None:
    """The repeat is dropped as one with the first: the second ask would wait until its deadline in vain."""
    asked = request()
    async with mesh(kafka) as services, MeshClient(kafka) as client:
        with pytest.raises(TimeoutError):
            await client.ask(asked, timeout_s=0.1)
        assert client._waiting == {}
        await say(services, result(asked))
        async with asyncio.timeout(20):
            while client.repeats.get("acme", asked.request_id) is None:
                await asyncio.sleep(0.01)
            assert (await client.ask(asked)).label == "yes"


async def test_an_ask_that_nobody_could_answer_is_refused_at_once(kafka: str) -> None:
    """It would wait for its deadline and half a minute more, and say no more than that time is over."""
    elsewhere, twice = request(reply_to=tenant_results("acme")), request()
    async with MeshClient(kafka) as client:
        with pytest.raises(ValueError, match="does not read"):
            await client.ask(elsewhere)
        waiting = asyncio.create_task(client.ask(twice))
        await until_waiting(client, twice)
        with pytest.raises(ValueError, match="asked already"):
            await client.ask(twice)
        assert client._reader is not None
        client._reader.cancel()
        with pytest.raises(ConnectionError, match="closed while waiting"):
            await waiting
        with pytest.raises(ConnectionError, match="enter a new one"):
            await client.ask(request())


async def test_no_broker_is_one_clear_error() -> None:
    """A producer would hang, or print a traceback of the Kafka library."""
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerUnreachable, match=f"no Kafka broker answers at {address}"):
        async with MeshClient(address):
            pass
    with pytest.raises(RuntimeError, match="async with"):
        await MeshClient(address).submit(request())


async def test_a_missing_topic_is_one_clear_error(kafka: str) -> None:
    """Answers would go to a topic that the client does not read, and each ask would end at its deadline."""
    topics = (RESULTS.name, "mesh.results.nobody.v1")
    with pytest.raises(TopicMissing, match=r"mesh\.results\.nobody\.v1.*tiermesh topics create"):
        async with MeshClient(kafka, result_topics=topics):
            pass
