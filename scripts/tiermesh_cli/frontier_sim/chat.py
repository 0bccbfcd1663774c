"""The body of a chat completion, as far as the simulated frontier reads it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

OUTPUT_TOKENS_MAX: Final = 131_072
BYTES_PER_TOKEN: Final = 4
MESSAGE_OVERHEAD_TOKENS: Final = 3


class ChatInvalid(ValueError):
    """A body that the real API refuses too; `code` is the word it uses."""

    def __init__(self, message: str, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Chat:
    model: str
    messages: tuple[Message, ...]
    output_tokens_max: int | None
    stream: bool
    include_usage: bool

    @property
    def prompt_tokens(self) -> int:
        return sum(MESSAGE_OVERHEAD_TOKENS + count_tokens(message.text) for message in self.messages)

    @property
    def question(self) -> str:
        """The text of the last message of the user; empty where there is none."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def instructions(self) -> str:
        return "\n".join(m.text for m in self.messages if m.role in {"system", "developer"})


def count_tokens(text: str) -> int:
    """An estimate that everybody can repeat: a token for every four bytes begun."""
    return -(-len(text.encode(errors="replace")) // BYTES_PER_TOKEN)


def parse_chat(body: bytes) -> Chat:
    """Raises `ChatInvalid`."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ChatInvalid(f"the body is not JSON: {error}", "invalid_json") from None
    if not isinstance(fields, dict):
        raise ChatInvalid("the body is not a JSON object", "invalid_json")
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise ChatInvalid("you must provide a model parameter", "missing_required_parameter")
    if fields.get("n") not in (None, 1):
        raise ChatInvalid("n other than 1 is not simulated", "unsupported_value")
    return Chat(
        model=model,
        messages=_messages(fields.get("messages")),
        output_tokens_max=_output_limit(fields),
        stream=_flag(fields, "stream"),
        include_usage=_flag(_object(fields, "stream_options"), "include_usage"),
    )


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise ChatInvalid("messages must be a list with at least one message", "missing_required_parameter")
    return tuple(_message(place, message) for place, message in enumerate(value))


def _message(place: int, value: Any) -> Message:
    if not isinstance(value, dict) or not isinstance(value.get("role"), str):
        raise ChatInvalid(f"messages[{place}] is not an object with a role")
    content = value.get("content")
    if isinstance(content, str):
        return Message(value["role"], content)
    if content is None and value["role"] == "assistant":
        return Message(value["role"], "")
    if not isinstance(content, list):
        raise ChatInvalid(f"messages[{place}].content is neither a text nor a list of parts")
    texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    if len(texts) != len(content) or not all(isinstance(text, str) for text in texts):
        raise ChatInvalid(f"messages[{place}].content: only parts of type text are simulated", "unsupported_value")
    return Message(value["role"], "\n".join(text for text in texts if text))


def _output_limit(fields: Mapping[str, Any]) -> int | None:
    limits = [fields[name] for name in ("max_completion_tokens", "max_tokens") if fields.get(name) is not None]
    for limit in limits:
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= OUTPUT_TOKENS_MAX:
            raise ChatInvalid(f"the output limit {limit!r} is not a whole number in 1..{OUTPUT_TOKENS_MAX}")
    return min(limits) if limits else None


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise ChatInvalid(f"{name} is neither true nor false")
    return bool(value)


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ChatInvalid(f"{name} is not an object")
    return value
