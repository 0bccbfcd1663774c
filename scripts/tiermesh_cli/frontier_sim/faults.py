"""What goes wrong, and at which call: settled by seed and call number, or queued for the calls to come."""

from collections import deque
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from tiermesh_cli.frontier_sim.draws import uniform

QUEUED_FAULTS_MAX: Final = 10_000
MS_MAX: Final = 3_600_000


class Fault(StrEnum):
    RATE_LIMITED = "rate_limited"
    """429 with Retry-After; not billed."""
    UNAVAILABLE = "unavailable"
    """503; not billed."""
    ERROR_200 = "error_200"
    """Status 200 with an error for a body; not billed."""
    SERVER_ERROR = "server_error"
    """500 after the work; billed."""
    HANG = "hang"
    """No answer for `hang_ms`, then a closed connection; billed."""
    CUT = "cut"
    """The connection closes in the middle of the body; billed."""
    NO_USAGE = "no_usage"
    """The answer says nothing of usage; billed."""
    ZERO_USAGE = "zero_usage"
    """The answer says that nothing was used; billed."""
    DRIP = "drip"
    """One token each `drip_token_ms`; billed."""


UNBILLED: Final = frozenset({Fault.RATE_LIMITED, Fault.UNAVAILABLE, Fault.ERROR_200})


class FaultsInvalid(ValueError):
    """A fault, a rate or a duration that does not exist; says which do."""


def check_rates(rates: Mapping[Fault, float]) -> None:
    """Raises `FaultsInvalid`."""
    for fault, rate in rates.items():
        if not 0 <= rate <= 1:
            raise FaultsInvalid(f"the rate of {fault} is {rate!r}, not in 0..1")
    if sum(rates.values()) > 1 + 1e-9:
        raise FaultsInvalid(f"the rates sum to {sum(rates.values()):g}, more than 1")


class FaultPlan:
    """Which call gets which fault."""

    def __init__(self, seed: int, rates: Mapping[Fault, float], hang_ms: float, drip_token_ms: float) -> None:
        check_rates(rates)
        self.seed = seed
        self.rates = dict(rates)
        self.hang_ms = hang_ms
        self.drip_token_ms = drip_token_ms
        self._queued: deque[Fault | None] = deque()

    def choose(self, call_number: int) -> Fault | None:
        """The fault of this call; a queued one goes before the rates."""
        if self._queued:
            return self._queued.popleft()
        chance = uniform(self.seed, "fault", str(call_number))
        for fault in Fault:
            chance -= self.rates.get(fault, 0.0)
            if chance < 0:
                return fault
        return None

    def change(self, wish: Any) -> None:
        """Apply `{"rates": {fault: rate}, "next_calls": [fault or "none", ...], "hang_ms", "drip_token_ms"}`.

        Each is optional; `rates` replaces all rates, `next_calls` is added to the queue. Raises `FaultsInvalid`
        where any of it is wrong, and changes nothing then.
        """
        if not isinstance(wish, dict):
            raise FaultsInvalid("not a JSON object")
        unknown = wish.keys() - {"rates", "next_calls", "hang_ms", "drip_token_ms"}
        if unknown:
            raise FaultsInvalid(f"unknown: {', '.join(sorted(unknown))}")
        rates = _rates(wish["rates"]) if "rates" in wish else self.rates
        queued = [_fault(name) for name in _items(wish.get("next_calls", []))]
        if len(queued) + len(self._queued) > QUEUED_FAULTS_MAX:
            raise FaultsInvalid(f"more than {QUEUED_FAULTS_MAX} queued faults")
        hang_ms = _duration("hang_ms", wish.get("hang_ms", self.hang_ms))
        drip_token_ms = _duration("drip_token_ms", wish.get("drip_token_ms", self.drip_token_ms))
        self.rates, self.hang_ms, self.drip_token_ms = rates, hang_ms, drip_token_ms
        self._queued.extend(queued)

    def state(self) -> dict[str, Any]:
        return {
            "simulated": True,
            "rates": self.rates,
            "next_calls": [fault or "none" for fault in self._queued],
            "hang_ms": self.hang_ms,
            "drip_token_ms": self.drip_token_ms,
        }


def _items(value: Any) -> Iterable[Any]:
    if not isinstance(value, list):
        raise FaultsInvalid("next_calls is not a list")
    return value


def _fault(name: Any) -> Fault | None:
    if name == "none":
        return None
    try:
        return Fault(name)
    except ValueError:
        raise FaultsInvalid(f"no fault {name!r}; there are none, {', '.join(Fault)}") from None


def _rates(value: Any) -> dict[Fault, float]:
    if not isinstance(value, dict):
        raise FaultsInvalid("rates is not an object of fault and rate")
    rates: dict[Fault, float] = {}
    for name, rate in value.items():
        fault = _fault(name)
        if fault is None or isinstance(rate, bool) or not isinstance(rate, int | float):
            raise FaultsInvalid(f"the rate of {name!r} is not a number for a fault")
        rates[fault] = float(rate)
    check_rates(rates)
    return rates


def _duration(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MS_MAX:
        raise FaultsInvalid(f"{name} is {value!r}, not in 0..{MS_MAX}")
    return float(value)
