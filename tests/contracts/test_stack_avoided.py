"""That every subscriber and the broker of all four services are set so that the stack's traps do not bite."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from faststream import AckPolicy
from faststream.asgi import AsgiFastStream
from faststream.kafka import KafkaBroker

import tiermesh_budget.app
import tiermesh_escalation.app
import tiermesh_inference.app
import tiermesh_router.app
from tiermesh_chassis import subscribing
from tiermesh_chassis.broker import build_broker
from tiermesh_chassis.committing import DRAIN_ON_REVOKE_S
from tiermesh_chassis.config import parse_config
from tiermesh_chassis.service import Boot
from tiermesh_chassis.settings import Environment
from tiermesh_contracts.brokers import EMBEDDED, KAFKA, BrokerTraits
from tiermesh_contracts.topics import MESSAGE_BYTES_MAX, TOPICS
from tiermesh_modelkit.datasets import Example
from tiermesh_modelkit.train import train

APPS = {
    module.NAME: module
    for module in (tiermesh_router.app, tiermesh_inference.app, tiermesh_escalation.app, tiermesh_budget.app)
}

CONFIG = """
[[providers]]
name = "sim"
base_url = "http://127.0.0.1:1/v1"
models = [{ name = "m", input_usd_per_mtok = 1, output_usd_per_mtok = 1 }]

[[budgets]]
scope = "org"
window = "day"
limit_usd = 1
"""

TEXTS = {
    "charge": ("charged twice", "two payments", "card billed again", "duplicate payment", "billed me twice"),
    "parcel": ("where is my parcel", "courier did not come", "tracking shows nothing", "not delivered", "late"),
    "password": ("forgot my password", "reset mail", "cannot sign in", "login refused", "reset link expired"),
}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    examples = [Example(text, label) for label, texts in TEXTS.items() for text in texts]
    train(examples, task="support", name="support").write(root / "support")
    return root


def boot(models: Path, traits: BrokerTraits, instance: str | None = None) -> Boot:
    env = Environment(models=models, instance=instance, kafka="127.0.0.1:1", redis_url="redis://127.0.0.1:1/0")
    return Boot(env, parse_config(CONFIG, "mesh.toml"), traits)


@pytest.fixture(params=APPS)
async def app(request: pytest.FixtureRequest, models: Path) -> AsgiFastStream:
    made: AsgiFastStream = APPS[request.param].create_app(boot(models, KAFKA, "replica-1"))
    return made


def broker_of(app: AsgiFastStream) -> KafkaBroker:
    assert isinstance(app.broker, KafkaBroker)
    return app.broker


def subscribers(app: AsgiFastStream) -> Iterator[Any]:
    found = list(broker_of(app).subscribers)
    assert found
    yield from found


async def test_every_subscriber_settles_by_hand_from_the_beginning(app: AsgiFastStream) -> None:
    """At most once, or the records before the first start skipped."""
    for subscriber in subscribers(app):
        assert subscriber.ack_policy is AckPolicy.MANUAL
        assert subscriber._connection_args["enable_auto_commit"] is False
        assert subscriber._connection_args["auto_offset_reset"] == "earliest"


async def test_every_subscriber_takes_batches_without_long_waits(app: AsgiFastStream) -> None:
    """Singly, a hot topic is a twentieth as fast; with the default wait every idle record is 200 ms late."""
    for subscriber in subscribers(app):
        assert 5 <= subscriber.batch_timeout_ms <= 20
        assert 1 <= subscriber.max_records <= 10_000


async def test_every_subscriber_is_one_worker_of_a_group_of_its_own(app: AsgiFastStream) -> None:
    """With more workers a stop loses acknowledgements; a shared group would mix two topics' rebalances."""
    groups = [subscriber.group_id for subscriber in subscribers(app)]
    assert len(set(groups)) == len(groups)
    for subscriber in subscribers(app):
        assert "Concurrent" not in type(subscriber).__name__
        assert all(group.startswith("tiermesh.") for group in groups)
        assert subscriber._connection_args["group_instance_id"] == f"{subscriber.group_id}.replica-1"


async def test_every_subscriber_reads_a_topic_of_the_registry_that_lists_its_service(app: AsgiFastStream) -> None:
    """A misspelt topic is read for ever and empty."""
    registry = {topic.name: topic for topic in TOPICS}
    for subscriber in subscribers(app):
        (name,) = subscriber.topic_names
        service = subscriber.group_id.removeprefix("tiermesh.").partition(".")[0]
        assert service in registry[name].readers


async def test_a_revoke_ends_before_the_member_is_thrown_out(app: AsgiFastStream) -> None:
    """A drain longer than the session timeout costs the membership that it waits to give up in order."""
    for subscriber in subscribers(app):
        session_ms = subscriber._connection_args["session_timeout_ms"]
        assert session_ms == KAFKA.session_timeout_ms
        assert session_ms > DRAIN_ON_REVOKE_S * 1000 * 2
        assert subscriber._connection_args["heartbeat_interval_ms"] * 3 < session_ms


async def test_every_broker_acknowledges_by_all_and_creates_no_topics(app: AsgiFastStream) -> None:
    """A record acknowledged by one broker dies with it; a topic made on the way has one partition for ever."""
    sent = broker_of(app)._connection_kwargs
    assert sent["acks"] == "all"
    assert sent["enable_idempotence"] is True
    assert 1 <= sent["linger_ms"] <= 10
    assert sent["max_request_size"] == MESSAGE_BYTES_MAX
    assert sent["client_id"].startswith("tiermesh-")
    assert broker_of(app).config.allow_auto_create_topics is False
    assert not broker_of(app).config.broker_middlewares


async def test_a_stop_waits_longer_than_a_provider_call(app: AsgiFastStream) -> None:
    """A call that is cut off may be billed and its answer is lost."""
    timeout_s = broker_of(app).config.graceful_timeout
    assert timeout_s is not None
    assert timeout_s > parse_config(CONFIG, "f").providers[0].timeout_s


@pytest.mark.parametrize("traits", [KAFKA, EMBEDDED])
async def test_idempotence_goes_by_what_the_broker_can(traits: BrokerTraits) -> None:
    """The embedded broker has no producer ids; without them on Kafka a resent batch is written twice."""
    broker = build_broker("127.0.0.1:1", traits, client_id="c", graceful_timeout_s=1)
    assert broker._connection_kwargs["enable_idempotence"] is (traits is KAFKA)
    assert broker.subscriber("t").ack_policy is AckPolicy.MANUAL


async def test_our_parser_takes_any_header_and_touches_no_body() -> None:
    """The framework's own raises on a null or binary header and fails a batch for one record."""
    headers = (("null", None), ("binary", b"\xff"))
    records = tuple(ConsumerRecord("t", 0, n, 0, 0, None, b"{not json", None, 0, 0, headers) for n in range(2))
    message = await subscribing._tolerant(records)
    assert await subscribing._undecoded(message) is records
