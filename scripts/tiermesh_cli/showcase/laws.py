"""The laws of money over a ledger, the store's sums and the provider's bill: pure, one line a breach.

`entries` are those of one org as they stand in the ledger's partition, in offset order. Which of them count is
decided here again, by the guard's own rule of fences and gaps (`EffectiveLedger`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tiermesh_budget.decide.effective import EffectiveLedger
from tiermesh_contracts.budget import CountedScope, LedgerEntry, LedgerKind

Place = tuple[str, str, str]
"""Scope, window and window id of a counter."""

ORG_LIFETIME: Place = ("org", "lifetime", "all")

DAY_MS: Final = 86_400_000
KEPT_MS: Final = {"minute": 9 * DAY_MS, "day": 45 * DAY_MS, "month": 400 * DAY_MS}
REQUEST_KEPT_MS: Final = 45 * DAY_MS
"""How long the store keeps a window's sums after the last hold in it; as in the guard's `common.lua`."""


@dataclass(slots=True)
class Sums:
    """What counts against a limit, in nano-dollars."""

    held: int = 0
    posted: int = 0
    suspended: int = 0

    @property
    def counted(self) -> int:
        return self.held + self.posted + self.suspended


@dataclass(frozen=True, slots=True)
class Bill:
    """The provider's: its total in nano-dollars, and the reservation that each billed call names."""

    total_usd_nanos: int
    calls: tuple[str | None, ...] = ()


@dataclass(slots=True)
class Fold:
    """The ledger read from its start."""

    sums: dict[Place, Sums] = field(default_factory=dict)
    last_hold_ms: dict[Place, int] = field(default_factory=dict)
    """By the store's clock."""
    limits: dict[tuple[str, str], int] = field(default_factory=dict)
    """In force after the last entry, by scope and window."""
    limits_seen: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    over_limit: list[str] = field(default_factory=list)
    resolutions: Counter[str] = field(default_factory=Counter)
    """How often each reservation was settled or released; 0 for one only suspended."""
    holds: Counter[str] = field(default_factory=Counter)
    overruns: int = 0
    voided: int = 0

    def at(self, scope: CountedScope) -> Sums:
        return self.sums.setdefault(place_of(scope), Sums())

    def may_be_gone(self, place: Place, now_ms: int) -> bool:
        """Whether the store has let go of this window's sums: it was not held in for as long as they are kept."""
        kept_ms, last_ms = _kept_ms(place), self.last_hold_ms.get(place)
        return kept_ms is not None and last_ms is not None and now_ms - last_ms >= kept_ms


def place_of(scope: CountedScope) -> Place:
    return scope.scope, scope.window.value, scope.window_id


def _kept_ms(place: Place) -> int | None:
    """None for ever: of lifetimes, only a request's ends."""
    scope, window, _ = place
    if window == "lifetime":
        return REQUEST_KEPT_MS if scope.partition(":")[0] == "request" else None
    return KEPT_MS[window]


def effective_entries(entries: Iterable[LedgerEntry]) -> tuple[list[LedgerEntry], int]:
    """Those that count, in order, and how many a fence voided."""
    ledger = EffectiveLedger()
    effective = [counting for entry in entries for counting in ledger.read(entry)]
    return effective, ledger.voided


def fold(entries: Iterable[LedgerEntry]) -> Fold:
    """Sums, limits and resolutions of the effective entries, from nothing but the entries themselves."""
    effective, voided = effective_entries(entries)
    state = Fold(voided=voided)
    for entry in effective:
        _apply(state, entry)
    return state


def _apply(state: Fold, entry: LedgerEntry) -> None:
    att = entry.att or ""
    match entry.kind:
        case LedgerKind.LIMIT_SET:
            _set_limits(state, entry)
        case LedgerKind.HELD:
            state.holds[att] += 1
            _begin_anew(state, entry)
            state.over_limit += _over_limit(state, entry)
            for scope in entry.scopes:
                state.at(scope).held += entry.amount_usd_nanos
        case LedgerKind.SETTLED | LedgerKind.RELEASED | LedgerKind.SUSPENDED:
            state.resolutions[att] += entry.kind is not LedgerKind.SUSPENDED
            for scope in entry.scopes:
                _move(state.at(scope), entry)
        case LedgerKind.OVERRUN:
            state.overruns += 1
            for scope in entry.scopes:
                state.at(scope).posted += entry.amount_usd_nanos


def _begin_anew(state: Fold, entry: LedgerEntry) -> None:
    """A hold in a window whose sums are no longer kept finds nothing counted, here as in the store."""
    for place in map(place_of, entry.scopes):
        if state.may_be_gone(place, entry.at_ms):
            state.sums[place] = Sums()
        state.last_hold_ms[place] = max(entry.at_ms, state.last_hold_ms.get(place, 0))


def _move(sums: Sums, entry: LedgerEntry) -> None:
    if entry.from_suspended:
        sums.suspended -= entry.freed_usd_nanos
    else:
        sums.held -= entry.freed_usd_nanos
    if entry.kind is LedgerKind.SETTLED:
        sums.posted += entry.amount_usd_nanos
    elif entry.kind is LedgerKind.SUSPENDED:
        sums.suspended += entry.amount_usd_nanos


