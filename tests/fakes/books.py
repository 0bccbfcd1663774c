"""The books on a real store, spoken to as the guard's scripts are, and a plain model of them to compare with."""

import json
from collections import Counter
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import redis

from fakes.budget import FAR_MS
from tiermesh_budget.adapters.scripts import load_script
from tiermesh_contracts.budget import LedgerEntry, LedgerKind
from tiermesh_contracts.ids import new_request_id

SCOPES = (("org", "org"), ("tenant:acme", "tenant"))
REF = "model:0123456789abcdef01234567"


class Desk:
    """One org's books in the store at `url`, in an epoch that it opens itself."""

    def __init__(self, url: str, org: str | None = None, epoch: int = 1) -> None:
        self.store: Any = redis.Redis.from_url(url, decode_responses=True)
        self.org = org or f"o{new_request_id().hex}"
        self.epoch = epoch
        self.prefix = f"{{{self.org}}}:e{epoch}:"
        self.epoch_key = f"{{{self.org}}}:epoch"

    def open(self) -> "Desk":
        self.store.hset(self.epoch_key, mapping={"epoch": self.epoch, "run_id": self.run_id})
        return self

    @property
    def run_id(self) -> str:
        return str(self.store.info("server")["run_id"])

    def call(self, name: str, *arguments: object) -> list[str]:
        script = load_script(self.store, name)
        reply: list[str] = script(keys=[self.epoch_key, self.prefix], args=[str(a) for a in arguments])
        return reply

    def limits(self, *limits: tuple[str, str, int], seq_min: int = 0) -> list[str]:
        parts = (part for limit in limits for part in limit)
        return self.call("limits", self.epoch, seq_min, f'"org":"{self.org}"', *parts)

    def reserve(
        self,
        att: str,
        amount: int,
        *,
        body: str = "body",
        limit: int | str = "",
        scopes: tuple[tuple[str, str], ...] = SCOPES,
        seq_min: int = 0,
        frozen_ref: str = REF,
        keep_until_ms: int = FAR_MS,
    ) -> list[str]:
        entry = json.dumps({"org": self.org, "att": att, "tenant": "acme"})[1:-1]
        reservation = json.dumps({"att": att, "amount_usd_nanos": amount})
        parts = (part for scope in scopes for part in scope)
        return self.call(
            "reserve",
            *(self.epoch, seq_min, att, amount, body, frozen_ref, limit, reservation, entry, keep_until_ms, *parts),
        )

    def find(self, att: str, seq_min: int = 0) -> list[str]:
        return self.call("find", self.epoch, seq_min, att)

    def resolve(self, att: str, to: str, cost: int = 0, seq_min: int = 0) -> list[str]:
        return self.call("resolve", self.epoch, seq_min, att, to, cost)

    def raw_entries(self) -> list[str]:
        entries: list[str] = self.store.zrange(self.prefix + "outbox", 0, -1)
        return entries

    def entries(self, att: str | None = None) -> list[LedgerEntry]:
        """All that the scripts wrote, each read as the ledger's readers do."""
        read = [LedgerEntry.from_bytes(raw.encode(), "forbid") for raw in self.raw_entries()]
        return [e for e in read if att is None or e.att == att]

    def sums(self, scope: str, window: str = "lifetime", window_id: str = "all") -> tuple[int, int, int]:
        """Held, posted, suspended."""
        sums = self.store.hmget(f"{self.prefix}w:{scope}:{window}:{window_id}", "held", "posted", "suspended")
        held, posted, suspended = (int(s or 0) for s in sums)
        return held, posted, suspended

    def all_sums(self) -> dict[str, tuple[int, int, int]]:
        keys = [key.removeprefix(self.prefix + "w:") for key in self.store.scan_iter(f"{self.prefix}w:*")]
        return {key: self.sums(*key.rsplit(":", 2)) for key in keys}

    def state(self, att: str) -> str | None:
        state: str | None = self.store.hget(f"{self.prefix}r:{att}", "state")
        return state


def run_common(store: Any, body: str, *arguments: object) -> list[str]:
    """Run `body` with the functions that all scripts share."""
    common = (resources.files("tiermesh_budget") / "lua" / "common.lua").read_text(encoding="utf-8")
    reply: list[str] = store.eval(common + body, 0, *arguments)
    return reply


def folded(entries: list[LedgerEntry]) -> dict[str, tuple[int, int, int]]:
    """Law I1's other side: held, posted, suspended of each scope and window, from the entries alone."""
    sums: dict[str, list[int]] = {}
    for entry in entries:
        if entry.kind in {LedgerKind.LIMIT_SET, LedgerKind.EPOCH_OPENED}:
            continue
        for scope in entry.scopes:
            of = sums.setdefault(f"{scope.scope}:{scope.window}:{scope.window_id}", [0, 0, 0])
            of[2 if entry.from_suspended else 0] -= entry.freed_usd_nanos
            match entry.kind:
                case LedgerKind.HELD:
                    of[0] += entry.amount_usd_nanos
                case LedgerKind.SETTLED | LedgerKind.OVERRUN:
                    of[1] += entry.amount_usd_nanos
                case LedgerKind.SUSPENDED:
                    of[2] += entry.amount_usd_nanos
    return {key: (held, posted, suspended) for key, (held, posted, suspended) in sums.items()}


@dataclass
class PlainReservation:
    amount: int
    scopes: list[str]
    state: str = "held"
    overrun: bool = False


@dataclass
class PlainBooks:
    """What the scripts should do, written down without a store: lifetime limits by scope or by kind."""

    limits: dict[str, int] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    reservations: dict[str, PlainReservation] = field(default_factory=dict)
    frozen: bool = False

    def reserve(self, att: str, amount: int, scopes: tuple[tuple[str, str], ...]) -> tuple[str, str]:
        """What kind of reply, and the state or the scope that it names."""
        if att in self.reservations:
            return "held", self.reservations[att].state
        if self.frozen:
            return "frozen", ""
        if "org" not in self.limits:
            return "no_budget", ""
        counts_in = []
        for scope, kind in scopes:
            limit = self.limits.get(scope, self.limits.get(kind))
            if limit is not None and self.counted[scope] + amount > limit:
                return "no_money", scope
            if limit is not None:
                counts_in.append(scope)
        self.counted.update(dict.fromkeys(counts_in, amount))
        self.reservations[att] = PlainReservation(amount, counts_in)
        return "held", "held"

    def resolve(self, att: str, to: str, cost: int) -> str:
        known = self.reservations.get(att)
        if known is None:
            return "unknown"
        if known.state == "released" and to == "settled" and cost > 0 and not known.overrun:
            known.overrun = self.frozen = True
            self._count(known, cost)
            return "done"
        if known.state in {"settled", "released", to}:
            return "already"
        if to == "released":
            self._count(known, -known.amount)
        elif to == "settled":
            self._count(known, cost - known.amount)
            self.frozen = self.frozen or cost > known.amount
            known.overrun = cost > known.amount
        known.state = to
        return "done"

    def _count(self, known: PlainReservation, change: int) -> None:
        self.counted.update(dict.fromkeys(known.scopes, change))
