"""The numbers of the report, from a small run whose outcome is known."""

import json
from dataclasses import replace
from uuid import UUID

import pytest

from tiermesh_cli.showcase.judging import make_report
from tiermesh_cli.showcase.laws import ORG_LIFETIME, Bill, Sums
from tiermesh_cli.showcase.printed import print_report
from tiermesh_cli.showcase.report import Evidence, Report, Sent, Settings
from tiermesh_cli.showcase.workload import Kind, Planned
from tiermesh_contracts.budget import CountedScope, LedgerEntry, LedgerKind, Window
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import OnBudget, Privacy
from tiermesh_contracts.results import InferenceResult, ResultReason, Status, Tier

SETTINGS = Settings(seed=1, limit_usd_nanos=100, raised_usd_nanos=400, all_frontier_usd_nanos=900)
IDS = [new_request_id(1) for _ in range(7)]
COVERED, UNCOVERED, PRIVATE = Kind.COVERED, Kind.UNCOVERED, Kind.PRIVATE


def planned(kind: Kind, label: str | None) -> Planned:
    privacy = Privacy.LOCAL_ONLY if kind is PRIVATE else Privacy.ANY
    return Planned(kind, f"text of {kind}", label, None, "acme", "auto", privacy, OnBudget.DEFER, 16)


def ended(
    number: int, tier: Tier, reason: ResultReason, label: str | None = None, **fields: object
) -> InferenceResult:
    status = Status.REFUSED if tier is Tier.NONE else Status.ANSWERED
    return InferenceResult(
        request_id=IDS[number], tenant="acme", status=status, tier=tier, reason=reason, label=label, **fields
    )


RESULTS = [
    ended(0, Tier.LOCAL, ResultReason.CONFIDENT, "a"),
    ended(1, Tier.LOCAL, ResultReason.CONFIDENT, "b"),
    ended(2, Tier.LOCAL, ResultReason.BUDGET_BEST_LOCAL, "a", degraded=True),
    ended(3, Tier.FRONTIER, ResultReason.FRONTIER),
    ended(4, Tier.FRONTIER, ResultReason.FRONTIER),
    ended(5, Tier.NONE, ResultReason.BUDGET_REFUSED),
    ended(6, Tier.NONE, ResultReason.PRIVATE_AND_NOVEL),
]
SENT = [
    Sent(planned(COVERED, "a"), IDS[0], 10.0),
    Sent(planned(COVERED, "a"), IDS[1], 20.0),
    Sent(planned(COVERED, "a"), IDS[2], 30.0),
    Sent(planned(COVERED, "a"), IDS[3], 400.0),
    Sent(planned(UNCOVERED, None), IDS[4], 500.0),
    Sent(planned(UNCOVERED, None), IDS[5], 5.0),
    Sent(planned(PRIVATE, None), IDS[6], 6.0),
]


def ledger() -> list[LedgerEntry]:
    def entry(seq: int, kind: LedgerKind, amount: int, limit: int, before: int = 0, freed: int = 0, att: str = ""):
        scope = CountedScope(
            scope="org",
            window=Window.LIFETIME,
            window_id="all",
            limit_usd_nanos=limit,
            counted_before_usd_nanos=before,
        )
        return LedgerEntry(
            org="demo",
            epoch=1,
            seq=seq,
            kind=kind,
            at_ms=0,
            att=att or None,
            amount_usd_nanos=amount,
            freed_usd_nanos=freed,
            scopes=(scope,),
        )

    return [
        LedgerEntry(org="demo", epoch=1, seq=0, kind=LedgerKind.EPOCH_OPENED, at_ms=0, run_id="r"),
        entry(1, LedgerKind.LIMIT_SET, 0, 100),
        entry(2, LedgerKind.HELD, 90, 100, att="x"),
        entry(3, LedgerKind.SETTLED, 40, 100, freed=90, att="x"),
        entry(4, LedgerKind.LIMIT_SET, 0, 400),
        entry(5, LedgerKind.HELD, 90, 400, before=40, att="y"),
        entry(6, LedgerKind.SETTLED, 30, 400, freed=90, att="y"),
    ]


EVIDENCE = Evidence(
    bill=Bill(70, ("x", "y")),
    arrived=["text of covered", "text of uncovered"],
    arrived_unseen=0,
    store={ORG_LIFETIME: Sums(posted=70)},
    store_read_ms=1_000,
    ledger=ledger(),
    results={result.request_id: result for result in RESULTS},
    duplicated=2,
    conflicting=0,
    escalated=frozenset(IDS[2:6]),
    deferred=frozenset([IDS[4]]),
)


def report(evidence: Evidence = EVIDENCE, sent: list[Sent] = SENT) -> Report:
    return make_report(sent, evidence, SETTINGS, 12.34)


