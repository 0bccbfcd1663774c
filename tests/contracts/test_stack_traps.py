"""Behaviour of the pinned stack that would lose, repeat or misroute work, pinned so that an upgrade which changes
it is seen. That the services avoid it stands in test_stack_avoided and in the wiring tests of the chassis.

Not shown here, because the embedded broker cannot: idempotent producers (it gives no producer ids) and fenced
members after a long rebalance.
"""

import inspect
import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError
from faststream import AckPolicy, FastStream
from faststream._internal.constants import EMPTY
from faststream.kafka import KafkaBroker, KafkaRouter, TestKafkaBroker
from faststream.kafka.annotations import KafkaMessage as Injected
from faststream.kafka.message import KafkaAckableMessage, KafkaMessage
from faststream.kafka.opentelemetry import KafkaTelemetryMiddleware
from faststream.kafka.parser import AioKafkaBatchParser
from opentelemetry.sdk.trace import TracerProvider

from contracts import traps
from contracts.traps import HOT, Observed


@pytest.fixture(scope="module")
def observed(kafka: str) -> Observed:
    argv = [sys.executable, traps.__file__, kafka]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == 0, ran.stderr
    return Observed(**json.loads(ran.stdout))


def defaults(function: Any) -> dict[str, Any]:
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}


def record(*headers: tuple[str, bytes | None]) -> "ConsumerRecord[bytes, bytes]":
    return ConsumerRecord("t", 0, 7, 0, 0, b"k", b"v", None, 1, 1, headers)


def test_01_without_a_policy_a_subscriber_is_at_most_once() -> None:
    """The framework's default commits before the handler ran: a crash loses the record."""
    broker = KafkaBroker()
    assert broker.subscriber("t").ack_policy is AckPolicy.ACK_FIRST
    assert defaults(KafkaBroker.subscriber)["ack_policy"] is EMPTY


def test_01_ack_commits_although_the_handler_raised(observed: Observed) -> None:
    """A record whose handler failed is never seen again."""
    assert observed.ack_committed == 1


def test_02_a_brokers_policy_misses_the_subscribers_of_a_router() -> None:
    """A policy in one place looks like one for all; a router's subscribers commit by themselves all the same."""
    router = KafkaRouter()
    subscriber = router.subscriber("t")
    broker = KafkaBroker(ack_policy=AckPolicy.MANUAL)
    broker.include_router(router)
    assert broker.subscriber("u").ack_policy is AckPolicy.MANUAL
    assert subscriber.ack_policy is AckPolicy.ACK_FIRST
    assert subscriber._connection_args["enable_auto_commit"] is True


def test_03_nack_on_error_is_a_hot_loop(observed: Observed) -> None:
    """One poison record comes back as fast as the process can fail; where a handler pays, it pays each time."""
    assert observed.nack_deliveries >= HOT


def test_04_with_two_workers_a_stop_commits_nothing(observed: Observed) -> None:
    """Consumers stop before the handlers end: what was finished during the stop is done again."""
    assert (observed.workers_finished, observed.workers_committed) == (1, -1)


async def test_05_ack_commits_every_partition_and_nack_stops_at_a_revoked_one() -> None:
    """A batch ack covers records that other handlers still work on; after a failed nack the rest is skipped."""
    commits: list[tuple[Any, ...]] = []
    sought: list[tuple[TopicPartition, int]] = []

    class Consumer:
        async def commit(self, *offsets: Any) -> None:
            commits.append(offsets)

        def seek(self, partition: TopicPartition, offset: int) -> None:
            if partition.partition == 0:
                raise IllegalStateError("revoked")
            sought.append((partition, offset))

    batch = tuple(ConsumerRecord("t", p, 7, 0, 0, None, b"", None, 0, 0, ()) for p in (0, 1))
    message = KafkaAckableMessage(body=[], raw_message=batch, consumer=Consumer())
    with pytest.raises(IllegalStateError):
        await message.nack()
    assert sought == []
    await message.ack()
    assert commits == [()]


def test_06_one_malformed_record_fails_its_batch(observed: Observed) -> None:
    """The good records beside it never reach the handler, and nothing says so but a log line."""
    assert observed.json_bodies == [[{"n": 4}]]


@pytest.mark.parametrize(("value", "error"), [(None, AttributeError), (b"\xff", UnicodeDecodeError)])
async def test_06_the_parser_raises_on_a_null_or_binary_header(value: bytes | None, error: type[Exception]) -> None:
    """Any producer can make a record that the framework cannot read."""
    with pytest.raises(error):
        await AioKafkaBatchParser(KafkaMessage, None).parse_batch((record(("h", value)),))


