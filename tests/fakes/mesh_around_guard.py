"""What the guard reads and writes, seen from outside: topics, store, health."""

import asyncio
import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from fakes.books import Desk
from fakes.budget import escalation
from tiermesh_cli.embedded import Embedded
from tiermesh_cli.processes import Child
from tiermesh_contracts.budget import LedgerEntry
from tiermesh_contracts.escalations import Escalation, Grant, Outcome, Parked
from tiermesh_contracts.message import Message
from tiermesh_contracts.results import InferenceResult
from tiermesh_contracts.topics import DEFERRED, ESCALATIONS, GRANTS, LEDGER, OUTCOMES, RESULTS, dead_letters

BOUND_S = 30
PARKED_BYTES_MAX = 4_000
DLQ = dead_letters(OUTCOMES.name)
READ: dict[str, type[Message]] = {
    LEDGER.name: LedgerEntry,
    GRANTS.name: Grant,
    DEFERRED.name: Parked,
    RESULTS.name: InferenceResult,
    DLQ: Outcome,
}
CONFIG = """
org = "{org}"
[[providers]]
name = "sim"
base_url = "http://127.0.0.1:1/v1"
models = [
  {{ name = "sim-large", input_usd_per_mtok = 3, output_usd_per_mtok = 15 }},
  {{ name = "sim-small", input_usd_per_mtok = 0.25, output_usd_per_mtok = 1.25 }},
  {{ name = "noprice" }},
]
[[budgets]]
scope = "org"
window = "lifetime"
limit_usd = 1000
[[budgets]]
scope = "tenant"
window = "month"
limit_usd = 100
[privacy]
default = "any"
[limits]
parked_bytes_per_tenant_max = {parked_bytes_max}
"""
OWN_LIMIT = """
[[budgets]]
scope = "tenant:{tenant}"
window = "lifetime"
limit_usd = "{limit_usd}"
"""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def asked(tenant: str, **changes: Any) -> Escalation:
    """An escalation of now; the first candidate is the dear model."""
    return escalation(tenant=tenant, now_ms=now_ms(), **changes)


@dataclass
class Place:
    parts: Embedded
    org: str
    config: Path
    desk: Desk
    child: Child = field(init=False)

    def configure(self, **limits_usd: str) -> None:
        """The whole file at once, as an editor would; `limits_usd` by tenant."""
        text = CONFIG.format(org=self.org, parked_bytes_max=PARKED_BYTES_MAX)
        text += "".join(OWN_LIMIT.format(tenant=t, limit_usd=limit) for t, limit in limits_usd.items())
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.replace(self.config)

    async def in_force(self, **limits_usd: str) -> None:
        """Configure, and return once the store has it."""
        self.configure(**limits_usd)
        fields = {f"tenant:{tenant}|lifetime" for tenant in limits_usd}
        async with asyncio.timeout(BOUND_S):
            while True:
                stored = await asyncio.to_thread(self.desk.store.hgetall, self.desk.prefix + "limits")
                own = {name: int(limit) for name, limit in stored.items() if name.startswith("tenant:")}
                wanted = [round(float(limit) * 10**9) for limit in limits_usd.values()]
                if set(own) == fields and sorted(own.values()) == sorted(wanted):
                    return
                await asyncio.sleep(0.1)

    async def ready(self) -> dict[str, Any]:
        """What `/ready` says."""
        url = f"http://127.0.0.1:{self.child.ready_port}/ready"

        def get() -> dict[str, Any]:
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    body: dict[str, Any] = json.load(answer)
            except urllib.error.HTTPError as error:
                body = json.load(error)
            return body

        return await asyncio.to_thread(get)

    async def until_ready_says(self, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(BOUND_S):
            while not what(said := await self.ready()):
                await asyncio.sleep(0.2)
        return said


@dataclass
class Around:
    producer: AIOKafkaProducer
    consumer: AIOKafkaConsumer
    read: dict[str, list[tuple[str, Any]]] = field(default_factory=lambda: {name: [] for name in READ})
    """Key and message by topic; a tombstone's message is None."""
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of the dead letters."""

    async def send(self, *messages: Message) -> None:
        for message in messages:
            topic = ESCALATIONS if isinstance(message, Escalation) else OUTCOMES
            await self.producer.send_and_wait(topic.name, message.to_bytes(), partition=0)

    async def until(self, what: Callable[[], Any]) -> Any:
        """Read on until `what` is true; what it gave."""
        async with asyncio.timeout(BOUND_S):
            while not (got := what()):
                await self._read(200)
        return got

    async def to_end(self) -> None:
        """Read everything that the topics hold now."""
        places = self.consumer.assignment()
        ends = await self.consumer.end_offsets(places)
        async with asyncio.timeout(BOUND_S):
            while [p for p in places if await self.consumer.position(p) < ends[p]]:
                await self._read(50)

    async def _read(self, timeout_ms: int) -> None:
        for records in (await self.consumer.getmany(timeout_ms=timeout_ms)).values():
            for record in records:
                model, value = READ[record.topic], record.value
                message = None if value is None else model.from_bytes(value, "forbid")
                self.read[record.topic].append(((record.key or b"").decode(), message))
                if record.topic == DLQ:
                    self.headers.append({name: value.decode() for name, value in record.headers})

    def grants(self, about: Escalation) -> list[Grant]:
        return [g for _, g in self.read[GRANTS.name] if g.reservation.att == about.att]

    def entries(self, about: Escalation) -> list[str]:
        """Kinds of the ledger's entries, each counted once."""
        found = {e.ent: e for _, e in self.read[LEDGER.name] if e.att == about.att}
        return [found[ent].kind.value for ent in sorted(found)]

    def results(self, about: Escalation) -> list[InferenceResult]:
        request_id = about.accepted.request.request_id
        return [r for _, r in self.read[RESULTS.name] if r.request_id == request_id]

    def parked(self, about: Escalation) -> list[str]:
        """`parked` and `cleared`, in order."""
        return ["parked" if p else "cleared" for key, p in self.read[DEFERRED.name] if key == about.att]

    async def granted(self, about: Escalation) -> Grant:
        return (await self.until(lambda: self.grants(about)))[0]

    async def ended(self, about: Escalation) -> InferenceResult:
        return (await self.until(lambda: self.results(about)))[0]


@contextlib.asynccontextmanager
async def around(place: Place) -> AsyncIterator[Around]:
    producer = AIOKafkaProducer(bootstrap_servers=place.parts.kafka, acks="all", enable_idempotence=False)
    consumer = AIOKafkaConsumer(
        *READ, bootstrap_servers=place.parts.kafka, auto_offset_reset="earliest", fetch_max_wait_ms=10
    )
    await producer.start()
    await consumer.start()
    try:
        yield Around(producer, consumer)
    finally:
        await producer.stop()
        await consumer.stop()
