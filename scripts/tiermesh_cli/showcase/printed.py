"""The report for people."""

from collections.abc import Mapping

from tiermesh_cli.output import print_table
from tiermesh_cli.percentiles import Percentiles
from tiermesh_cli.showcase.report import LAWS, Report
from tiermesh_contracts.budget import USD_NANOS
from tiermesh_contracts.results import ResultReason

MEANINGS: Mapping[ResultReason, str] = {
    ResultReason.CONFIDENT: "a small model was sure",
    ResultReason.FRONTIER: "the (simulated) frontier, paid from the budget",
    ResultReason.BEST_LOCAL: "may not leave: the best local answer, marked degraded",
    ResultReason.BUDGET_BEST_LOCAL: "no money: the best local answer, marked degraded",
    ResultReason.BUDGET_REFUSED: "no money: refused, as the request wished",
    ResultReason.BUDGET_DEADLINE: "no money before the deadline",
    ResultReason.PRIVATE_AND_NOVEL: "may not leave, and no model of ours covers it",
}


def print_report(report: Report) -> None:
    print("The frontier was SIMULATED: its answers, its latency and its dollars are made up; the rest is real.\n")
    _print_traffic(report)
    _print_quality(report)
    _print_money(report)
    _print_laws(report)
    print(_sentence(report))


def _print_traffic(report: Report) -> None:
    traffic = report.traffic
    kinds = ", ".join(f"{count} {kind}" for kind, count in traffic.by_kind.items())
    rows = [(reason, str(n), MEANINGS.get(ResultReason(reason), "")) for reason, n in traffic.by_reason.items()]
    rows.append(("deferred, then answered", str(traffic.deferred_then_answered), f"of {traffic.deferred} deferred"))
    print_table(("ended as", "requests", "which means"), rows, title=f"{traffic.requests} requests: {kinds}")


def _print_quality(report: Report) -> None:
    quality, tiers = report.quality, report.traffic.by_tier
    local = f"{_percent(quality.accuracy_local)} of {quality.labelled_local} labelled"
    sure = f"{_percent(quality.accuracy_local_confident)} of {quality.labelled_local_confident} labelled"
    rows = [(tier, str(tiers[tier]), *_latency(each)) for tier, each in quality.latency_ms.items()]
    print_table(("answered by", "requests", "p50 ms", "p95 ms", "p99 ms"), rows, title="Who answered, and how fast")
    facts = [
        ("right among all local answers", local),
        ("right among those it was sure of", sure),
        ("asked for the frontier: covered texts", _percent(quality.escalated_share_covered)),
        ("asked for the frontier: uncovered texts", _percent(quality.escalated_share_uncovered)),
        ("private requests that left", str(report.private_requests_sent_out)),
    ]
    print_table(("measured", ""), facts, title="How good")


def _print_money(report: Report) -> None:
    money = report.money
    rows = [
        ("limit at first", _usd(money.limit_at_first_usd_nanos)),
        ("raised half-way to", _usd(money.raised_usd_nanos)),
        ("posted", _usd(money.posted_usd_nanos)),
        ("held", _usd(money.held_usd_nanos)),
        ("suspended", _usd(money.suspended_usd_nanos)),
        (f"the frontier's own bill, {money.frontier_calls} calls", _usd(money.bill_usd_nanos)),
        ("estimate had everything gone there", _usd(money.all_frontier_usd_nanos)),
        ("saved", _usd(money.saved_usd_nanos)),
    ]
    print_table(("sum", "US dollars"), rows, title="Money")


def _print_laws(report: Report) -> None:
    rows = [("✓" if report.laws[law] else "✗ BROKEN", law, meaning) for law, meaning in LAWS.items()]
    print_table(("", "law", "says"), rows, title="Laws")


def _sentence(report: Report) -> str:
    traffic, money = report.traffic, report.money
    local = traffic.by_tier["local"] / max(traffic.requests, 1)
    verdict = "every law held" if not report.breaches else "NOT everything held, see below"
    return (
        f"{traffic.terminal} of {traffic.requests} requests ended with one result each in {report.elapsed_s:g} s, "
        f"{local:.0%} of them answered at home; the simulated frontier cost {_usd(money.posted_usd_nanos)}, "
        f"{_usd(money.saved_usd_nanos)} less than asking it everything; {verdict}."
    )


def _usd(nanos: int) -> str:
    """Six digits everywhere: the sums are small, and stand below each other."""
    return f"${nanos / USD_NANOS:,.6f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _latency(each: Percentiles) -> tuple[str, str, str]:
    p50, p95, p99 = ("-" if value is None else f"{value:,.0f}" for value in (each.p50, each.p95, each.p99))
    return p50, p95, p99