def test_06_a_record_with_such_a_header_is_skipped(observed: Observed) -> None:
    """It is lost without a dead letter, and the next commit goes past it."""
    assert observed.header_bodies == ["kept"]


async def test_07_the_telemetry_middleware_overwrites_the_trace_that_was_set() -> None:
    """Each record of a batch would continue the batch's trace instead of its own."""
    broker = KafkaBroker(middlewares=[KafkaTelemetryMiddleware(tracer_provider=TracerProvider())])
    traces: list[str] = []

    @broker.subscriber("t", ack_policy=AckPolicy.MANUAL)
    async def handle(message: Injected) -> None:
        traces.append(message.headers["traceparent"])

    mine = f"00-{1:032x}-{1:016x}-01"
    async with TestKafkaBroker(broker):
        await broker.publish(b"1", "t", headers={"traceparent": mine})
    assert len(traces) == 1
    assert traces[0] != mine


def test_08_a_batch_subscriber_waits_200_ms_and_then_again() -> None:
    """An idle topic would answer after two waits."""
    assert defaults(KafkaBroker.subscriber)["batch_timeout_ms"] == 200
    assert "sleep(self.batch_timeout_ms / 1000)" in inspect.getsource(
        type(KafkaBroker().subscriber("t", batch=True))
    )


def test_09_the_defaults_of_broker_and_subscriber_lose_data() -> None:
    """One acknowledgement, repeated sends, records before the first start skipped, topics of one partition."""
    broker, subscriber = defaults(KafkaBroker.__init__), defaults(KafkaBroker.subscriber)
    assert broker["enable_idempotence"] is False
    assert broker["linger_ms"] == 0
    assert broker["allow_auto_create_topics"] is True
    assert broker["acks"] != "all"
    assert subscriber["auto_offset_reset"] == "latest"
    assert defaults(AIOKafkaProducer.__init__)["enable_idempotence"] is False
    assert defaults(AIOKafkaConsumer.__init__)["auto_offset_reset"] == "latest"


def test_10_publish_batch_ignores_the_key_when_it_picks_a_partition(observed: Observed) -> None:
    """Records of one conversation, or of one request's results, would not share an order."""
    assert len(set(observed.batched_partitions)) > 1
    assert len(set(observed.single_partitions)) == 1


def test_10_an_explicit_publish_gets_a_fresh_correlation_id(observed: Observed) -> None:
    """A result could not be joined with its request."""
    assert observed.correlation_ids[0] == "mine"
    assert observed.correlation_ids[1] not in {"mine", ""}


async def test_11_on_shutdown_runs_before_the_broker_stops() -> None:
    """A client closed there is gone while handlers still use it."""
    order: list[str] = []
    broker = KafkaBroker()

    async def start() -> None:
        order.append("broker starts")

    async def stop(*_: Any) -> None:
        order.append("broker stops")

    broker.start, broker.stop = start, stop  # type: ignore[method-assign]
    app = FastStream(
        broker,
        on_shutdown=[lambda: order.append("on_shutdown")],
        after_shutdown=[lambda: order.append("after_shutdown")],
        logger=None,
    )
    await app.start()
    await app.stop()
    assert order == ["broker starts", "on_shutdown", "broker stops", "after_shutdown"]


async def test_12_the_test_broker_never_redelivers() -> None:
    """A delivery test on it passes whatever the ack policy is."""
    broker = KafkaBroker()
    calls: list[str] = []

    @broker.subscriber("t", ack_policy=AckPolicy.NACK_ON_ERROR)
    async def handle(body: str) -> None:
        calls.append(body)
        raise ZeroDivisionError

    async with TestKafkaBroker(broker):
        with pytest.raises(ZeroDivisionError):
            await broker.publish("poison", "t")
    assert calls == ["poison"]


def test_13a_a_manual_batch_handler_that_raises_is_not_called_again(observed: Observed) -> None:
    """The record is neither committed nor redelivered: it is lost until a restart."""
    assert (observed.manual_calls, observed.manual_committed) == (1, -1)


def test_13a_commit_refuses_the_frameworks_own_topic_partition(observed: Observed) -> None:
    """Two classes of one name: with the wrong one nothing is ever committed."""
    assert observed.framework_partition_error == "Key should be TopicPartition instance"


def test_13a_uvicorn_ends_with_the_signal_it_got() -> None:
    """A supervisor that takes every status but 0 for a crash would restart a service that was told to stop."""
    code = (
        "import uvicorn\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'lifespan':\n"
        "        await receive(); await send({'type': 'lifespan.startup.complete'}); print('up', flush=True)\n"
        "        await receive(); await send({'type': 'lifespan.shutdown.complete'})\n"
        "uvicorn.Server(uvicorn.Config(app, port=0, log_config=None)).run()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "up\n"
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) in {-signal.SIGTERM, 0}
