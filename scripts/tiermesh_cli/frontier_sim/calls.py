"""One call of the chat completion: refused, or worked on and then always billed, whatever the caller gets."""

import asyncio
import contextlib
import hashlib
import hmac
import time
from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web

from tiermesh_cli.frontier_sim.answers import Answer, Answers, read_answer_key
from tiermesh_cli.frontier_sim.bill import Bill, BillFull, BillLine
from tiermesh_cli.frontier_sim.chat import BYTES_PER_TOKEN, Chat, ChatInvalid, parse_chat
from tiermesh_cli.frontier_sim.draws import latency_ms, uniform
from tiermesh_cli.frontier_sim.faults import UNBILLED, Fault, FaultPlan
from tiermesh_cli.frontier_sim.inbox import Inbox
from tiermesh_cli.frontier_sim.replies import ApiError, Reply, completion, stream_events, too_many, usage
from tiermesh_cli.frontier_sim.settings import SimSettings

STREAM_PIECE_CHARS = 32


class Frontier:
    """What a running frontier knows."""

    def __init__(self, settings: SimSettings) -> None:
        key = {} if settings.answer_key is None else read_answer_key(settings.answer_key)
        self.settings = settings
        self.answers = Answers(settings.seed, key, settings.accuracy)
        self.bill = Bill(settings.bill_lines_max)
        self.faults = FaultPlan(settings.seed, settings.faults, settings.hang_ms, settings.drip_token_ms)
        self.inbox = Inbox(settings.inbox_texts_max, settings.inbox_bytes_max)
        self.closing = asyncio.Event()
        self.calls = 0
        self.in_progress = 0

    @contextlib.contextmanager
    def permit(self) -> Iterator[int]:
        """Hold a place among the calls in progress; gives the number of this call."""
        self.calls += 1
        self.in_progress += 1
        try:
            yield self.calls
        finally:
            self.in_progress -= 1

    async def pause(self, duration_ms: float) -> None:
        """Wait, though not beyond the end of the server."""
        if duration_ms > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(duration_ms / 1000):
                    await self.closing.wait()


@dataclass(frozen=True, slots=True)
class Call:
    """One call that is worked on."""

    request: web.Request
    chat: Chat
    body: bytes
    number: int
    fault: Fault | None


async def on_chat(frontier: Frontier, request: web.Request) -> web.StreamResponse:
    """Raises `ApiError` for every call that is refused unbilled."""
    _check_key(frontier.settings.api_key, request)
    body = await request.read()
    chat = _admit(frontier, body)
    with frontier.permit() as number:
        fault = frontier.faults.choose(number)
        if fault in UNBILLED:
            raise _unbilled(fault)
        return await _work(frontier, Call(request, chat, body, number, fault))


def _check_key(api_key: str | None, request: web.Request) -> None:
    given = request.headers.get("Authorization", "")
    if api_key is None or hmac.compare_digest(given.encode(), f"Bearer {api_key}".encode()):
        return
    problem = "incorrect API key" if given else "no API key: send it as Authorization: Bearer KEY"
    raise ApiError(401, problem, code="invalid_api_key")


def _admit(frontier: Frontier, body: bytes) -> Chat:
    settings = frontier.settings
    try:
        chat = parse_chat(body)
    except ChatInvalid as error:
        frontier.inbox.keep(body.decode(errors="replace"))
        raise ApiError(400, str(error), code=error.code) from None
    for message in chat.messages:
        if message.role not in {"system", "developer"}:
            frontier.inbox.keep(message.text)
    if chat.model not in settings.prices:
        known = ", ".join(settings.prices)
        raise ApiError(404, f"no model {chat.model!r}; there are {known}", code="model_not_found")
    if frontier.in_progress >= settings.concurrency_max:
        raise too_many(f"more than {settings.concurrency_max} calls at once")
    try:
        frontier.bill.check_room()
    except BillFull as error:
        raise ApiError(507, str(error), "server_error", "bill_full") from None
    return chat


def _unbilled(fault: Fault | None) -> ApiError:
    if fault is Fault.RATE_LIMITED:
        return too_many("rate limit reached (simulated)")
    status = 503 if fault is Fault.UNAVAILABLE else 200
    return ApiError(status, "the model is overloaded (simulated)", "server_error", "overloaded")


async def _work(frontier: Frontier, call: Call) -> web.StreamResponse:
    settings, chat = frontier.settings, call.chat
    answer = frontier.answers.answer(chat)
    sha256 = hashlib.sha256(call.body).hexdigest()
    at_ms = time.time_ns() // 1_000_000
    line = frontier.bill.post(
        client_request_id=call.request.headers.get("X-Client-Request-Id"),
        response_id=_response_id(settings.seed, call.number, sha256),
        model=chat.model,
        price=settings.prices[chat.model],
        prompt_tokens=chat.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        at_ms=at_ms,
        request_sha256=sha256,
    )
    chance = uniform(settings.seed, "latency", sha256)
    await frontier.pause(latency_ms(settings.median_ms, settings.p95_ms, chance))
    if call.fault is Fault.SERVER_ERROR:
        raise ApiError(500, "the server had an error (simulated)", "server_error", "server_error")
    if call.fault is Fault.HANG:
        await frontier.pause(frontier.faults.hang_ms)
        return _hang_up(call.request, web.StreamResponse())
    reply = Reply(line.response_id, chat.model, at_ms // 1000, answer, _usage(chat, answer, call.fault))
    return await _send(frontier, call, reply, line)


def _response_id(seed: int, number: int, sha256: str) -> str:
    return "chatcmpl-sim-" + hashlib.sha256(f"{seed} {number} {sha256}".encode()).hexdigest()[:24]


def _usage(chat: Chat, answer: Answer, fault: Fault | None) -> dict[str, object] | None:
    if fault is Fault.NO_USAGE or (chat.stream and not chat.include_usage):
        return None
    if fault is Fault.ZERO_USAGE:
        return usage(0, 0)
    return usage(chat.prompt_tokens, answer.completion_tokens)


async def _send(frontier: Frontier, call: Call, reply: Reply, line: BillLine) -> web.StreamResponse:
    request, fault = call.request, call.fault
    token_ms = frontier.faults.drip_token_ms if fault is Fault.DRIP else 0.0
    response = web.StreamResponse()
    if call.chat.stream:
        response.content_type = "text/event-stream"
        pieces = list(stream_events(reply, BYTES_PER_TOKEN if token_ms else STREAM_PIECE_CHARS))
    else:
        body = completion(reply)
        response.content_type = "application/json"
        response.content_length = len(body)
        pieces = [body[: len(body) // 2], body[len(body) // 2 :]]
        await frontier.pause(token_ms * reply.answer.completion_tokens)
        token_ms = 0.0
    cut_at = len(pieces) // 2 if fault is Fault.CUT else len(pieces)
    try:
        await response.prepare(request)
        for piece in pieces[:cut_at]:
            await response.write(piece)
            await frontier.pause(token_ms)
        if fault is Fault.CUT:
            return _hang_up(request, response)
        await response.write_eof()
    except ConnectionError:
        return response  # The caller hung up; the call stays on the bill, as not delivered.
    line.delivered = request.transport is not None and not request.transport.is_closing()
    return response


def _hang_up(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    return response
