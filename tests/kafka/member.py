"""A member of a group as the services make one: `python member.py BOOTSTRAP TOPIC INSTANCE`.

Prints its partitions and the group's generation at each assignment, as JSON lines, until it is killed.
"""

import asyncio
import dataclasses
import json
import sys

from tiermesh_chassis.broker import build_broker
from tiermesh_chassis.committing import Committer, RebalanceListener
from tiermesh_chassis.subscribing import Subscription
from tiermesh_contracts.brokers import KAFKA
from tiermesh_contracts.topics import Topic

SESSION_TIMEOUT_MS = 30_000
"""Longer than a member takes to come back. Once it has passed the group has another generation."""


class Told(RebalanceListener):
    """Says what was assigned."""

    subscription: Subscription

    async def on_partitions_assigned(self, assigned) -> None:
        await super().on_partitions_assigned(assigned)
        generation = self.subscription.consumer._coordinator.generation
        told = {"partitions": sorted(each.partition for each in assigned), "generation": generation}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


async def main(bootstrap: str, topic: str, instance: str) -> None:
    traits = dataclasses.replace(KAFKA, session_timeout_ms=SESSION_TIMEOUT_MS)
    broker = build_broker(bootstrap, traits, client_id=instance, graceful_timeout_s=1)
    committer = Committer()
    listener = Told(committer)
    listener.subscription = Subscription(
        broker,
        traits,
        Topic(topic, "id", ("tests",), ("tests",)),
        f"group.{topic}",
        listener=listener,
        records_max=10,
        instance=instance,
    )
    listener.subscription._subscriber(ignore)
    async with broker:
        await broker.start()
        await asyncio.Event().wait()


async def ignore(records: object) -> None:
    """What arrives does not matter here."""


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
