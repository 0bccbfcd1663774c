"""The sums of the budget in the store, read without changing anything."""

import heapq
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tiermesh_budget.decide.scopes import limit_scope, scope_key
from tiermesh_chassis.config import MeshConfig
from tiermesh_chassis.store import connect_store, require_store, shown_url
from tiermesh_cli.output import CommandFailed
from tiermesh_contracts.budget import ScopeKind, Window

KEYS_MAX: Final = 1_000_000
SCAN_COUNT: Final = 1_000
WINDOWS_MAX: Final = 10_000
READ_AT_ONCE: Final = 1_000
FULLEST: Final = 10

MANY: Final = frozenset({ScopeKind.ROOT, ScopeKind.REQUEST})
"""Kinds with a scope a chain or a request, as many as there is traffic: shown together."""

Place: TypeAlias = tuple[str, str]
"""Scope and window."""


@dataclass(frozen=True, slots=True)
class WindowSpend:
    """One scope in its current window."""

    scope: str
    """As the store has it; keys other than the tenant are hashes."""
    name: str
    """The same by its name in the configuration, where it is known."""
    window: str
    window_id: str
    limit_usd_nanos: int | None
    """None: counted, not limited."""
    held_usd_nanos: int
    posted_usd_nanos: int
    suspended_usd_nanos: int

    @property
    def used_usd_nanos(self) -> int:
        return self.held_usd_nanos + self.posted_usd_nanos + self.suspended_usd_nanos

    @property
    def left_usd_nanos(self) -> int | None:
        return None if self.limit_usd_nanos is None else self.limit_usd_nanos - self.used_usd_nanos


@dataclass(frozen=True, slots=True)
class KindSpend:
    """All chains, or all requests, in the current window of one length."""

    kind: str
    window: str
    window_id: str
    count: int
    held_usd_nanos: int
    posted_usd_nanos: int
    suspended_usd_nanos: int
    fullest: tuple[WindowSpend, ...]
    """At most ten, the fullest first."""


@dataclass(frozen=True, slots=True)
class Spend:
    org: str
    epoch: int
    run_id: str
    outbox: int
    """Entries that are not in the ledger yet."""
    frozen: tuple[str, ...]
    windows: tuple[WindowSpend, ...]
    kinds: tuple[KindSpend, ...]
    """Roots and requests that have no limit of their own."""

    def to_json(self) -> dict[str, Any]:
        kinds = [{**asdict(each), "fullest": [_json(one) for one in each.fullest]} for each in self.kinds]
        windows = [_json(each) for each in self.windows]
        return {**asdict(self), "frozen": list(self.frozen), "windows": windows, "kinds": kinds}


def _json(spend: WindowSpend) -> dict[str, Any]:
    return {**asdict(spend), "left_usd_nanos": spend.left_usd_nanos}


async def read_spend(redis_url: str, config: MeshConfig) -> Spend:
    """Raises `DependencyMissing` without a store, `CommandFailed` where no books are open in it."""
    store = connect_store(redis_url)
    try:
        await require_store(store, redis_url)
        return await _read(store, config)
    except RedisError as error:
        raise CommandFailed(f"the store at {shown_url(redis_url)} (TIERMESH_REDIS_URL) failed: {error}") from error
    finally:
        await store.aclose()


async def _read(store: Redis, config: MeshConfig) -> Spend:
    org = config.org
    opened = await _hash(store, f"{{{org}}}:epoch")
    if "epoch" not in opened:
        raise CommandFailed(f"org {org} has no books in this store yet: budget-guard opens them when it starts")
    prefix = f"{{{org}}}:e{opened['epoch']}:"
    limits = await _hash(store, f"{prefix}limits")
    seconds, _ = await store.time()
    current = window_ids(datetime.fromtimestamp(int(seconds), UTC))
    # A limit on all of a kind (`tenant`) has no sums of its own; one on the org or on one tenant has.
    fields = (field.rpartition("|") for field in limits)
    places = {(scope, window) for scope, _, window in fields if scope == "org" or ":" in scope}
    many: dict[Place, list[Place]] = {}
    frozen: list[str] = []
    for name in await _names(store, prefix):
        counter = parse_counter(name)
        if name.startswith("frozen:"):
            frozen.append(name.removeprefix("frozen:"))
        elif counter is None or counter[2] != current.get(counter[1]) or counter[:2] in places:
            continue
        elif (kind := counter[0].partition(":")[0]) in MANY:
            many.setdefault((kind, counter[1]), []).append(counter[:2])
        else:
            places.add(counter[:2])
    if len(places) > WINDOWS_MAX:
        raise CommandFailed(f"more than {WINDOWS_MAX} scopes have spent: the ledger has them all")
    sums = Sums(store, prefix, current, limits, _configured_names(config))
    return Spend(
        org=org,
        epoch=int(opened["epoch"]),
        run_id=opened.get("run_id", ""),
        outbox=int(await store.zcard(f"{prefix}outbox")),
        frozen=tuple(sorted(sums.names.get(each, each) for each in frozen)),
        windows=tuple([each async for each in sums.of(sorted(places))]),
        kinds=tuple([await fold(kind, window, sums.of(of)) for (kind, window), of in sorted(many.items())]),
    )


