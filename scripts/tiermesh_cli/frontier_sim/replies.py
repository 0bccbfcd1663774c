"""The shapes of the answers: OpenAI's chat completions, each of which says that it is simulated."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from tiermesh_cli.frontier_sim.answers import Answer

FINGERPRINT: Final = "tiermesh-simulated"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer before it takes a shape. `usage` None: the answer says nothing of it."""

    response_id: str
    model: str
    created_s: int
    answer: Answer
    usage: dict[str, Any] | None


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def completion(reply: Reply) -> bytes:
    """The body of an answer in one piece."""
    body = _head(reply, "chat.completion")
    message = {"role": "assistant", "content": reply.answer.text, "refusal": None}
    body["choices"] = [{"index": 0, "message": message, "finish_reason": reply.answer.finish_reason}]
    if reply.usage is not None:
        body["usage"] = reply.usage
    return json.dumps(body, ensure_ascii=False).encode()


def stream_events(reply: Reply, piece_chars: int) -> Iterator[bytes]:
    """The server-sent events of a streamed answer, usage in one of its own before the last."""

    def event(choices: list[dict[str, Any]], spent: dict[str, Any] | None = None) -> bytes:
        body = _head(reply, "chat.completion.chunk")
        body["choices"] = choices
        if reply.usage is not None:
            body["usage"] = spent
        return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"

    def choice(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "finish_reason": finish_reason}

    text = reply.answer.text
    yield event([choice({"role": "assistant", "content": ""})])
    for start in range(0, len(text), piece_chars):
        yield event([choice({"content": text[start : start + piece_chars]})])
    yield event([choice({}, reply.answer.finish_reason)])
    if reply.usage is not None:
        yield event([], reply.usage)
    yield b"data: [DONE]\n\n"


def _head(reply: Reply, kind: str) -> dict[str, Any]:
    return {
        "id": reply.response_id,
        "object": kind,
        "created": reply.created_s,
        "model": reply.model,
        "system_fingerprint": FINGERPRINT,
    }


class ApiError(Exception):
    """An error in OpenAI's shape; the server turns it into its response."""

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "invalid_request_error",
        code: str = "invalid_value",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
        self.headers = headers

    def response(self) -> web.Response:
        return web.json_response(self.body, status=self.status, headers=self.headers)


def too_many(message: str) -> ApiError:
    return ApiError(429, message, "rate_limit_error", "rate_limit_exceeded", {"Retry-After": "1"})
