"""What a delivery does at its edges: a rebalance while it waits, a stop while it tries again, a defect."""

import asyncio
import logging
from typing import Any, ClassVar

import pytest
from aiokafka import ConsumerRecord

from tiermesh_chassis.committing import Committer
from tiermesh_chassis.dead_letters import DeadLetters
from tiermesh_chassis.delivery import Delivery, Inbound, Lane
from tiermesh_chassis.errors import TransientError
from tiermesh_contracts.message import Message


class Note(Message):
    ce_type: ClassVar[str] = "test.note.v1"

    text: str


class Buried:
    """Keeps what would be a dead letter."""

    def __init__(self) -> None:
        self.details: list[str] = []

    async def send(self, record: Any, headers: Any, error: Any, origin: Any, *, owes_result: bool) -> None:
        self.details.append(error.detail)


def record(offset: int, text: str = "a") -> "ConsumerRecord[bytes, bytes]":
    value = Note(text=text).to_bytes()
    return ConsumerRecord(
        topic="t",
        partition=0,
        offset=offset,
        timestamp=0,
        timestamp_type=0,
        key=None,
        value=value,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=len(value),
        headers=(),
    )


def delivery_to(handle: Any, committer: Committer, permits: int = 8) -> tuple[Delivery[Note], Buried]:
    buried = Buried()
    letters: DeadLetters = buried  # type: ignore[assignment]  # the one method that is used
    return Delivery(Lane(Note, handle, in_flight_max=permits), committer, letters), buried


async def test_a_rebalance_while_a_batch_waits_for_permits_loses_nothing() -> None:
    """The rest of the batch would count as the new assignment's, and its commit would skip what was voided."""
    committer, go, handled = Committer(), asyncio.Event(), []

    async def handle(inbound: Inbound[Note]) -> None:
        await go.wait()
        handled.append(inbound.offset)

    delivery, _ = delivery_to(handle, committer, permits=2)
    taking = asyncio.create_task(delivery.take([record(n) for n in range(4)]))
    await asyncio.sleep(0)
    committer.offsets.forget({("t", 0)})  # revoked, and given back
    go.set()
    await taking
    await delivery.drain(5)
    assert handled == [0, 1], "what was not started under the old assignment is not started at all"
    assert committer.offsets.committable() == {}, "nothing of the old assignment moves the new one's offsets"
    await delivery_to(handle, committer)[0].take([record(n) for n in range(4)])
    await asyncio.sleep(0.05)
    assert handled == [0, 1, 0, 1, 2, 3], "the new assignment reads them again, from the first"
    assert committer.offsets.committable() == {("t", 0): 4}


async def test_a_stop_does_not_wait_for_a_retry() -> None:
    """With the store away every stop would take its whole grace, and the record would be buried in a hurry."""
    committer = Committer()

    async def handle(inbound: Inbound[Note]) -> None:
        raise TransientError("the store is away")

    delivery, buried = delivery_to(handle, committer)
    await delivery.take([record(0)])
    await asyncio.sleep(0.01)
    await delivery.drain(60)
    assert delivery.in_flight == 0
    assert buried.details == []
    assert committer.offsets.committable() == {}, "it is redelivered to the next life"


async def test_a_defect_is_logged_without_what_the_request_said(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """An exception's message may quote its input: a diagnosis would stand in every log archive."""
    caplog.set_level(logging.DEBUG)

    async def handle(inbound: Inbound[Note]) -> None:
        raise ValueError(f"cannot read {inbound.message.text}")

    delivery, buried = delivery_to(handle, Committer())
    await delivery.take([record(0, "MY-SECRET-DIAGNOSIS")])
    await delivery.drain(5)
    printed = capsys.readouterr()
    assert buried.details == ["ValueError"]
    assert "ValueError" in printed.out + printed.err + caplog.text
    assert "MY-SECRET-DIAGNOSIS" not in printed.out + printed.err + caplog.text


async def test_a_bad_field_is_named_but_not_the_keys_of_the_producer() -> None:
    """Metadata keys are free text: one with a patient's name would stand in the dead letter's detail."""
    from tiermesh_contracts import InferenceRequest
    from tiermesh_contracts.ids import new_request_id

    buried = Buried()
    letters: DeadLetters = buried  # type: ignore[assignment]  # the one method that is used

    async def handle(inbound: Inbound[InferenceRequest]) -> None:
        raise AssertionError("it is not valid")

    lane = Lane(InferenceRequest, handle, in_flight_max=1)
    delivery = Delivery(lane, Committer(), letters, unknown_fields="forbid")
    key = "Patient Jane Roe, " * 6
    body = (
        f'{{"request_id": "{new_request_id()}", "tenant": "a", "input": "x", "metadata": {{"{key}": "1"}}}}'
    ).encode()
    bad = record(0)
    object.__setattr__(bad, "value", body)
    await delivery.take([bad])
    await delivery.drain(5)
    assert len(buried.details) == 1
    assert buried.details[0].startswith("metadata")
    assert "Jane" not in buried.details[0]
