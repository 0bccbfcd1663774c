"""A service whose handler finishes the first record of each pair and never the second; killed by a test."""

import asyncio
import sys

from tiermesh_chassis.delivery import Inbound, Lane
from tiermesh_contracts.requests import InferenceRequest
from tiermesh_contracts.topics import Topic
from wiring.chassis.rig import Rig


async def handle(inbound: Inbound[InferenceRequest]) -> None:
    if inbound.message.text != "quick":
        sys.stdout.write(f"stuck {inbound.offset}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


async def main(kafka: str, redis_url: str, name: str, topic: str) -> None:
    rig = Rig(kafka, redis_url, name)
    service = rig.service()
    service.subscribe(Topic(topic, "id", ("tests",), ("tests",)), Lane(InferenceRequest, handle, in_flight_max=8))
    async with rig.running(service):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
