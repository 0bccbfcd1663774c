"""Each service is killed in turn under load and started again: everything in flight still ends once."""

import random
from pathlib import Path

import pytest

from delivery.killing import kill_in_turn, run_under_load, workload, write_models

SEED = 20261124


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


async def test_everything_in_flight_ends_once(tmp_path, models):
    """Would break if an offset were committed before its effect, a call were made twice on one reservation, or
    a service could not take up what its predecessor left."""
    requests = workload(random.Random(SEED), 300)
    seen = await run_under_load(tmp_path, models, requests, kill_in_turn, seed=SEED)
    summary = f"seed {SEED}: {seen}"
    assert {str(r.request_id) for r in requests} == seen.acknowledged == set(seen.results), summary
    assert seen.conflicting == 0, summary
    assert seen.books["held"] == 0, summary
    assert seen.bill.total_usd_nanos <= seen.books["posted"] + seen.books["suspended"], summary
    assert len(seen.bill.calls) == len(set(seen.bill.calls))
