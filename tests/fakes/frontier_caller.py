"""A caller of the simulated frontier, over loopback as a provider's."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tiermesh_cli.frontier_sim import SimSettings
from tiermesh_cli.frontier_sim.server import serving

FAST: dict[str, Any] = {"median_ms": 0.0, "p95_ms": 0.0, "drip_token_ms": 1.0, "hang_ms": 20.0}


def chat(text: Any = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": "sim-small", "messages": [{"role": "user", "content": text}], **fields}


class Caller:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def post(self, body: Any, **headers: str) -> tuple[int, dict[str, Any], aiohttp.ClientResponse]:
        async with self.session.post("/v1/chat/completions", json=body, headers=headers) as response:
            return response.status, await response.json(), response

    async def stream(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        async with self.session.post("/v1/chat/completions", json={**body, "stream": True}) as response:
            assert response.status == 200
            lines = (await response.text()).split("\n\n")
        events = [line.removeprefix("data: ") for line in lines if line]
        assert events.pop() == "[DONE]"
        return [json.loads(event) for event in events]

    async def get(self, path: str) -> Any:
        async with self.session.get(path) as response:
            return await response.json()

    async def bill(self) -> dict[str, Any]:
        statement: dict[str, Any] = await self.get("/bill")
        return statement

    async def billed(self, calls: int) -> None:
        async with asyncio.timeout(10):
            while (await self.bill())["calls"] < calls:
                await asyncio.sleep(0.01)

    async def queue(self, *faults: str) -> None:
        async with self.session.post("/faults", json={"next_calls": faults}) as response:
            assert response.status == 200


@contextlib.asynccontextmanager
async def frontier(**settings: Any) -> AsyncIterator[Caller]:
    async with serving(SimSettings(**{**FAST, **settings})) as url, aiohttp.ClientSession(url) as session:
        yield Caller(session)
