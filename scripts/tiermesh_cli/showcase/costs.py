"""What the frontier would cost, estimated before anything is sent: it sets the demo's limit and the comparison."""

from collections.abc import Mapping, Sequence
from typing import Final

from tiermesh_cli.showcase.workload import Kind, Planned
from tiermesh_contracts.budget import Rates
from tiermesh_contracts.results import Usage

BYTES_PER_TOKEN: Final = 4
MESSAGE_TOKENS: Final = 3
INSTRUCTION_BYTES: Final = 80
"""Of the sentence around a list of labels."""
TEXT_ANSWER_TOKENS: Final = 47
"""A free answer of the simulated frontier within 128 tokens: the mean over the uncovered texts."""

COVERED_ESCALATED: Final = 0.13
UNCOVERED_ESCALATED: Final = 0.74
UNCOVERED_WITH_LABELS: Final = 0.26
"""Measured with the bundled models on the bundled test texts: which share asks for the frontier, and which share
of the uncovered ones does so because a small model took them for its own and was not sure."""

ROUND_TO_USD_NANOS: Final = 1_000_000
LIMIT_SHARE: Final = 0.45
RAISED_SHARE: Final = 2.0

Labels = Mapping[str, Sequence[str]]
"""By task."""


def all_frontier_usd_nanos(planned: Sequence[Planned], rates: Rates, labels: Labels) -> int:
    """The bill if every request had gone to the frontier, private ones too, its task's labels with it."""
    return sum(_call_usd_nanos(each, rates, labels, each.true_task) for each in planned)


def escalations_usd_nanos(planned: Sequence[Planned], rates: Rates, labels: Labels) -> int:
    """What the escalations of these requests will cost, to the accuracy of the shares above."""
    total = 0.0
    for each in planned:
        if each.kind is Kind.COVERED:
            total += COVERED_ESCALATED * _call_usd_nanos(each, rates, labels, each.true_task)
        elif each.kind is Kind.UNCOVERED:
            plain = _call_usd_nanos(each, rates, labels, None)
            with_labels = _call_usd_nanos(each, rates, labels, max(labels, key=lambda task: len(labels[task])))
            total += UNCOVERED_ESCALATED * (plain + UNCOVERED_WITH_LABELS * (with_labels - plain))
    return round(total)


def limits_usd_nanos(escalations: int) -> tuple[int, int]:
    """The limit at first, a little under half of what will be wanted, and the raised one.

    The raised limit is twice the whole want: beside what is spent, it has to carry what is held for the calls
    in progress, and a hold is several times the price of its call.
    """
    return _rounded(escalations * LIMIT_SHARE), _rounded(escalations * RAISED_SHARE)


def _rounded(nanos: float) -> int:
    return max(1, round(nanos / ROUND_TO_USD_NANOS)) * ROUND_TO_USD_NANOS


def _call_usd_nanos(planned: Planned, rates: Rates, labels: Labels, task: str | None) -> int:
    input_tokens = MESSAGE_TOKENS + _tokens(len(planned.text.encode()))
    if task is not None:
        listed = sum(len(label.encode()) + 2 for label in labels[task])
        input_tokens += MESSAGE_TOKENS + _tokens(INSTRUCTION_BYTES + listed)
    output_tokens = TEXT_ANSWER_TOKENS if planned.label is None else _tokens(len(planned.label.encode()))
    return rates.cost_usd_nanos(Usage(input_tokens=input_tokens, output_tokens=output_tokens))


def _tokens(size_bytes: int) -> int:
    return -(-size_bytes // BYTES_PER_TOKEN)