def test_every_number_of_the_json_object():
    """Whoever reads the last line of `demo --json` relies on these names and on what they count."""
    found = json.loads(json.dumps(report().as_json()))
    expected = {
        "simulated": True,
        "seed": 1,
        "requests": 7,
        "terminal": 7,
        "lost": 0,
        "conflicting": 0,
        "duplicated": 2,
        "by_tier": {"local": 3, "frontier": 2, "none": 2},
        "by_status": {"answered": 5, "refused": 2, "failed": 0, "expired": 0},
        "deferred_then_answered": 1,
        "degraded": 1,
        "refused": 1,
        "accuracy_local": 0.6667,
        "accuracy_local_confident": 0.5,
        "escalated_share_covered": 0.5,
        "escalated_share_uncovered": 1.0,
        "limit_at_first_usd_nanos": 100,
        "limit_usd_nanos": 400,
        "raised_usd_nanos": 400,
        "posted_usd_nanos": 70,
        "held_usd_nanos": 0,
        "suspended_usd_nanos": 0,
        "bill_usd_nanos": 70,
        "saved_usd_nanos": 830,
        "private_requests_sent_out": 0,
        "breaches": [],
        "elapsed_s": 12.3,
    }
    assert {name: found[name] for name in expected} == expected
    assert found["latency_ms"]["local"] == {"p50": 20.0, "p95": 30.0, "p99": 30.0}
    assert found["latency_ms"]["frontier"] == {"p50": 400.0, "p95": 500.0, "p99": 500.0}
    assert found["laws"] == dict.fromkeys(("I1", "I2", "I3", "I4", "I5", "drained", "private"), True)


@pytest.mark.parametrize(
    ("change", "law"),
    [
        ({"store": {ORG_LIFETIME: Sums(posted=71)}}, "I1"),
        ({"results": {r.request_id: r for r in RESULTS[1:]}}, "I4"),
        ({"conflicting": 1}, "I4"),
        ({"bill": Bill(71, ("x", "y"))}, "I5"),
        ({"arrived": ["a text of private inside"]}, "private"),
        ({"arrived_unseen": 1}, "private"),
    ],
)
def test_a_broken_law_is_named(change: dict[str, object], law: str):
    """A breach that does not reach the report does not reach the exit status either."""
    found = report(replace(EVIDENCE, **change))
    assert not found.laws[law]
    assert any(line.startswith(f"{law}: ") for line in found.breaches)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"deferred": frozenset()}, "deferred"),
        ({"results": {r.request_id: r for r in (*RESULTS[:2], *RESULTS[3:])}}, "best local answer"),
        ({"results": {r.request_id: r for r in RESULTS if r.reason != "budget_refused"}}, "refused"),
        ({"ledger": ledger()[:4]}, "raised limit"),
    ],
)
def test_what_a_run_did_not_show_is_said(change: dict[str, object], words: str):
    """A demo in which money was never short proves nothing about money, and must not pass."""
    assert any(words in line for line in report(replace(EVIDENCE, **change)).breaches)


def test_the_limit_is_the_one_in_force_at_the_end():
    """Spend above the first limit and below the raised one would look like a limit that did not hold."""
    assert report().money.limit_usd_nanos == 400
    unraised = report(replace(EVIDENCE, ledger=ledger()[:4])).money
    assert (unraised.limit_at_first_usd_nanos, unraised.limit_usd_nanos) == (100, 100)


def test_a_result_after_its_producer_gave_up_is_said():
    """It counts as not lost, but nobody read it."""
    late = [*SENT[:-1], Sent(SENT[-1].planned, IDS[6], None)]
    assert any("stopped waiting" in line for line in report(sent=late).breaches)


def test_results_of_others_do_not_count():
    """Only the run's own requests may fill its numbers."""
    stranger = UUID(int=IDS[0].int ^ 1)
    result = RESULTS[0].model_copy(update={"request_id": stranger})
    found = report(replace(EVIDENCE, results={**EVIDENCE.results, stranger: result}))
    assert found.traffic.terminal == 7


def test_the_printed_report_says_that_the_frontier_was_simulated(capsys):
    """Made-up answers and latencies would be taken for those of a real model."""
    print_report(report())
    text = capsys.readouterr().out
    assert text.startswith("The frontier was SIMULATED")
    assert text.count("✓") == 7
    assert "every law held" in text


def test_the_printed_report_shows_a_broken_law(capsys):
    """A tick beside a broken law is worse than no report."""
    print_report(report(replace(EVIDENCE, conflicting=1)))
    text = capsys.readouterr().out
    assert text.count("✗ BROKEN") == 1
    assert "every law held" not in text
