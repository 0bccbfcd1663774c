"""What the provider charges: one line for each call that it worked on.

It shares no code with the mesh's own price table, so that an error in one is not an error in both.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

TOKENS_PER_PRICE: Final = 1_000_000
LINE_TEXT_CHARS_MAX: Final = 200


class BillFull(Exception):
    """The bill has no room for another line, so no further call is worked on."""


@dataclass(frozen=True, slots=True)
class Price:
    """Nano-dollars per million tokens."""

    input_usd_nanos_per_mtok: int
    output_usd_nanos_per_mtok: int

    def __post_init__(self) -> None:
        for rate in (self.input_usd_nanos_per_mtok, self.output_usd_nanos_per_mtok):
            if not 0 <= rate <= 10**15:
                raise ValueError(f"a price of {rate} nano-dollars per million tokens is not in 0..10^15")

    def cost_usd_nanos(self, prompt_tokens: int, completion_tokens: int) -> int:
        """The price of one call, rounded up once."""
        owed = prompt_tokens * self.input_usd_nanos_per_mtok
        owed += completion_tokens * self.output_usd_nanos_per_mtok
        return -(-owed // TOKENS_PER_PRICE)


@dataclass(slots=True)
class BillLine:
    line: int
    client_request_id: str | None
    response_id: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    cost_usd_nanos: int
    at_ms: int
    request_sha256: str
    delivered: bool = False
    """Whether the whole answer, with its usage or without, was written to the caller."""


class Bill:
    """The ledger, in the order in which calls were taken up."""

    def __init__(self, lines_max: int) -> None:
        self.lines_max = lines_max
        self.total_usd_nanos = 0
        self._lines: list[BillLine] = []

    def __len__(self) -> int:
        return len(self._lines)

    def check_room(self) -> None:
        """Raises `BillFull`."""
        if len(self._lines) >= self.lines_max:
            raise BillFull(f"the bill holds {self.lines_max} lines, its limit: restart the simulated frontier")

    def post(
        self,
        *,
        client_request_id: str | None,
        response_id: str,
        model: str,
        price: Price,
        prompt_tokens: int,
        completion_tokens: int,
        at_ms: int,
        request_sha256: str,
    ) -> BillLine:
        """Charge one call. Raises `BillFull`."""
        self.check_room()
        line = BillLine(
            line=len(self._lines) + 1,
            client_request_id=client_request_id and client_request_id[:LINE_TEXT_CHARS_MAX],
            response_id=response_id,
            model=model,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cached_tokens=0,
            reasoning_tokens=0,
            cost_usd_nanos=price.cost_usd_nanos(prompt_tokens, completion_tokens),
            at_ms=at_ms,
            request_sha256=request_sha256,
        )
        self._lines.append(line)
        self.total_usd_nanos += line.cost_usd_nanos
        return line

    def statement(self, after: int = 0) -> dict[str, Any]:
        """The answer of `GET /bill`, without the first `after` lines."""
        return {
            "simulated": True,
            "total_usd_nanos": self.total_usd_nanos,
            "calls": len(self._lines),
            "lines": [asdict(line) for line in self._lines[after:]],
        }
