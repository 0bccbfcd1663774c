"""The index of parked work: an image of `mesh.deferred` in memory, rebuilt when its partitions are assigned."""

from collections import defaultdict
from dataclasses import dataclass

from tiermesh_contracts.escalations import Parked


@dataclass(frozen=True, slots=True)
class Space:
    """One parked record and where it stands."""

    parked: Parked
    partition: int
    size_bytes: int

    @property
    def att(self) -> str:
        return self.parked.escalation.att

    @property
    def tenant(self) -> str:
        return self.parked.escalation.accepted.request.tenant

    @property
    def expires_at_ms(self) -> int:
        return self.parked.escalation.accepted.expires_at_ms


class ParkingLot:
    def __init__(self, bytes_per_tenant_max: int) -> None:
        self._bytes_per_tenant_max = bytes_per_tenant_max
        self._spaces: dict[str, Space] = {}
        self._bytes: defaultdict[str, int] = defaultdict(int)

    def __len__(self) -> int:
        return len(self._spaces)

    @property
    def parked_bytes(self) -> int:
        return sum(self._bytes.values())

    @property
    def tenants(self) -> int:
        return len(self._bytes)

    def put(self, space: Space) -> bool:
        """Index a record; False where its tenant's space is full: it must end instead."""
        self.take(space.att)
        if self._bytes.get(space.tenant, 0) + space.size_bytes > self._bytes_per_tenant_max:
            return False
        self._spaces[space.att] = space
        self._bytes[space.tenant] += space.size_bytes
        return True

    def take(self, att: str) -> None:
        space = self._spaces.pop(att, None)
        if space is None:
            return
        self._bytes[space.tenant] -= space.size_bytes
        if not self._bytes[space.tenant]:
            del self._bytes[space.tenant]

    def forget(self, partitions: set[int]) -> None:
        """Those partitions belong to another guard now."""
        for att in [s.att for s in self._spaces.values() if s.partition in partitions]:
            self.take(att)

    def expired(self, now_ms: int) -> list[Space]:
        return [s for s in self._spaces.values() if s.expires_at_ms <= now_ms]

    def waiting(self, now_ms: int, count_max: int, round_: int = 0) -> list[Space]:
        """Who is offered returning money, at most `count_max`: half by urgency (the highest priority, then the
        nearest deadline), half swept on from round to round, so that urgent ones whose own budget is empty keep
        nobody else from money that is there."""
        waiting = sorted((s for s in self._spaces.values() if s.expires_at_ms > now_ms), key=_urgency)
        urgent = -(-count_max // 2)
        rest, swept = waiting[urgent:], count_max - urgent
        if len(rest) <= swept:
            return waiting
        start = round_ * swept % len(rest)
        return waiting[:urgent] + (rest + rest)[start : start + swept]


def _urgency(space: Space) -> tuple[int, int]:
    return (-space.parked.escalation.accepted.request.priority, space.expires_at_ms)
