"""Which requests the demo sends: a seeded mix out of texts that no model was trained on."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from tiermesh_contracts.requests import AUTO, InferenceRequest, OnBudget, Privacy

UNCOVERED_SHARE: Final = 0.26
PRIVATE_SHARE: Final = 0.08
DOCUMENTS_SHARE: Final = 0.15
"""Of the covered requests: documents are long, so fewer of them."""
NAMED_SHARE: Final = 0.2
"""Requests that name their task; the others leave it to the router."""
PRIVATE_TASK: Final = "support"
TENANTS: Final = ("acme", "borealis", "corvid", "dorado")
LABEL_TOKENS_MAX: Final = 16
TEXT_TOKENS_MAX: Final = 128
DEADLINE_MS: Final = 8_000

ON_BUDGET: Final = {
    "covered": {OnBudget.DEFER: 0.38, OnBudget.BEST_LOCAL: 0.56, OnBudget.REFUSE: 0.06},
    "uncovered": {OnBudget.DEFER: 0.66, OnBudget.BEST_LOCAL: 0.14, OnBudget.REFUSE: 0.20},
    "private": {OnBudget.DEFER: 1.0},
}
"""A text with a local answer can fall back on it, one without can only wait or be refused."""


class Kind(StrEnum):
    COVERED = "covered"
    """What an installed model was trained for, though not on this text."""
    UNCOVERED = "uncovered"
    PRIVATE = "private"
    """Of either sort, and not allowed to leave."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """`label` is None where no installed task covers the text."""

    text: str
    label: str | None


@dataclass(frozen=True, slots=True)
class Texts:
    """Where requests are drawn from; `covered` by task."""

    covered: Mapping[str, Sequence[Labelled]]
    uncovered: Sequence[Labelled]
    private: Sequence[Labelled]


@dataclass(frozen=True, slots=True)
class Planned:
    """One request of the demo, and what is known of its right answer."""

    kind: Kind
    text: str
    label: str | None
    true_task: str | None
    tenant: str
    task: str
    privacy: Privacy
    on_budget: OnBudget
    output_tokens_max: int

    def request(self, request_id: UUID) -> InferenceRequest:
        return InferenceRequest(
            request_id=request_id,
            project="demo",
            tenant=self.tenant,
            task=self.task,
            input=self.text,
            output_tokens_max=self.output_tokens_max,
            deadline_ms=DEADLINE_MS,
            privacy=self.privacy,
            on_budget=self.on_budget,
        )


def plan_requests(count: int, texts: Texts, seed: int) -> tuple[Planned, ...]:
    """`count` requests in the order of sending; equal arguments give equal requests.

    A text is drawn again only once all of its sort were drawn.
    """
    chance = random.Random(seed)
    private = round(count * PRIVATE_SHARE)
    uncovered = round(count * UNCOVERED_SHARE)
    covered = count - private - uncovered
    documents = round(covered * DOCUMENTS_SHARE)
    tasks = ("support",) * (covered - documents) + ("documents",) * documents
    drawn = {task: _draw(texts.covered[task], tasks.count(task), chance) for task in ("support", "documents")}
    planned = [_planned(Kind.COVERED, each, task, chance) for task, each_of in drawn.items() for each in each_of]
    planned += [_planned(Kind.UNCOVERED, each, None, chance) for each in _draw(texts.uncovered, uncovered, chance)]
    planned += [_planned(Kind.PRIVATE, each, None, chance) for each in _draw(texts.private, private, chance)]
    chance.shuffle(planned)
    return tuple(planned)


def _draw(pool: Sequence[Labelled], count: int, chance: random.Random) -> list[Labelled]:
    drawn: list[Labelled] = []
    while len(drawn) < count:
        drawn += chance.sample(pool, min(len(pool), count - len(drawn)))
    return drawn


def _planned(kind: Kind, drawn: Labelled, task: str | None, chance: random.Random) -> Planned:
    may_name = task if kind is Kind.COVERED else PRIVATE_TASK if kind is Kind.PRIVATE else None
    is_named = chance.random() < NAMED_SHARE
    wishes = ON_BUDGET[kind.value]
    return Planned(
        kind=kind,
        text=drawn.text,
        label=drawn.label,
        true_task=task or (PRIVATE_TASK if drawn.label is not None else None),
        tenant=chance.choice(TENANTS),
        task=may_name if is_named and may_name is not None else AUTO,
        privacy=Privacy.LOCAL_ONLY if kind is Kind.PRIVATE else Privacy.ANY,
        on_budget=chance.choices(list(wishes), list(wishes.values()))[0],
        output_tokens_max=TEXT_TOKENS_MAX if drawn.label is None else LABEL_TOKENS_MAX,
    )
