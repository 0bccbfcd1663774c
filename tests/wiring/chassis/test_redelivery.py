"""A process that dies in the middle of its work."""

import asyncio
import os
import sys
from pathlib import Path

from tiermesh_chassis.delivery import Inbound, Lane
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import InferenceRequest
from wiring.chassis import stuck_service
from wiring.chassis.rig import Rig

TESTS = Path(__file__).parents[2]


def request(said: str) -> bytes:
    return InferenceRequest(request_id=new_request_id(), tenant="acme", input=said).to_bytes()


async def test_what_a_killed_process_had_not_finished_is_done_by_the_next(rig: Rig) -> None:
    """A crash would lose the record in work, or repeat everything that was done before it."""
    topic = await rig.topic(partitions=1)
    await rig.send(topic, [request(said) for said in ("quick", "quick", "stuck", "quick")])
    first = await asyncio.create_subprocess_exec(
        sys.executable,
        stuck_service.__file__,
        *(rig.kafka, rig.redis_url, rig.name, topic.name),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(TESTS)},
    )
    try:
        assert first.stdout is not None
        assert await asyncio.wait_for(first.stdout.readline(), 40) == b"stuck 2\n"
        await rig.until_committed(rig.name, topic, 2)
    finally:
        first.kill()
        await first.wait()

    done: list[int] = []

    async def handle(inbound: Inbound[InferenceRequest]) -> None:
        done.append(inbound.offset)

    second = rig.service()
    second.subscribe(topic, Lane(InferenceRequest, handle, in_flight_max=8))
    async with rig.running(second):
        await rig.until_committed(rig.name, topic, 4)
    assert done == [2, 3]
