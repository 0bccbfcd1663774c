"""Which offsets may be committed: the contiguous finished prefix of each partition. Pure bookkeeping."""

from collections import OrderedDict
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Partition:
    received: OrderedDict[int, bool] = field(default_factory=OrderedDict)
    """Offset to finished, in the order received; finished ones leave from the front."""
    committable: int | None = None
    """The offset to commit: one past the last of the finished prefix."""
    taken: bool = True


@dataclass(frozen=True, slots=True)
class Ticket:
    """One record in flight. Worthless once its partition was given up: finishing it then does nothing."""

    topic: str
    partition: int
    offset: int
    generation: int


class Offsets:
    """Tracks the records in flight of one consumer.

    A record that finishes before an earlier one of its partition waits for it: committing past an unfinished
    record would lose it in a crash.
    """

    def __init__(self) -> None:
        self._partitions: dict[tuple[str, int], _Partition] = {}
        self._generations: dict[tuple[str, int], int] = {}

    def start(self, topic: str, partition: int, offset: int) -> Ticket | None:
        """Take a record into account; None where it is in flight or finished already."""
        key = (topic, partition)
        state = self._partitions.setdefault(key, _Partition())
        if offset in state.received:
            return None
        if state.committable is not None and offset < state.committable:
            return None
        state.received[offset] = False
        return Ticket(topic, partition, offset, self._generations.setdefault(key, 0))

    def is_live(self, ticket: Ticket) -> bool:
        """False once the ticket's partition was given up: whoever has it now handles the record."""
        key = (ticket.topic, ticket.partition)
        return key in self._partitions and self._generations[key] == ticket.generation

    def finish(self, ticket: Ticket) -> None:
        if not self.is_live(ticket):
            return
        state = self._partitions[ticket.topic, ticket.partition]
        state.received[ticket.offset] = True
        while state.received and state.received[next(iter(state.received))]:
            offset, _ = state.received.popitem(last=False)
            state.committable = offset + 1
            state.taken = False

    @property
    def moved(self) -> bool:
        """True where `committable` would offer something."""
        return any(not state.taken for state in self._partitions.values())

    def committable(self) -> dict[tuple[str, int], int]:
        """(topic, partition) to the next offset, for what moved since the last call."""
        moved = {
            key: state.committable
            for key, state in self._partitions.items()
            if not state.taken and state.committable is not None
        }
        for key in moved:
            self._partitions[key].taken = True
        return moved

    def put_back(self, offsets: dict[tuple[str, int], int]) -> None:
        """A commit failed: what it carried is offered again."""
        for key in offsets:
            if key in self._partitions:
                self._partitions[key].taken = False

    def in_flight(self, partitions: set[tuple[str, int]] | None = None) -> int:
        """Unfinished records, of all partitions or of those given."""
        return sum(
            not finished
            for key, state in self._partitions.items()
            if partitions is None or key in partitions
            for finished in state.received.values()
        )

    def forget(self, partitions: set[tuple[str, int]]) -> None:
        """Partitions were given up or given anew: tickets handed out for them are void."""
        for key in partitions:
            self._partitions.pop(key, None)
            self._generations[key] = self._generations.get(key, 0) + 1
