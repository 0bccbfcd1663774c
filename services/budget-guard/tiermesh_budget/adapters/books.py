"""The books in Redis: one atomic script a transition."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from tiermesh_budget.adapters.scripts import load_script
from tiermesh_budget.decide import EffectiveLedger, Resolution
from tiermesh_budget.decide.scopes import scope_key
from tiermesh_budget.errors import BooksClosed
from tiermesh_budget.model import Bid, Frozen, Held, NoMoney, Reply, Resolved, UnknownReservation
from tiermesh_chassis.errors import PermanentError
from tiermesh_contracts.budget import ScopeKind
from tiermesh_contracts.escalations import Escalation
from tiermesh_contracts.failures import DeadLetterReason

KEEP_AFTER_EXPIRY_MS = 7 * 86_400_000
"""A resolved reservation is kept this long past its request's deadline: late evidence still finds it."""


class RedisBooks:
    """Speaks for one org in the epoch that the ledger was last read in."""

    def __init__(
        self,
        store: Redis,
        org: str,
        ledger: EffectiveLedger,
        closed_why: Callable[[], str | None],
        on_entry: Callable[[], None],
        on_closed: Callable[[str], None],
    ) -> None:
        self._org = org
        self._ledger = ledger
        self._closed_why = closed_why
        self._on_entry = on_entry
        self._on_closed = on_closed
        self._reserve = load_script(store, "reserve")
        self._find = load_script(store, "find")
        self._resolve = load_script(store, "resolve")
        self._limits = load_script(store, "limits")

    async def reserve(self, escalation: Escalation, bid: Bid) -> Reply:
        """Hold the bid's worst case over all its scopes, or nothing. Idempotent by the attempt's id.

        Raises `BooksClosed`, and `PermanentError(id_reused)` where the id was used with another body.
        """
        epoch = self._open_epoch()
        request = escalation.accepted.request
        limit = request.cost_usd_nanos_max
        reply = await self._call(
            self._reserve,
            epoch,
            [
                epoch,
                self._ledger.seq,
                bid.att,
                bid.amount_usd_nanos,
                request.body_sha256,
                scope_key(ScopeKind.MODEL, str(bid.offer.ref)),
                "" if limit is None else limit,
                _reservation_json(self._org, escalation, bid),
                _entry_json(self._org, escalation, bid),
                escalation.accepted.expires_at_ms + KEEP_AFTER_EXPIRY_MS,
                *(part for scope in bid.scopes for part in (scope.key, scope.kind.value)),
            ],
        )
        match reply:
            case ["held", reservation, seq, state]:
                return Held(epoch, int(seq), state, reservation)
            case ["no_money", scope, window]:
                return NoMoney(scope, window)
            case ["frozen"]:
                return Frozen()
            case ["id_reused"]:
                raise PermanentError(DeadLetterReason.ID_REUSED, "the request id was used with another body")
            case ["no_budget"]:
                raise BooksClosed(f"org {self._org} has no budget: add [[budgets]] with scope = 'org'")
            case _:
                raise BooksClosed(f"unexpected reply of reserve: {reply}")

    async def find(self, att: str) -> Held | None:
        epoch = self._open_epoch()
        match await self._call(self._find, epoch, [epoch, self._ledger.seq, att]):
            case ["held", reservation, seq, state]:
                return Held(epoch, int(seq), state, reservation)
            case _:
                return None

    async def resolve(self, att: str, resolution: Resolution) -> Resolved | UnknownReservation:
        epoch = self._open_epoch()
        arguments = [epoch, self._ledger.seq, att, resolution.to.value, resolution.cost_usd_nanos]
        match await self._call(self._resolve, epoch, arguments):
            case ["done", seq]:
                return Resolved(epoch, int(seq), repeated=False)
            case ["already", _, seq]:
                return Resolved(epoch, int(seq), repeated=True)
            case ["unknown"]:
                return UnknownReservation()
            case reply:
                raise BooksClosed(f"unexpected reply of resolve: {reply}")

    async def set_limits(self, limits: Sequence[tuple[str, str, int]]) -> int:
        epoch = self._open_epoch()
        entry = f'"org":{json.dumps(self._org)}'
        parts = [part for limit in limits for part in limit]
        reply = await self._call(self._limits, epoch, [epoch, self._ledger.seq, entry, *parts])
        return int(reply[1])

    def _open_epoch(self) -> int:
        why = self._closed_why()
        if why is not None:
            raise BooksClosed(why)
        return self._ledger.epoch

    async def _call(self, script: AsyncScript, epoch: int, arguments: Sequence[object]) -> list[Any]:
        keys = [f"{{{self._org}}}:epoch", f"{{{self._org}}}:e{epoch}:"]
        try:
            reply: list[Any] = await script(keys=keys, args=[str(a) for a in arguments])
        except (RedisError, OSError) as error:
            raise BooksClosed(f"the store does not answer: {error!r}") from error
        if reply[0] == "closed":
            self._on_closed(reply[1])
            raise BooksClosed(reply[1])
        self._on_entry()
        return reply


def _reservation_json(org: str, escalation: Escalation, bid: Bid) -> str:
    """All of a reservation that is known before the store stamps it; epoch and seq are added from its reply."""
    return json.dumps(
        {
            "att": bid.att,
            "org": org,
            "amount_usd_nanos": bid.amount_usd_nanos,
            "provider": bid.offer.ref.provider,
            "model": bid.offer.ref.model,
            "rates": bid.price.model_dump(),
            "input_tokens_max": bid.input_tokens_max,
            "output_tokens_max": bid.output_tokens_max,
            "body_sha256": bid.body_sha256,
            "not_after_ms": escalation.accepted.expires_at_ms,
        }
    )


def _entry_json(org: str, escalation: Escalation, bid: Bid) -> str:
    """The inside of a ledger entry's object, without its braces: the script adds what it stamps."""
    fields = {
        "org": org,
        "att": bid.att,
        "tenant": escalation.accepted.request.tenant,
        "request_id": str(escalation.accepted.request.request_id),
        "provider": bid.offer.ref.provider,
        "model": bid.offer.ref.model,
        "price_version": bid.price.version,
    }
    return json.dumps(fields)[1:-1]
