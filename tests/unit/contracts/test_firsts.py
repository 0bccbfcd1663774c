"""The rule of the terminal result."""

from typing import Any

import pytest
from pydantic import ValidationError

from tiermesh_contracts.firsts import FirstResults
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.results import InferenceResult
from tiermesh_contracts.routing import Candidate, RoutingDecision

ID = new_request_id()


def result(**fields: Any) -> InferenceResult:
    said = {"request_id": ID, "tenant": "acme", "status": "answered", "tier": "local", "reason": "confident"}
    return InferenceResult(**said | fields)


def test_the_first_wins_and_repeats_are_counted_by_kind() -> None:
    """A producer would act twice, or on the second of two different answers."""
    firsts = FirstResults()
    assert firsts.offer(result(label="a"))
    assert not firsts.offer(result(label="a", timings_ms={"router": 3}, detail="again"))
    assert not firsts.offer(result(label="b"))
    assert not firsts.offer(result(label="a", cost_usd_nanos=1))
    assert (firsts.duplicated, firsts.conflicting) == (1, 2)
    first = firsts.get("acme", ID)
    assert first is not None
    assert first.label == "a"


def test_another_tenant_or_redrive_is_another_request() -> None:
    """Ids are chosen by producers: a stranger's answer under the same id would take mine away."""
    firsts = FirstResults()
    offers = (result(), result(tenant="other"), result(redrive=1), result(request_id=new_request_id()))
    assert all(firsts.offer(one) for one in offers)
    assert firsts.get("nobody", ID) is None


def test_memory_is_bounded_and_the_latest_are_kept() -> None:
    """A client that runs for months would grow until it is killed."""
    firsts = FirstResults(size_max=3)
    results = [result(request_id=new_request_id()) for _ in range(10)]
    assert all(firsts.offer(one) for one in results)
    assert [firsts.get("acme", one.request_id) is None for one in results] == [True] * 7 + [False] * 3


def test_a_result_survives_the_way_through_bytes() -> None:
    """The claim store keeps the bytes of the first: who comes second writes them again."""
    said = result(
        confidence=0.1 + 0.2,
        usage={"input_tokens": 0, "output_tokens": 0},
        timings_ms={"b": 1, "a": 2},
        routing={"route": "local", "reason": "in_scope", "score": 1e-9},
    )
    again = InferenceResult.from_bytes(said.to_bytes(), "forbid")
    assert again == said
    assert again.to_bytes() == said.to_bytes()
    assert again.usage is not None
    assert again.usage.input_tokens == 0


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(wrong: float) -> None:
    """JSON has no such number: it would be written as null, and every reader would refuse the record."""
    with pytest.raises(ValidationError):
        result(confidence=wrong)
    with pytest.raises(ValidationError):
        RoutingDecision(route="local", reason="in_scope", score=wrong)
    with pytest.raises(ValidationError):
        Candidate(task="support", score=wrong, threshold=0.5)
