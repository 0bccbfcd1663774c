"""What the end of a call says, row by row of the table."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.escalation import LARGE, NOW_MS, RATES, USAGE, answered, completion, escalation
from fakes.escalation import grant as granted
from tiermesh_contracts.budget import LIMIT_USD_NANOS_MAX
from tiermesh_contracts.escalations import Evidence, Outcome
from tiermesh_contracts.results import Usage
from tiermesh_escalation.decide import conclude, judge_attempt, read_fence, read_seen
from tiermesh_escalation.model import Ending, FenceState, Seen, Unsent

REJECTED = {400, 401, 403, 404, 413, 422, 429}
SURROGATE = json.loads('"\\ud800"')


def usage(**changes: Any) -> dict[str, Any]:
    return {**USAGE, "total_tokens": None, **changes}


def test_an_answer_with_usage_is_completed_at_the_reserved_rates() -> None:
    """The settled amount would not be the provider's price."""
    finding = read_seen(answered(200, completion()), RATES)
    assert finding.evidence is Evidence.COMPLETED
    assert finding.usage == Usage(input_tokens=100, output_tokens=10)
    assert finding.cost_usd_nanos == 100 * 3_000 + 10 * 15_000
    assert (finding.output, finding.finish_reason, finding.response_id) == ("it is late", "stop", "chatcmpl-1")
    assert finding.detail == ""


def test_cached_and_reasoning_tokens_are_read_where_the_provider_puts_them() -> None:
    """Cached input would be posted at the full price, and no reasoning be seen."""
    spent = usage(prompt_tokens_details={"cached_tokens": 40}, completion_tokens_details={"reasoning_tokens": 4})
    finding = read_seen(answered(200, completion(usage=spent)), RATES)
    assert finding.usage == Usage(input_tokens=100, output_tokens=10, cached_input_tokens=40, reasoning_tokens=4)
    assert finding.cost_usd_nanos == 60 * 3_000 + 40 * 300 + 10 * 15_000


def test_zero_usage_is_zero() -> None:
    """A free answer would count as one of unknown cost, or the other way round."""
    spent = usage(prompt_tokens=0, completion_tokens=0)
    finding = read_seen(answered(200, completion(usage=spent)), RATES)
    assert (finding.evidence, finding.cost_usd_nanos) == (Evidence.COMPLETED, 0)


@pytest.mark.parametrize("details", [None, {}, {"cached_tokens": None}])
def test_details_that_say_nothing_are_zero(details: Any) -> None:
    """Providers without caching would never settle."""
    spent = usage(prompt_tokens_details=details)
    assert read_seen(answered(200, completion(usage=spent)), RATES).evidence is Evidence.COMPLETED


@pytest.mark.parametrize("content", ["", None])
def test_an_empty_answer_with_usage_is_an_answer(content: Any) -> None:
    """It was paid for and said what it said; asking elsewhere would pay twice."""
    finding = read_seen(answered(200, completion(content)), RATES)
    assert (finding.evidence, finding.output) == (Evidence.COMPLETED, "")


@pytest.mark.parametrize(
    "spent",
    [
        None,
        {},
        [],
        "many",
        usage(prompt_tokens=None),
        usage(completion_tokens=None),
        usage(prompt_tokens=-1),
        usage(prompt_tokens="100"),
        usage(prompt_tokens=True),
        usage(prompt_tokens=1.5),
        usage(prompt_tokens=10**400),
        usage(prompt_tokens_details={"cached_tokens": 101}),
        usage(prompt_tokens_details={"cached_tokens": -1}),
        usage(completion_tokens_details={"reasoning_tokens": 11}),
        usage(total_tokens=111),
    ],
)
def test_an_answer_without_readable_usage_is_kept_and_its_cost_unknown(spent: Any) -> None:
    """Missing usage would be taken for zero, or a paid answer thrown away."""
    finding = read_seen(answered(200, completion(usage=spent)), RATES)
    assert (finding.evidence, finding.usage, finding.cost_usd_nanos) == (Evidence.UNKNOWN, None, None)
    assert finding.output == "it is late"


def test_a_cost_that_the_books_cannot_hold_is_unknown() -> None:
    """The store's numbers are exact only to 2^53: the books would be off without a word."""
    dear = RATES.model_copy(update={"output_usd_nanos_per_mtok": LIMIT_USD_NANOS_MAX})
    spent = usage(completion_tokens=2_000_000)
    assert read_seen(answered(200, completion(usage=spent)), dear).evidence is Evidence.UNKNOWN


