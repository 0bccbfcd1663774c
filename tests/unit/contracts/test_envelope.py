"""Headers, written and read."""

from datetime import UTC, datetime

from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from tiermesh_contracts.envelope import RecordHeaders, event_headers
from tiermesh_contracts.failures import DeadLetter
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import InferenceRequest

REQUEST = InferenceRequest(request_id=new_request_id(), tenant="acme", input="hello")


def test_a_record_is_a_cloud_event_to_others() -> None:
    """Whoever reads the topics with a CloudEvents library would find no event."""
    at = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    headers = event_headers(REQUEST, source="router", event_id="e", correlation_id="c", time=at, traceparent="t")
    record = KafkaMessage(
        headers={name: value.encode() for name, value in headers.items()}, key=None, value=REQUEST.to_bytes()
    )
    event = from_binary_event(record, JSONFormat())
    assert (event.get_id(), event.get_source(), event.get_type()) == ("e", "tiermesh/router", REQUEST.ce_type)
    assert event.get_specversion() == "1.0"
    assert event.get_time() == at
    assert event.get_datacontenttype() == "application/json"
    assert event.get_data() == REQUEST.model_dump(mode="json", exclude_none=True)


def test_a_trace_is_absent_where_there_is_none() -> None:
    """An empty `traceparent` would be read as a broken one by every hop."""
    headers = event_headers(REQUEST, source="x", event_id="e", correlation_id="c", time=datetime.now(UTC))
    assert "traceparent" not in headers


@given(st.lists(st.tuples(st.text(), st.none() | st.binary())))
def test_reading_headers_never_raises(raw: list[tuple[str, bytes | None]]) -> None:
    """One foreign header would throw away the record it stands on, and the batch with it."""
    read = RecordHeaders.read(raw)
    assert set(read.values) | set(read.broken) == {name for name, _ in raw}
    assert all(value is not None for value in read.values.values())


def test_null_and_binary_headers_are_absent_and_named() -> None:
    """A dead letter could not say which headers it could not keep as text."""
    read = RecordHeaders.read([("a", b"1"), ("n", None), ("b", b"\xff"), ("traceparent", b"t"), ("a", b"2")])
    assert read.values == {"a": "2", "traceparent": "t"}
    assert read.broken == ("n", "b")
    assert read.traceparent == "t"


def test_a_dead_letter_survives_the_way_through_headers() -> None:
    """Operators could not tell where a record came from, and could not send it again."""
    letter = DeadLetter(
        reason="invalid",
        detail="tenant: missing",
        service="router",
        source_topic="mesh.requests.v1",
        source_partition=0,
        source_offset=2**40,
        failed_at="2026-01-02T00:00:00+00:00",
    )
    headers = letter.to_headers()
    assert all(name.startswith("x-") for name in headers)
    assert DeadLetter.from_headers({"ce_id": "1", "x-headers-unread": "{}"} | headers) == letter
