"""How the project's own producers stand on Apache Kafka."""

import pytest

from tiermesh_chassis.broker import build_broker
from tiermesh_contracts.brokers import KAFKA, broker_traits
from tiermesh_contracts.client import MeshClient

pytestmark = pytest.mark.kafka


async def test_this_broker_is_taken_for_apache_kafka(kafka: str) -> None:
    """Idempotence and static membership would stay off where they are available."""
    assert await broker_traits(kafka) == KAFKA


async def test_producers_of_services_and_of_clients_are_idempotent(kafka: str) -> None:
    """A batch that is sent again after a lost answer would be written twice: two results, two ledger entries."""
    broker = build_broker(kafka, await broker_traits(kafka), client_id="test", graceful_timeout_s=5)
    async with broker, MeshClient(kafka) as client:
        await broker.start()
        await broker.publish(b"{}", "mesh.feedback.v1", key=b"k")
        of_service = broker.config.producer._producer.producer
        of_client = client._producer
        ids = {each._txn_manager.producer_id for each in (of_service, of_client)}
    assert len(ids) == 2
    assert min(ids) >= 0
