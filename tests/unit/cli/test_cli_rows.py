from pathlib import Path

import pytest

from tiermesh_cli.send_rows import RowInvalid, read_rows
from tiermesh_cli.send_summary import Sent, summarise
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import OnBudget, Privacy
from tiermesh_contracts.results import InferenceResult, ResultReason, Status, Tier

ID = str(new_request_id())


def rows_file(folder: Path, *lines: str) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_row_goes_before_the_defaults(tmp_path: Path) -> None:
    """Breaks if a file's own tenant or privacy is overridden by the command line: text could leave."""
    path = rows_file(
        tmp_path,
        '{"text": "one", "tenant": "acme", "privacy": "local_only", "label": "a"}',
        "",
        '{"input": "two", "on_budget": "refuse", "deadline_ms": 900}',
    )
    one, two = read_rows(path, {"tenant": "default", "privacy": "any"})
    assert (one.request.tenant, one.request.privacy, one.label) == ("acme", Privacy.LOCAL_ONLY, "a")
    assert (two.request.tenant, two.request.privacy, two.label) == ("default", Privacy.ANY, None)
    assert (two.request.on_budget, two.request.deadline_ms) == (OnBudget.REFUSE, 900)


def test_chat_messages_are_an_input(tmp_path: Path) -> None:
    """Breaks if a conversation, which the contracts allow, cannot be sent from a file."""
    (row,) = read_rows(rows_file(tmp_path, '{"input": [{"role": "user", "content": "hi"}]}'), {"tenant": "t"})
    assert row.request.text == "hi"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ("{}", "text (or input) is missing"),
        ('{"text": ""}', "input is empty"),
        ('{"text": "x", "tennant": "t"}', "unknown field 'tennant'"),
        ('{"text": "x", "input": "y"}', "give text or input, not both"),
        ('{"text": "x", "privacy": "sure"}', "privacy: "),
        ('{"text": "x", "request_id": "1"}', "request_id: "),
        ('{"text": "x", "label": 3}', "label: not text"),
        ('{"text": "x", "reply_to": "mesh.ledger.v1"}', "is not a result topic"),
    ],
)
def test_a_bad_row_names_its_line(tmp_path: Path, line: str, why: str) -> None:
    """Breaks if somebody with a bad file of 10,000 rows is not told which one, or what is wrong with it."""
    with pytest.raises(RowInvalid) as caught:
        read_rows(rows_file(tmp_path, '{"text": "fine"}', line), {"tenant": "t"})
    assert "rows.jsonl:2: " in str(caught.value)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_id_twice_in_a_file_is_an_error(tmp_path: Path) -> None:
    """Breaks if two rows share one result, and the summary then counts a request that was never answered."""
    line = f'{{"text": "x", "request_id": "{ID}"}}'
    with pytest.raises(RowInvalid, match=r"rows\.jsonl:2: request_id .* is that of line 1"):
        read_rows(rows_file(tmp_path, line, line), {"tenant": "t"})


def test_the_summary_counts_lost_apart(tmp_path: Path) -> None:
    """Breaks if a request without a result disappears from the numbers, or counts as a wrong answer."""
    path = rows_file(tmp_path, *(f'{{"text": "{n}", "label": "a"}}' for n in range(4)))
    right, wrong, refused, lost = read_rows(path, {"tenant": "t"})

    def result(row: object, status: Status, label: str | None) -> InferenceResult:
        tier = Tier.NONE if label is None else Tier.LOCAL
        return InferenceResult(
            request_id=right.request.request_id,
            tenant="t",
            status=status,
            tier=tier,
            reason=ResultReason.CONFIDENT,
            label=label,
        )

    sent = [
        Sent(right, result(right, Status.ANSWERED, "a"), 10.0),
        Sent(wrong, result(wrong, Status.ANSWERED, "b"), 30.0),
        Sent(refused, result(refused, Status.REFUSED, None), 5.0),
        Sent(lost, None, 90_000.0),
    ]
    summary = summarise(sent, duplicated=1, conflicting=0, elapsed_s=2.0)
    assert (summary["requests"], summary["terminal"], summary["lost"]) == (4, 3, 1)
    assert summary["by_status"] == {"answered": 2, "refused": 1}
    assert summary["by_tier"] == {"local": 2, "none": 1}
    assert (summary["labelled"], summary["accuracy"]) == (2, 0.5)
    assert summary["latency_ms"]["local"] == {"p50": 10.0, "p95": 30.0, "p99": 30.0}
    assert summary["requests_per_s"] == 1.5
