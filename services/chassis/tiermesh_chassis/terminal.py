"""Publishing the one terminal result of a request."""

from tiermesh_chassis.claims import Claims
from tiermesh_chassis.errors import PermanentError
from tiermesh_chassis.publishing import Publisher
from tiermesh_contracts.failures import DeadLetterReason
from tiermesh_contracts.requests import Origin
from tiermesh_contracts.results import InferenceResult
from tiermesh_contracts.topics import may_reply_to


class TerminalResults:
    """Claims, then publishes. The first record by offset is the terminal one; the claim keeps a different
    second one from being written, and who comes second writes the first's bytes again.

    A claim of a result lives a day, whatever the deadline: a record whose result was published is redelivered
    within hours. One that comes later still is void by its offset.
    """

    def __init__(self, publisher: Publisher, claims: Claims) -> None:
        self._publisher = publisher
        self._claims = claims

    async def publish(self, result: InferenceResult, reply_to: str) -> None:
        """Raises `TransientError` where the brokers did not take it."""
        if not may_reply_to(reply_to, result.tenant):
            raise PermanentError(DeadLetterReason.INVALID, "reply_to is not a result topic of the tenant")
        raw = await self._claims.first_result(result.tenant, result.request_id, result.redrive, result.to_bytes())
        await self._publisher.publish(
            reply_to,
            InferenceResult.from_bytes(raw),
            key=str(result.request_id),
            event_id=f"{result.tenant}/{result.request_id}/{result.redrive}",
            correlation_id=str(result.request_id),
        )

    async def answer(self, origin: Origin, result: InferenceResult) -> None:
        """Publish to where the request asked for it."""
        await self.publish(result, origin.request.reply_to)
