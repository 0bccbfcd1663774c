"""Publishing grants."""

from tiermesh_chassis.publishing import Publisher
from tiermesh_contracts.escalations import Grant
from tiermesh_contracts.topics import GRANTS


class KafkaGrants:
    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def publish(self, grant: Grant) -> None:
        att = grant.reservation.att
        request_id = str(grant.escalation.accepted.request.request_id)
        await self._publisher.publish(GRANTS.name, grant, key=att, event_id=att, correlation_id=request_id)
