"""The rule of the terminal result, as a value: the first per request wins, repeats are counted."""

from collections import OrderedDict
from uuid import UUID

from tiermesh_contracts.results import InferenceResult


class FirstResults:
    """Remembers the first result of each (tenant, request, redrive), the latest `size_max` of them.

    Results must be offered in the order of their partition; a request's results share one, by their key.
    """

    def __init__(self, size_max: int = 100_000) -> None:
        self._seen: OrderedDict[tuple[str, UUID, int], InferenceResult] = OrderedDict()
        self._size_max = size_max
        self.duplicated = 0
        """Repeats that said the same."""
        self.conflicting = 0
        """Repeats that said something else; void all the same."""

    def get(self, tenant: str, request_id: UUID, redrive: int = 0) -> InferenceResult | None:
        """The first result of a request, where it was seen and is still remembered."""
        return self._seen.get((tenant, request_id, redrive))

    def offer(self, result: InferenceResult) -> bool:
        """True for the first result of its request."""
        first = self._seen.get(result.identity)
        if first is None:
            self._seen[result.identity] = result
            if len(self._seen) > self._size_max:
                self._seen.popitem(last=False)
            return True
        if first.agrees_with(result):
            self.duplicated += 1
        else:
            self.conflicting += 1
        return False
