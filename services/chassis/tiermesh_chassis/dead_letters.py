"""Dead letters: the original bytes untouched, a typed reason, and a result for whoever waits."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

import structlog
from aiokafka import ConsumerRecord

from tiermesh_chassis.claims import Claims
from tiermesh_chassis.clock import Clock, now_ms
from tiermesh_chassis.errors import PermanentError
from tiermesh_chassis.publishing import Publisher
from tiermesh_chassis.terminal import TerminalResults
from tiermesh_contracts.envelope import RecordHeaders
from tiermesh_contracts.failures import DeadLetter, DeadLetterReason
from tiermesh_contracts.requests import NAME_PATTERN, Origin
from tiermesh_contracts.results import InferenceResult, ResultReason, Status, Tier
from tiermesh_contracts.topics import MESSAGE_BYTES_MAX, RESULTS, dead_letters

log = structlog.get_logger(__name__)

DETAIL_CHARS_MAX = 500
HEADROOM_BYTES = 65_536
"""Left free in a dead letter for what is written beside the original."""


class DeadLetters:
    def __init__(
        self,
        service: str,
        publisher: Publisher,
        results: TerminalResults,
        claims: Claims,
        clock: Clock = now_ms,
    ) -> None:
        self._service = service
        self._publisher = publisher
        self._results = results
        self._claims = claims
        self._clock = clock

    async def send(
        self,
        record: "ConsumerRecord[bytes, bytes]",
        headers: RecordHeaders,
        error: PermanentError,
        origin: Origin | None,
        *,
        owes_result: bool,
    ) -> None:
        """Write the dead letter, then `failed(dead_lettered)` where the request can be read and a result is owed.

        A reused id owes none: the request that had it first is answered on its own. Neither does a record that is
        no valid message under an id that a valid one has.
        """
        value, key, kept = _fitting(record, {**headers.values, **_unread(record, headers)})
        detail = error.detail[:DETAIL_CHARS_MAX]
        if value != (record.value or b""):
            digest = hashlib.sha256(record.value).hexdigest()
            detail = f"{detail}; {len(record.value)} bytes, sha256 {digest}: too large to keep"
        who = _identity(origin, record.value)
        letter = DeadLetter(
            reason=error.reason,
            detail=detail,
            service=self._service,
            source_topic=record.topic,
            source_partition=record.partition,
            source_offset=record.offset,
            failed_at=datetime.fromtimestamp(self._clock() / 1000, UTC).isoformat(),
            request_id=str(who[1]) if who else None,
            tenant=who[0] if who else None,
            redrive=origin.redrive if origin else 0,
        )
        log.error("dead letter", **letter.model_dump(exclude_none=True))
        await self._publisher.publish_raw(
            dead_letters(record.topic),
            value,
            key=key,
            headers={**kept, **letter.to_headers()},
        )
        if not who or not owes_result or error.reason is DeadLetterReason.ID_REUSED:
            return
        if origin is not None or await self._has_its_id(*who, record.value):
            reply_to = origin.request.reply_to if origin else RESULTS.name
            await self._results.publish(_failed(*who, error, origin), reply_to)

    async def _has_its_id(self, tenant: str, request_id: UUID, raw: bytes) -> bool:
        """Whether this unreadable body was the first under its id: else its failure would take the place of an
        answer that another body is owed."""
        digest = hashlib.sha256(raw).hexdigest()
        return await self._claims.first_body(tenant, request_id, 0, digest) == digest


def _unread(record: "ConsumerRecord[bytes, bytes]", headers: RecordHeaders) -> dict[str, str]:
    """Headers that are null or no text, which the publisher cannot write: their bytes in base64, by name."""
    raw = {
        name: None if value is None else base64.b64encode(value).decode()
        for name, value in record.headers
        if name in headers.broken
    }
    return {"x-headers-unread": json.dumps(raw)} if raw else {}


def _fitting(
    record: "ConsumerRecord[bytes, bytes]", headers: Mapping[str, str]
) -> tuple[bytes, bytes | None, Mapping[str, str]]:
    """Value, key and headers that the dead-letter topic takes; what is too large is left out, value first.

    A dead letter that is refused for its size would end the process again at every redelivery.
    """
    value, key = record.value or b"", record.key
    room_bytes = MESSAGE_BYTES_MAX - HEADROOM_BYTES
    around_bytes = len(key or b"") + sum(len(n.encode()) + len(v.encode()) + 16 for n, v in headers.items())
    if around_bytes > room_bytes:
        return b"", None, {}
    return (value if len(value) + around_bytes <= room_bytes else b""), key, headers


def _failed(tenant: str, request_id: UUID, error: PermanentError, origin: Origin | None) -> InferenceResult:
    return InferenceResult(
        request_id=request_id,
        tenant=tenant,
        redrive=origin.redrive if origin else 0,
        status=Status.FAILED,
        tier=Tier.NONE,
        reason=ResultReason.DEAD_LETTERED,
        detail=f"{error.reason}: {error.detail}"[:DETAIL_CHARS_MAX],
    )


def _identity(origin: Origin | None, raw: bytes | None) -> tuple[str, UUID] | None:
    """Tenant and request id, from the message or, where it is no valid message, from its JSON."""
    if origin is not None:
        return origin.request.tenant, origin.request.request_id
    try:
        body = json.loads(raw or b"")
        tenant, request_id = body["tenant"], UUID(body["request_id"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if not isinstance(tenant, str) or not re.fullmatch(NAME_PATTERN, tenant):
        return None
    return tenant, request_id
