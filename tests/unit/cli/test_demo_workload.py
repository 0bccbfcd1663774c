"""Which requests the demo sends, and what it expects them to cost."""

from collections import Counter

import pytest

from tiermesh_cli.showcase.config import RATES, write_config
from tiermesh_cli.showcase.costs import all_frontier_usd_nanos, escalations_usd_nanos, limits_usd_nanos
from tiermesh_cli.showcase.models import demo_texts
from tiermesh_cli.showcase.workload import Kind, plan_requests
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import AUTO, OnBudget, Privacy

TEXTS = demo_texts()
LABELS = {task: sorted({each.label for each in pool if each.label}) for task, pool in TEXTS.covered.items()}


def test_equal_seeds_plan_equal_requests():
    """Otherwise a run that broke a law could not be run again."""
    assert plan_requests(500, TEXTS, 3) == plan_requests(500, TEXTS, 3)
    assert plan_requests(500, TEXTS, 3) != plan_requests(500, TEXTS, 4)


def test_the_mix_is_the_one_announced():
    """The shares of the report would mean nothing if a sort of request were missing."""
    planned = plan_requests(500, TEXTS, 0)
    assert Counter(each.kind for each in planned) == {Kind.COVERED: 330, Kind.UNCOVERED: 130, Kind.PRIVATE: 40}
    wishes = Counter(each.on_budget for each in planned)
    assert wishes[OnBudget.DEFER] > wishes[OnBudget.BEST_LOCAL] > wishes[OnBudget.REFUSE] > 0
    assert len({each.tenant for each in planned}) > 1
    named = sum(each.task != AUTO for each in planned)
    assert 0 < named < len(planned) / 3
    private = [each for each in planned if each.kind is Kind.PRIVATE]
    assert {each.label is None for each in private} == {True, False}


def test_only_private_requests_may_not_leave():
    """A private text sent with privacy `any` would go out by the demo's own fault."""
    for each in plan_requests(500, TEXTS, 0):
        assert (each.privacy is Privacy.LOCAL_ONLY) == (each.kind is Kind.PRIVATE)


def test_private_texts_stand_in_no_other_text():
    """The search for private texts at the frontier would find them in public ones."""
    public = [each.text for pool in (*TEXTS.covered.values(), TEXTS.uncovered) for each in pool]
    everything = "\x00".join(public)
    assert not [each.text for each in TEXTS.private if each.text in everything]


@pytest.mark.parametrize("count", [100, 101, 5_000])
def test_any_count_is_planned_whole(count: int):
    """Rounding, or a pool that is used up, would change how many requests are sent."""
    planned = plan_requests(count, TEXTS, 1)
    assert len(planned) == count
    assert all(each.request(new_request_id()).text == each.text for each in planned[:100])


def test_texts_repeat_only_once_all_were_drawn():
    """Equal texts side by side make the sample smaller than it says."""
    uncovered = [each.text for each in plan_requests(500, TEXTS, 2) if each.kind is Kind.UNCOVERED]
    assert len(set(uncovered)) == len(uncovered)


def test_the_limit_is_short_of_the_want_and_the_raise_covers_it():
    """A limit that never binds, or a raise that does not help, shows neither waiting nor its end."""
    planned = plan_requests(500, TEXTS, 7)
    want = escalations_usd_nanos(planned, RATES, LABELS)
    limit, raised = limits_usd_nanos(want)
    assert 0.35 * want < limit < 0.55 * want
    assert raised > 1.5 * want
    assert want < all_frontier_usd_nanos(planned, RATES, LABELS)


def test_the_expected_cost_is_exact_for_a_known_call():
    """The comparison with the all-frontier bill would be made up."""
    planned = next(each for each in plan_requests(100, TEXTS, 7) if each.kind is Kind.UNCOVERED)
    input_tokens = 3 + -(-len(planned.text.encode()) // 4)
    assert all_frontier_usd_nanos([planned], RATES, LABELS) == input_tokens * 3_000 + 47 * 15_000


def test_the_configuration_is_replaced_whole(tmp_path):
    """The guard reads the file while the demo raises the limit: half a file would be refused, or obeyed."""
    path = tmp_path / "mesh.toml"
    assert write_config(path, "http://127.0.0.1:1", 61_000_000) == 61_000_000
    first = path.stat().st_ino
    write_config(path, "http://127.0.0.1:1", 244_000_000)
    assert path.stat().st_ino != first
    assert "limit_usd = 0.244" in path.read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["mesh.toml"]
