"""The one way to build a broker. The framework's own defaults lose data; each is set here, with why."""

import logging

from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from tiermesh_contracts.brokers import BrokerTraits
from tiermesh_contracts.topics import MESSAGE_BYTES_MAX

LINGER_MS = 5
"""Records published within these milliseconds share a request; a batch API would lose their keys."""


def build_broker(bootstrap: str, traits: BrokerTraits, *, client_id: str, graceful_timeout_s: float) -> KafkaBroker:
    """A FastStream broker with the delivery settings of this project.

    `acks=all` and idempotence so that an acknowledged record is on every in-sync replica, once; topics are
    never created on the way, where they would get a single partition; the default ack policy is at most once,
    so manual stands here and again on each subscriber, since a broker's default misses those of a router.
    """
    return KafkaBroker(
        # The framework takes a list of several brokers, and a text with commas for the name of one.
        bootstrap.split(","),
        client_id=client_id,
        acks="all",
        enable_idempotence=traits.idempotence,
        linger_ms=LINGER_MS,
        max_request_size=MESSAGE_BYTES_MAX,
        allow_auto_create_topics=False,
        ack_policy=AckPolicy.MANUAL,
        apply_types=False,
        graceful_timeout=graceful_timeout_s,
        logger=logging.getLogger("faststream"),
        log_level=logging.DEBUG,
    )