@dataclass(frozen=True, slots=True)
class Sums:
    """The counters of one epoch in their current windows."""

    store: Redis
    prefix: str
    current: Mapping[str, str]
    limits: Mapping[str, str]
    names: Mapping[str, str]

    async def of(self, places: Sequence[Place]) -> AsyncIterator[WindowSpend]:
        """In the order of `places`; a thousand a round trip."""
        for start in range(0, len(places), READ_AT_ONCE):
            some = places[start : start + READ_AT_ONCE]
            reading = self.store.pipeline(transaction=False)
            for scope, window in some:
                reading.hgetall(f"{self.prefix}w:{scope}:{window}:{self.current[window]}")
            for (scope, window), counted in zip(some, await reading.execute(), strict=True):
                yield self._spend(scope, window, counted)

    def _spend(self, scope: str, window: str, counted: Mapping[str, str]) -> WindowSpend:
        return WindowSpend(
            scope=scope,
            name=self.names.get(scope, scope),
            window=window,
            window_id=self.current[window],
            limit_usd_nanos=limit_of(scope, window, self.limits),
            held_usd_nanos=int(counted.get("held", 0)),
            posted_usd_nanos=int(counted.get("posted", 0)),
            suspended_usd_nanos=int(counted.get("suspended", 0)),
        )


async def fold(kind: str, window: str, spends: AsyncIterator[WindowSpend]) -> KindSpend:
    """The sums of at least one, and the ten with the largest part of their limit used; ties go by amount."""
    count = held = posted = suspended = 0
    fullest: list[tuple[float, int, str, WindowSpend]] = []
    window_id = ""
    async for each in spends:
        count, window_id = count + 1, each.window_id
        held += each.held_usd_nanos
        posted += each.posted_usd_nanos
        suspended += each.suspended_usd_nanos
        heapq.heappush(fullest, (*fullness(each), each.scope, each))
        if len(fullest) > FULLEST:
            heapq.heappop(fullest)
    shown = tuple(each for *_, each in sorted(fullest, reverse=True))
    return KindSpend(kind, window, window_id, count, held, posted, suspended, shown)


def fullness(spend: WindowSpend) -> tuple[float, int]:
    """Part of the limit that is used (0 without one), then nano-dollars used."""
    used = spend.used_usd_nanos
    if not spend.limit_usd_nanos:
        return (0.0 if spend.limit_usd_nanos is None or not used else math.inf), used
    return used / spend.limit_usd_nanos, used


async def _hash(store: Redis, key: str) -> dict[str, str]:
    # The client decodes; its types do not say so.
    return {str(field): str(value) for field, value in (await store.hgetall(key)).items()}


async def _names(store: Redis, prefix: str) -> list[str]:
    """Names of counters and frozen models; reservations, the many keys of an epoch, stay where they are."""
    found: set[str] = set()
    looked = 0
    cursor = 0
    while True:
        cursor, keys = await store.scan(cursor, match=f"{prefix}[wf]*", count=SCAN_COUNT)
        found.update(str(key).removeprefix(prefix) for key in keys)
        looked += SCAN_COUNT
        if cursor == 0:
            return sorted(found)
        if looked >= KEYS_MAX:
            raise CommandFailed(f"the store holds more than {KEYS_MAX} keys: the ledger has the sums too")


def parse_counter(name: str) -> tuple[str, str, str] | None:
    """Scope, window and window id of `w:<scope>:<window>:<window_id>`; a scope may hold a colon itself."""
    parts = name.split(":")
    if parts[0] != "w" or len(parts) < 4:
        return None
    return ":".join(parts[1:-2]), parts[-2], parts[-1]


def limit_of(scope: str, window: str, limits: Mapping[str, str]) -> int | None:
    """The limit of this one scope, else of its kind, in nano-dollars."""
    kind = scope.partition(":")[0]
    digits = limits.get(f"{scope}|{window}", limits.get(f"{kind}|{window}"))
    return None if digits is None else int(digits)


def window_ids(now: datetime) -> dict[str, str]:
    """The id of each window that `now`, in UTC, falls into."""
    return {
        Window.MINUTE.value: str(int(now.timestamp()) // 60),
        Window.DAY.value: now.strftime("%Y-%m-%d"),
        Window.MONTH.value: now.strftime("%Y-%m"),
        Window.LIFETIME.value: "all",
    }


def _configured_names(config: MeshConfig) -> dict[str, str]:
    """Scopes as the store has them to what they are called in `mesh.toml`."""
    models = [f"{provider.name}/{model.name}" for provider in config.providers for model in provider.models]
    return {limit_scope(each.scope): each.scope for each in config.budgets} | {
        scope_key(ScopeKind.MODEL, model): f"model:{model}" for model in models
    }
