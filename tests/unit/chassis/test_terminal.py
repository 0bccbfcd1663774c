"""The one terminal result of a request, and a stop while records wait: no broker is needed to see either."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from aiokafka import ConsumerRecord

from tiermesh_chassis.committing import Committer
from tiermesh_chassis.dead_letters import DeadLetters
from tiermesh_chassis.delivery import Delivery, Inbound, Lane
from tiermesh_chassis.errors import PermanentError
from tiermesh_chassis.terminal import TerminalResults
from tiermesh_contracts.envelope import RecordHeaders
from tiermesh_contracts.failures import DeadLetterReason
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.message import Message
from tiermesh_contracts.requests import InferenceRequest
from tiermesh_contracts.results import InferenceResult
from tiermesh_contracts.topics import LEDGER, RESULTS, tenant_results


@dataclass
class Written:
    """A publisher that keeps what it is given."""

    messages: list[tuple[str, Message, str]] = field(default_factory=list)
    letters: list[tuple[str, bytes | None]] | None = None
    """None where no dead letter is expected."""

    async def publish(self, topic: str, message: Message, *, key: str, **_: Any) -> None:
        self.messages.append((topic, message, key))

    async def publish_raw(self, topic: str, value: bytes | None, **beside: Any) -> None:
        if self.letters is None:
            raise AssertionError(f"{value!r} was not expected in {topic}: {beside}")
        self.letters.append((topic, value))


@dataclass
class FirstClaims:
    results: dict[tuple[str, UUID, int], bytes] = field(default_factory=dict)
    bodies: dict[tuple[str, UUID, int], str] = field(default_factory=dict)

    async def first_result(self, tenant: str, request_id: UUID, redrive: int, raw: bytes) -> bytes:
        return self.results.setdefault((tenant, request_id, redrive), raw)

    async def first_body(
        self, tenant: str, request_id: UUID, redrive: int, body_sha256: str, keep_until_ms: int | None = None
    ) -> str:
        return self.bodies.setdefault((tenant, request_id, redrive), body_sha256)


def result(label: str, request_id: UUID, **fields: Any) -> InferenceResult:
    said = {"request_id": request_id, "tenant": "acme", "status": "answered", "tier": "local", "label": label}
    return InferenceResult(**said | {"reason": "confident"} | fields)


async def test_who_comes_second_writes_the_firsts_words_again() -> None:
    """Two different results of one request would stand in the topic."""
    written = Written()
    results = TerminalResults(written, FirstClaims())
    request_id = new_request_id()
    first = result("yes", request_id)
    await results.publish(first, RESULTS.name)
    await results.publish(result("no", request_id), tenant_results("acme"))
    await results.publish(other := result("no", request_id, redrive=1), RESULTS.name)
    key = str(request_id)
    assert written.messages == [
        (RESULTS.name, first, key),
        (tenant_results("acme"), first, key),
        (RESULTS.name, other, key),
    ]


@pytest.mark.parametrize("topic", [LEDGER.name, tenant_results("other"), ""])
async def test_a_result_is_written_to_no_foreign_topic(topic: str) -> None:
    """A message that got past its own validation would still write into the ledger through our hands."""
    written = Written()
    with pytest.raises(PermanentError, match="reply_to"):
        await TerminalResults(written, FirstClaims()).publish(result("yes", new_request_id()), topic)
    assert written.messages == []


async def test_a_broken_record_under_the_id_of_another_request_fails_nobody() -> None:
    """Whoever knows or repeats an id could end a request in flight: its real answer would be dropped."""
    written, claims = Written(letters=[]), FirstClaims()
    results = TerminalResults(written, claims)
    letters = DeadLetters("tests", written, results, claims)
    invalid = PermanentError(DeadLetterReason.INVALID, "input: Field required")

    async def bury(request_id: UUID, **fields: Any) -> None:
        raw = json.dumps({"tenant": "acme", "request_id": str(request_id), **fields}).encode()
        record = ConsumerRecord("t", 0, 0, 0, 0, None, raw, None, 0, len(raw), ())
        await letters.send(record, RecordHeaders.read(()), invalid, None, owes_result=True)

    asked = InferenceRequest(request_id=new_request_id(), tenant="acme", input="x")
    await claims.first_body("acme", asked.request_id, 0, asked.body_sha256)
    await bury(asked.request_id)
    assert written.messages == []
    await results.publish(answer := result("yes", asked.request_id), RESULTS.name)
    assert written.messages == [(RESULTS.name, answer, str(asked.request_id))]

    alone = new_request_id()
    await bury(alone)
    await bury(alone)
    await bury(alone, more=1)
    told = [message for _, message, key in written.messages if key == str(alone)]
    assert [message.reason for message in told if isinstance(message, InferenceResult)] == ["dead_lettered"] * 2
    assert written.letters is not None
    assert len(written.letters) == 4


async def test_a_record_that_waits_for_a_permit_does_not_start_during_a_stop() -> None:
    """It would run on while the broker goes away under it, and repeat half of its effects after the restart."""
    written = Written()
    letters = DeadLetters("tests", written, TerminalResults(written, FirstClaims()), FirstClaims())
    began: list[int] = []
    go_on = asyncio.Event()

    async def handle(inbound: Inbound[InferenceRequest]) -> None:
        began.append(inbound.offset)
        await go_on.wait()

    committer = Committer()
    delivery = Delivery(Lane(InferenceRequest, handle, in_flight_max=1), committer, letters)
    raw = InferenceRequest(request_id=new_request_id(), tenant="acme", input="x").to_bytes()
    records = [ConsumerRecord("t", 0, n, 0, 0, None, raw, None, 0, len(raw), ()) for n in range(3)]
    taking = asyncio.create_task(delivery.take(records))
    async with asyncio.timeout(5):
        while not began:
            await asyncio.sleep(0)
        draining = asyncio.create_task(delivery.drain(5))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(taking, draining)
    assert began == [0]
    assert delivery.in_flight == 0
    assert await committer.commit()