def _set_limits(state: Fold, entry: LedgerEntry) -> None:
    for scope in entry.scopes:
        place = (scope.scope, scope.window.value)
        if scope.limit_usd_nanos is None:
            state.limits.pop(place, None)
        else:
            state.limits[place] = scope.limit_usd_nanos
            state.limits_seen.setdefault(place, []).append(scope.limit_usd_nanos)


def _over_limit(state: Fold, entry: LedgerEntry) -> list[str]:
    """The entry's own word is not taken: what counted before and the limit in force are computed here too."""
    found = []
    for scope in entry.scopes:
        name = f"seq {entry.seq} in {scope.scope} by {scope.window}"
        counted, window = state.at(scope).counted, scope.window.value
        limit = state.limits.get((scope.scope, window), state.limits.get((scope.scope.partition(":")[0], window)))
        if scope.counted_before_usd_nanos != counted:
            found.append(f"{name} says {scope.counted_before_usd_nanos} counted before it, the ledger {counted}")
        if limit is not None and scope.limit_usd_nanos != limit:
            found.append(f"{name} was held against a limit of {scope.limit_usd_nanos}, in force was {limit}")
        limit = scope.limit_usd_nanos if limit is None else limit
        if limit is not None and counted + entry.amount_usd_nanos > limit:
            found.append(f"{name} holds {entry.amount_usd_nanos} on top of {counted}: over the limit {limit}")
    return found


def store_breaches(state: Fold, store: Mapping[Place, Sums], now_ms: int) -> list[str]:
    """I1: the store's sums are those of the effective entries, bit for bit.

    `now_ms` is the store's clock after `store` was read: a window that it no longer has to keep may be missing.
    """
    nothing = Sums()
    found = []
    for place in sorted(store.keys() | state.sums.keys()):
        in_store, in_ledger = store.get(place), state.sums.get(place, nothing)
        if in_store != in_ledger and (in_store is not None or not state.may_be_gone(place, now_ms)):
            found.append(f"{' '.join(place)}: the store has {in_store or 'nothing'}, the ledger {in_ledger}")
    return found


def limit_breaches(state: Fold) -> list[str]:
    """I2: at every effective hold, counted before + amount ≤ the limit then in force."""
    return state.over_limit


def resolution_breaches(state: Fold) -> list[str]:
    """I3: a reservation is held once and resolved at most once, and never without having been held."""
    twice = [f"reservation {att[:12]} was resolved {n} times" for att, n in state.resolutions.items() if n > 1]
    again = [f"reservation {att[:12]} was held {n} times" for att, n in state.holds.items() if n > 1]
    unheld = [f"reservation {att[:12]} was never held" for att in state.resolutions if not state.holds[att]]
    return twice + again + unheld


def result_breaches(requests: int, terminal: int, conflicting: int) -> list[str]:
    """I4: every accepted request has exactly one terminal result, and no later one says otherwise."""
    lost = requests - terminal
    found = [f"{lost} of {requests} requests have no result"] if lost else []
    return found + ([f"{conflicting} later results say something else"] if conflicting else [])


def bill_breaches(state: Fold, bill: Bill) -> list[str]:
    """I5: the bill, read first, ≤ held + posted + suspended; equal to posted once nothing is open; and every
    billed call names a reservation of its own that was held."""
    sums = state.sums.get(ORG_LIFETIME, Sums())
    found = []
    if bill.total_usd_nanos > sums.counted:
        found.append(f"the bill says {bill.total_usd_nanos}, the ledger counts only {sums.counted}")
    elif sums.counted == sums.posted != bill.total_usd_nanos:
        found.append(f"nothing is open, but {sums.posted} is posted and the bill says {bill.total_usd_nanos}")
    unheld = sum(att is None or att not in state.holds for att in bill.calls)
    if unheld:
        found.append(f"{unheld} billed calls name no reservation of the ledger")
    repeated = [att for att, calls in Counter(bill.calls).items() if att is not None and calls > 1]
    return found + [f"reservation {att[:12]} paid for more than one call" for att in repeated]


def drain_breaches(state: Fold) -> list[str]:
    """I7, as far as a healthy run shows it: once all results are in, nothing is held any more."""
    held = state.sums.get(ORG_LIFETIME, Sums()).held
    return [f"{held} nano-dollars are still held"] if held else []


def privacy_breaches(private: Sequence[str], arrived: Sequence[str], unseen: int) -> list[str]:
    """No private text, whole or inside another, reached the frontier; `unseen` texts were not kept for a look."""
    left = sent_out(private, arrived)
    found = [f"{left} private requests reached the frontier"] if left else []
    return found + ([f"{unseen} texts at the frontier could not be looked at"] if unseen else [])


def sent_out(private: Sequence[str], arrived: Sequence[str]) -> int:
    """How many of the private texts stand in a text that arrived at the frontier."""
    everything = "\x00".join(arrived)
    return sum(text in everything for text in private)
