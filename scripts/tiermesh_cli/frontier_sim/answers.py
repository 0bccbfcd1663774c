"""What the simulated frontier says: the label it knows, or a text that says it is simulated."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tiermesh_cli.frontier_sim.chat import BYTES_PER_TOKEN, Chat, count_tokens
from tiermesh_cli.frontier_sim.draws import log_normal, uniform

KEY_ENTRIES_MAX: Final = 1_000_000
DEFAULT_OUTPUT_TOKENS_MAX: Final = 1_024
TEXT_TOKENS_MEDIAN_MAX: Final = 120
TEXT_TOKENS_MEDIAN_MIN: Final = 12
TEXT_TOKENS_SIGMA: Final = 0.6
SENTENCES: Final = (
    "The first thing to look at is what changed since it last worked.",
    "Both readings are possible, and the second one fits what you describe better.",
    "A short list of the facts would settle most of this.",
    "I would start with the smallest step that can be undone.",
    "The deadline matters more here than the order of the parts.",
    "It depends on who has to sign, so ask that before anything else.",
    "None of the figures contradicts the other once they are put side by side.",
    "Keep a copy, write down the date, and then send it.",
)


class AnswerKeyInvalid(ValueError):
    """The answer key cannot be read; names the file and the line."""


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    completion_tokens: int
    finish_reason: Literal["stop", "length"]


class Answers:
    """Deterministic: the same seed, key and chat give the same answer, streamed or not."""

    def __init__(self, seed: int, key: Mapping[str, str], accuracy: float) -> None:
        self.seed = seed
        self.key = key
        self.accuracy = accuracy
        self._labels = sorted(set(key.values()))

    def answer(self, chat: Chat) -> Answer:
        tokens_max = chat.output_tokens_max or DEFAULT_OUTPUT_TOKENS_MAX
        label = self._label(chat)
        return _cut(self._text(chat, tokens_max) if label is None else label, tokens_max)

    def _label(self, chat: Chat) -> str | None:
        right = self.key.get(chat.question)
        if right is None:
            return None
        words = set(re.findall(r"[^\s,;:'\"`()\[\]]+", chat.instructions))
        words |= {word.rstrip(".") for word in words}
        offered = [
            label for label in self._labels if label in words or (" " in label and label in chat.instructions)
        ]
        wrong = [label for label in offered if label != right]
        if right in offered and (not wrong or uniform(self.seed, chat.question) < self.accuracy):
            return right
        return wrong[int(uniform(self.seed, "wrong", chat.question) * len(wrong))] if wrong else None

    def _text(self, chat: Chat, tokens_max: int) -> str:
        about = [chat.model, str(chat.output_tokens_max), *(f"{m.role} {m.text}" for m in chat.messages)]
        median = min(TEXT_TOKENS_MEDIAN_MAX, max(TEXT_TOKENS_MEDIAN_MIN, tokens_max // 4))
        tokens = round(log_normal(median, TEXT_TOKENS_SIGMA, uniform(self.seed, "length", *about)))
        first = int(uniform(self.seed, "sentence", *about) * len(SENTENCES))
        text = "[simulated]"
        for place in range(tokens):
            if count_tokens(text) >= tokens:
                break
            text = f"{text} {SENTENCES[(first + place) % len(SENTENCES)]}"
        return text


def _cut(text: str, tokens_max: int) -> Answer:
    if count_tokens(text) <= tokens_max:
        return Answer(text, count_tokens(text), "stop")
    kept = text.encode()[: tokens_max * BYTES_PER_TOKEN].decode(errors="ignore")
    return Answer(kept, tokens_max, "length")


def read_answer_key(path: Path) -> dict[str, str]:
    """JSONL of `{"text", "label"}`. Raises `AnswerKeyInvalid`."""
    key: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnswerKeyInvalid(f"{path}: {error}") from error
    if len(lines) > KEY_ENTRIES_MAX:
        raise AnswerKeyInvalid(f"{path} has more than {KEY_ENTRIES_MAX} lines")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            text, label = entry["text"], entry["label"]
        except (ValueError, KeyError, TypeError):
            raise AnswerKeyInvalid(f'{path}:{number} is not {{"text": ..., "label": ...}}') from None
        if not isinstance(text, str) or not isinstance(label, str) or not label:
            raise AnswerKeyInvalid(f"{path}:{number}: text and label must be texts")
        key[text] = label
    return key
