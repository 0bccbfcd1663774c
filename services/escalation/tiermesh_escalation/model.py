"""Facts and decisions about one attempt."""

from dataclasses import dataclass, field
from enum import StrEnum

from tiermesh_contracts.escalations import Escalation, Evidence
from tiermesh_contracts.frontier import LimitField
from tiermesh_contracts.results import InferenceResult, Usage


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A provider as it can be called now."""

    provider: str
    url: str
    limit_field: LimitField
    timeout_ms: int
    api_key: str | None = field(default=None, repr=False)
    unusable: str | None = None
    """Why no call can be made: its key is not in the environment."""


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call, ready to be made."""

    att: str
    provider: str
    model: str
    url: str
    body: bytes = field(repr=False)
    timeout_ms: int
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Unsent:
    """A call that will not be made."""

    why: str
    helpless: bool = False
    """True where no other model could be asked either."""


class FenceState(StrEnum):
    """The verdicts of `lua/fence.lua`."""

    FENCED = "fenced"
    VOID = "void"
    HELD = "held"
    LEASE_OVER = "lease_over"
    FINISHED = "finished"
    FOREIGN_EPOCH = "foreign_epoch"


@dataclass(frozen=True, slots=True)
class Fence:
    state: FenceState
    lease_until_ms: int
    now_ms: int
    """By the store's clock, as the lease is."""

    @property
    def lease_left_ms(self) -> int:
        return max(0, self.lease_until_ms - self.now_ms)


class Ending(StrEnum):
    """How a call ended, as seen from here."""

    ANSWERED = "answered"
    """A whole response came, whatever it says."""
    NOT_CONNECTED = "not_connected"
    """No connection was ever there, so nothing was sent."""
    TIMED_OUT = "timed_out"
    CUT = "cut"
    """The connection was there and ended before the whole response."""
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was observed of a call; what it means is for `decide.read_seen`."""

    ending: Ending
    status: int | None = None
    body: object = None
    """The JSON of the response; None where it is not JSON."""
    detail: str = ""
    """Kind of a failure, never text of the request or the provider."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of an attempt."""

    evidence: Evidence
    usage: Usage | None = None
    cost_usd_nanos: int | None = None
    output: str | None = None
    """None where there is no answer; an empty answer is one."""
    finish_reason: str | None = None
    response_id: str | None = None
    detail: str = ""
    helpless: bool = False
    """True where another model could not help."""


@dataclass(frozen=True, slots=True)
class AskNext:
    escalation: Escalation


@dataclass(frozen=True, slots=True)
class Deliver:
    result: InferenceResult
