"""The sums of the budget in the store, read without changing anything."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tiermesh_budget.decide.scopes import limit_scope, scope_key
from tiermesh_chassis.config import MeshConfig
from tiermesh_chassis.store import connect_store, require_store
from tiermesh_cli.output import CommandFailed
from tiermesh_contracts.budget import ScopeKind, Window

KEYS_MAX: Final = 1_000_000
SCAN_COUNT: Final = 1_000
WINDOWS_MAX: Final = 10_000


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
    def left_usd_nanos(self) -> int | None:
        if self.limit_usd_nanos is None:
            return None
        return self.limit_usd_nanos - self.held_usd_nanos - self.posted_usd_nanos - self.suspended_usd_nanos


@dataclass(frozen=True, slots=True)
class Spend:
    org: str
    epoch: int
    run_id: str
    outbox: int
    """Entries that are not in the ledger yet."""
    frozen: tuple[str, ...]
    windows: tuple[WindowSpend, ...]

    def to_json(self) -> dict[str, Any]:
        windows = [{**asdict(each), "left_usd_nanos": each.left_usd_nanos} for each in self.windows]
        return {**asdict(self), "frozen": list(self.frozen), "windows": windows}


async def read_spend(redis_url: str, config: MeshConfig) -> Spend:
    """Raises `DependencyMissing` without a store, `CommandFailed` where no books are open in it."""
    store = connect_store(redis_url)
    try:
        await require_store(store, redis_url)
        return await _read(store, config)
    except RedisError as error:
        raise CommandFailed(f"the store at {redis_url} (TIERMESH_REDIS_URL) failed: {error}") from error
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
    sums: dict[tuple[str, str], dict[str, str]] = {
        (scope, window): {} for scope, _, window in fields if scope == "org" or ":" in scope
    }
    frozen: list[str] = []
    for name in await _names(store, prefix):
        if name.startswith("frozen:"):
            frozen.append(name.removeprefix("frozen:"))
        elif (counter := parse_counter(name)) is not None and counter[2] == current.get(counter[1]):
            sums[counter[0], counter[1]] = await _hash(store, prefix + name)
            if len(sums) > WINDOWS_MAX:
                raise CommandFailed(f"more than {WINDOWS_MAX} scopes have spent: the ledger has them all")
    configured = _configured_names(config)
    windows = tuple(
        WindowSpend(
            scope=scope,
            name=configured.get(scope, scope),
            window=window,
            window_id=current[window],
            limit_usd_nanos=limit_of(scope, window, limits),
            held_usd_nanos=int(counted.get("held", 0)),
            posted_usd_nanos=int(counted.get("posted", 0)),
            suspended_usd_nanos=int(counted.get("suspended", 0)),
        )
        for (scope, window), counted in sorted(sums.items())
    )
    return Spend(
        org=org,
        epoch=int(opened["epoch"]),
        run_id=opened.get("run_id", ""),
        outbox=int(await store.zcard(f"{prefix}outbox")),
        frozen=tuple(sorted(configured.get(each, each) for each in frozen)),
        windows=windows,
    )


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