def test_an_error_with_status_200_is_no_answer() -> None:
    """A body with an error would be delivered as an empty answer and posted as free."""
    error = {"error": {"message": "private text", "code": "overloaded"}}
    finding = read_seen(answered(200, error), RATES)
    assert (finding.evidence, finding.output) == (Evidence.UNKNOWN, None)
    assert finding.detail == "status 200 with an error, overloaded"
    paid = read_seen(answered(200, {**error, "usage": USAGE}), RATES)
    assert (paid.evidence, paid.output, paid.cost_usd_nanos) == (Evidence.COMPLETED, None, 450_000)


@pytest.mark.parametrize("body", [None, [], "text", 1, {}, {"choices": []}, {"choices": [1]}, {"choices": {}}])
def test_a_200_that_is_no_completion_is_of_unknown_cost(body: Any) -> None:
    """A gateway's page would be read as an answer."""
    finding = read_seen(answered(200, body), RATES)
    assert (finding.evidence, finding.output) == (Evidence.UNKNOWN, None)


def test_every_other_status_is_rejected_only_where_it_is_known_to_be_unbilled() -> None:
    """Money for a call that may be billed would be freed and spent again."""
    for status in set(range(100, 600)) - {200}:
        finding = read_seen(answered(status, {"error": {"message": "secret", "type": "some_error"}}), RATES)
        assert finding.evidence is (Evidence.REJECTED if status in REJECTED else Evidence.UNKNOWN), status
        assert (finding.output, finding.cost_usd_nanos) == (None, None)
        assert finding.detail == f"status {status}, some_error"


@pytest.mark.parametrize("ending", [Ending.TIMED_OUT, Ending.CUT, Ending.TOO_LARGE])
@pytest.mark.parametrize("status", [None, 200, 429, 500])
def test_a_call_without_its_whole_response_is_of_unknown_cost(ending: Ending, status: int | None) -> None:
    """A provider bills what it worked on, also when nobody waits for it any more."""
    finding = read_seen(Seen(ending, status, detail="why"), RATES)
    assert (finding.evidence, finding.output, finding.detail) == (Evidence.UNKNOWN, None, f"{ending}: why")


def test_a_call_that_never_connected_was_not_sent() -> None:
    """Its money would stay suspended although nothing left."""
    assert read_seen(Seen(Ending.NOT_CONNECTED, detail="refused"), RATES).evidence is Evidence.NOT_SENT


@pytest.mark.parametrize(
    ("state", "evidence"),
    [
        (FenceState.VOID, Evidence.NOT_SENT),
        (FenceState.FOREIGN_EPOCH, Evidence.UNKNOWN),
        (FenceState.LEASE_OVER, Evidence.UNKNOWN),
        (FenceState.FINISHED, None),
        (FenceState.FENCED, None),
        (FenceState.HELD, None),
    ],
)
@pytest.mark.parametrize("unsent", [None, Unsent("why"), Unsent("why", helpless=True)])
def test_only_a_void_fence_frees_money(state: FenceState, evidence: Evidence | None, unsent: Unsent | None) -> None:
    """An attempt that another process may have paid for would be released."""
    finding = read_fence(state, unsent)
    assert (finding.evidence if finding else None) is evidence
    if finding is not None:
        assert finding.helpless is (unsent is not None and unsent.helpless)


def test_what_no_record_can_carry_is_replaced() -> None:
    """Half a surrogate pair in an answer would make its outcome impossible to write, and the money stay held."""
    finding = read_seen(answered(200, completion(f"a{SURROGATE}b", id=SURROGATE)), RATES)
    assert (finding.output, finding.response_id) == ("a?b", None)
    assert Outcome.from_bytes(conclude(granted(), finding, NOW_MS).to_bytes()).output == "a?b"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "usage", "error", "id", "code", "prompt_tokens"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(body=JSON, spent=JSON | st.just(USAGE), status=st.sampled_from([200, 400, 500]))
def test_whatever_a_provider_answers_has_an_outcome(body: Any, spent: Any, status: int) -> None:
    """A call was made and paid, and no record of it could be written."""
    shaped = {**body, "usage": spent} if isinstance(body, dict) else body
    about = granted(escalation())
    finding = read_seen(answered(status, shaped), about.reservation.rates)
    written = Outcome.from_bytes(conclude(about, finding, NOW_MS).to_bytes())
    assert written.evidence is finding.evidence
    assert (written.cost_usd_nanos is None) is (finding.evidence is not Evidence.COMPLETED)
    assert judge_attempt(about.escalation, LARGE, finding, NOW_MS) == written.verdict
