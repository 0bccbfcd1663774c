"""The producer's client: publish a request, get its one result. Needs the base install alone."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Self
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from pydantic import ValidationError

from tiermesh_contracts.brokers import BrokerTraits, broker_traits, missing_topics
from tiermesh_contracts.envelope import event_headers
from tiermesh_contracts.firsts import FirstResults
from tiermesh_contracts.requests import InferenceRequest
from tiermesh_contracts.results import InferenceResult
from tiermesh_contracts.topics import MESSAGE_BYTES_MAX, REQUESTS, RESULTS

RESULTS_UNREAD_MAX = 10_000


class TopicMissing(LookupError):
    """A topic that the client writes or reads does not exist."""


class MeshClient:
    """Publishes requests and reads results.

        async with MeshClient("localhost:9092") as mesh:
            result = await mesh.ask(InferenceRequest(request_id=new_request_id(), tenant="acme", input="..."))

    The result topics are read from the moment of entering, without a consumer group: every client sees every
    result, keeps the first per request, and drops repeats (`repeats` counts them). Memory is bounded: while
    `results()` is iterated, reading stops at 10,000 results that it has not taken.
    """

    def __init__(
        self, bootstrap: str, *, source: str = "producer", result_topics: tuple[str, ...] = (RESULTS.name,)
    ) -> None:
        self._bootstrap = bootstrap
        self._source = source
        self._result_topics = result_topics
        self._firsts = FirstResults()
        self._waiting: dict[tuple[str, UUID], asyncio.Future[InferenceResult]] = {}
        self._unread: asyncio.Queue[InferenceResult | None] = asyncio.Queue(RESULTS_UNREAD_MAX)
        """None is the end: nothing is read any more."""
        self._streams = 0
        self._producer: AIOKafkaProducer | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Raises `BrokerUnreachable` or `TopicMissing`, each with a line that says what to do."""
        traits = await broker_traits(self._bootstrap)
        if missing := await missing_topics(self._bootstrap, {REQUESTS.name, *self._result_topics}):
            raise TopicMissing(f"no topic {missing} at {self._bootstrap}: run 'tiermesh topics create'")
        self._consumer = await self._read_from_now(traits)
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=traits.idempotence,
            linger_ms=5,
            max_request_size=MESSAGE_BYTES_MAX,
        )
        try:
            await self._producer.start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        self._reader = asyncio.create_task(self._read(self._consumer))
        self._reader.add_done_callback(self._fail_waiting)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._consumer is not None:
            await self._consumer.stop()
        if self._producer is not None:
            await self._producer.stop()

    async def submit(
        self, request: InferenceRequest, *, key: str | None = None, traceparent: str | None = None
    ) -> UUID:
        """Publish; returns once the brokers have it (`acks=all`).

        `key` spreads the load over partitions and orders nothing; absent, the tenant's name. Sending a request
        again after an error is harmless: its id makes the repeat one with the first.

        Raises `aiokafka.errors.KafkaError` where the brokers did not take it.
        """
        if self._producer is None:
            raise RuntimeError("MeshClient is used inside 'async with'")
        headers = event_headers(
            request,
            source=self._source,
            event_id=str(request.request_id),
            correlation_id=str(request.request_id),
            time=datetime.now(UTC),
            traceparent=traceparent,
        )
        await self._producer.send_and_wait(
            REQUESTS.name,
            request.to_bytes(),
            key=(key or request.tenant).encode(),
            headers=[(name, value.encode()) for name, value in headers.items()],
        )
        return request.request_id

    async def ask(
        self, request: InferenceRequest, *, timeout_s: float | None = None, traceparent: str | None = None
    ) -> InferenceResult:
        """Publish and wait for the terminal result.

        A request that was answered before is answered the same at once, without publishing.

        Raises `TimeoutError` after `timeout_s`; absent, the request's deadline plus 30 s, by which time the
        mesh has answered in one way or another. Raises `ValueError` where nobody would see the answer: the
        client does not read `reply_to`, or waits for this id already. Raises `ConnectionError` where reading
        the results has ended.
        """
        who = (request.tenant, request.request_id)
        if request.reply_to not in self._result_topics:
            raise ValueError(f"the client does not read {request.reply_to}: name it in result_topics")
        if who in self._waiting:
            raise ValueError(f"request {request.request_id} is being asked already")
        if (before := self._firsts.get(*who)) is not None:
            return before
        if self._has_ended:
            raise ConnectionError("the client reads no results any more: enter a new one")
        future: asyncio.Future[InferenceResult] = asyncio.get_running_loop().create_future()
        self._waiting[who] = future
        try:
            await self.submit(request, traceparent=traceparent)
            limit_s = request.deadline_ms / 1000 + 30 if timeout_s is None else timeout_s
            return await asyncio.wait_for(future, limit_s)
        finally:
            del self._waiting[who]

    async def results(self) -> AsyncIterator[InferenceResult]:
        """Terminal results as they arrive, from the first step on, without those that `ask` waits for.

        Whoever leaves it early and keeps the iterator closes it (`contextlib.aclosing`): one that is open and not
        read holds up the answers of every `ask` at 10,000 results.

        Raises `ConnectionError` where reading the results has ended, once all that were read are taken.
        """
        if self._streams == 0:
            self._forget_unread()
        self._streams += 1
        try:
            while not (self._has_ended and self._unread.empty()):
                result = await self._unread.get()
                if result is None:
                    break
                yield result
            self._unread.put_nowait(None)  # who sees the end wakes the next
            raise ConnectionError("the client reads no results any more: enter a new one")
        finally:
            self._streams -= 1
            if self._streams == 0:
                self._forget_unread()

    @property
    def repeats(self) -> FirstResults:
        """Counts of repeated results, alike (`duplicated`) and not (`conflicting`)."""
        return self._firsts

    async def _read_from_now(self, traits: BrokerTraits) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            *self._result_topics,
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            fetch_max_wait_ms=traits.fetch_max_wait_ms,
        )
        await consumer.start()
        await consumer.seek_to_end()
        return consumer

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            batches = await consumer.getmany(timeout_ms=200)
            for records in batches.values():
                for record in records:
                    await self._deliver(record.value)

    @property
    def _has_ended(self) -> bool:
        return self._reader is not None and self._reader.done()

    def _forget_unread(self) -> None:
        """Lets a reader go on that waits for room."""
        while not self._unread.empty():
            self._unread.get_nowait()

    def _fail_waiting(self, reader: asyncio.Task[None]) -> None:
        """Nobody waits for a reader that died."""
        error = None if reader.cancelled() else reader.exception()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error or ConnectionError("the client was closed while waiting"))
        if self._unread.empty():  # else a stream sees the end once it took what there is
            self._unread.put_nowait(None)

    async def _deliver(self, raw: bytes | None) -> None:
        try:
            result = InferenceResult.from_bytes(raw or b"")
        except ValidationError:
            return  # not ours to judge: a result topic may hold what a newer mesh writes
        if not self._firsts.offer(result):
            return
        future = self._waiting.get((result.tenant, result.request_id))
        if future is not None and not future.done():
            future.set_result(result)
        elif self._streams:
            await self._unread.put(result)
