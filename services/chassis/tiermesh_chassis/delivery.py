"""How a record is handled, in seven steps. At least once, with every effect keyed by an id.

1. receive   a batch, one task a record, as many at once as there are permits
2. parse     bad → dead letter
3. look up   the effect by its id           ┐
4. decide    pure                           │ the handler's own steps
5. effect                                   │
6. publish   the outcome, acknowledged      ┘
7. commit    exactly the contiguous finished prefix of each partition

A crash before 7 redelivers, and 3 makes that harmless. Transient errors are tried again within their attempts
and the request's deadline; permanent ones go to the dead letters; neither stops the partition.
"""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeAlias, TypeVar

import structlog
from aiokafka import ConsumerRecord
from opentelemetry import trace
from pydantic import ValidationError

from tiermesh_chassis.clock import Clock, now_ms
from tiermesh_chassis.committing import Committer
from tiermesh_chassis.dead_letters import DeadLetters
from tiermesh_chassis.errors import PermanentError, TransientError
from tiermesh_chassis.logging import without_text
from tiermesh_chassis.meters import DeliveryMeter
from tiermesh_chassis.offsets import Ticket
from tiermesh_chassis.retry_policy import RetryPolicy
from tiermesh_chassis.telemetry import hop
from tiermesh_contracts.envelope import RecordHeaders
from tiermesh_contracts.failures import DeadLetterReason
from tiermesh_contracts.message import Message, UnknownFields
from tiermesh_contracts.requests import Origin
from tiermesh_contracts.topics import MESSAGE_BYTES_MAX

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Message)
Record: TypeAlias = "ConsumerRecord[bytes, bytes]"


@dataclass(frozen=True, slots=True)
class Inbound(Generic[M]):
    """A parsed record."""

    message: M
    headers: Mapping[str, str]
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """The broker's, where the topic says so; else the writer's."""
    received_ms: int

    @property
    def queue_time_ms(self) -> int:
        return max(0, self.received_ms - self.timestamp_ms)


Handler = Callable[[Inbound[M]], Awaitable[None]]


RETRY = RetryPolicy()


@dataclass(frozen=True, slots=True)
class Lane(Generic[M]):
    """What one subscription reads and how."""

    model: type[M]
    handle: Handler[M]
    in_flight_max: int
    retry: RetryPolicy = RETRY
    owes_result: bool = True
    """False where another service answers the request, whatever happens to this record."""
    deadline_ends_retries: bool = True
    """False where more than an answer hangs on the record: money may be held for it."""


class _Stopping(Exception):
    """The service ends before the record could be handled."""


class Delivery(Generic[M]):
    def __init__(
        self,
        lane: Lane[M],
        committer: Committer,
        dead_letters: DeadLetters,
        unknown_fields: UnknownFields = "ignore",
        clock: Clock = now_ms,
    ) -> None:
        self._lane = lane
        self._unknown_fields = unknown_fields
        self._committer = committer
        self._dead_letters = dead_letters
        self._clock = clock
        self._meter = DeliveryMeter()
        self._permits = asyncio.Semaphore(lane.in_flight_max)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    async def take(self, records: Sequence[Record]) -> None:
        """Start every record of a batch; returns when all have a permit, which holds back the next fetch.

        Never raises: a batch handler that does is logged as processed, and its records are skipped.
        """
        offsets = self._committer.offsets
        # All tickets before the first wait: were the partitions given up and given back meanwhile, later ones
        # would count as the new assignment's, and committing them would skip the earlier ones of this batch.
        tickets = [offsets.start(record.topic, record.partition, record.offset) for record in records]
        for record, ticket in zip(records, tickets, strict=True):
            if ticket is None:
                continue
            await self._permits.acquire()
            if self._stop.is_set() or not offsets.is_live(ticket):
                self._permits.release()
                continue
            task = asyncio.create_task(self._process(record, ticket))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def drain(self, grace_s: float) -> None:
        """Take nothing more, wait for what is in flight, commit it."""
        self._stop.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace_s)
            if late:
                log.warning("stopping with work in flight; it will be redelivered", records=len(late))
        await self._committer.commit()

    async def _process(self, record: Record, ticket: Ticket) -> None:
        headers = RecordHeaders.read(record.headers)
        attributes = {
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.destination.name": record.topic,
            "messaging.kafka.offset": record.offset,
        }
        try:
            with hop(f"process {record.topic}", headers.values, attributes):
                await self._deliver(record, headers)
        except _Stopping:
            log.info("left for the next life of the service", **_place(record))
        except Exception as error:
            # Not even a dead letter can be written. The offset stays uncommitted; a restart redelivers.
            log.critical("cannot finish a record, ending the process", **_place(record), **without_text(error))
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self._committer.finish(ticket)
        finally:
            self._permits.release()

    async def _deliver(self, record: Record, headers: RecordHeaders) -> None:
        origin: Origin | None = None
        try:
            inbound = self._parse(record, headers)
            origin = inbound.message.origin
            self._meter.started(record.topic, inbound.queue_time_ms)
            await self._handle(inbound)
            self._meter.finished(record.topic, "handled")
            return
        except PermanentError as error:
            failure = error
        except TransientError as error:
            failure = PermanentError(DeadLetterReason.RETRIES_EXHAUSTED, str(error))
        except _Stopping:
            raise
        except Exception as error:
            log.critical("a handler broke", **_place(record), **without_text(error))
            failure = PermanentError(DeadLetterReason.UNEXPECTED, type(error).__name__)
        trace.get_current_span().set_status(trace.StatusCode.ERROR, failure.reason)
        await self._bury(record, headers, failure, origin)
        self._meter.finished(record.topic, "dead_letter")

    async def _bury(
        self,
        record: Record,
        headers: RecordHeaders,
        failure: PermanentError,
        origin: Origin | None,
    ) -> None:
        attempt = 1
        while True:
            try:
                await self._dead_letters.send(record, headers, failure, origin, owes_result=self._lane.owes_result)
                return
            except TransientError:
                delay_ms = self._lane.retry.delay_ms(attempt, self._clock(), None, random.random())
                if delay_ms is None:
                    raise
                await asyncio.sleep(delay_ms / 1000)
                attempt += 1

    def _parse(self, record: Record, headers: RecordHeaders) -> Inbound[M]:
        value: bytes = record.value or b""
        if len(value) > MESSAGE_BYTES_MAX:
            raise PermanentError(DeadLetterReason.OVERSIZED, f"{len(value)} bytes")
        try:
            message = self._lane.model.from_bytes(value, self._unknown_fields)
        except ValidationError as error:
            raise PermanentError(*_explain(error, self._lane.model)) from error
        return Inbound(
            message=message,
            headers=headers.values,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp,
            received_ms=self._clock(),
        )

    async def _handle(self, inbound: Inbound[M]) -> None:
        expires_at_ms = inbound.message.expires_at_ms if self._lane.deadline_ends_retries else None
        attempt = 1
        while True:
            try:
                await self._lane.handle(inbound)
                return
            except TransientError as error:
                delay_ms = self._lane.retry.delay_ms(attempt, self._clock(), expires_at_ms, random.random())
                if delay_ms is None:
                    raise
                self._meter.retried(inbound.topic)
                log.warning("trying again", topic=inbound.topic, attempt=attempt, error=str(error))
                await self._pause(delay_ms)
                attempt += 1

    async def _pause(self, delay_ms: int) -> None:
        """Wait before another try; a stop ends the wait and leaves the record to be redelivered."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), delay_ms / 1000)
        if self._stop.is_set():
            raise _Stopping


def _place(record: Record) -> dict[str, str | int]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


@cache
def _declared(model: type[Message]) -> frozenset[str]:
    """Every field name of a message and its parts."""
    schema = model.model_json_schema()
    parts = (schema, *schema.get("$defs", {}).values())
    return frozenset(name for part in parts for name in part.get("properties", {}))


def _explain(error: ValidationError, model: type[Message]) -> tuple[DeadLetterReason, str]:
    """Reason and one line that names the field; never a value or a key of the producer's, which may be private."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return DeadLetterReason.MALFORMED, "not JSON"
    declared = _declared(model)
    field = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or part in declared) or "message"
    return DeadLetterReason.INVALID, f"{field}: {first['msg']}"
