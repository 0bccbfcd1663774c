"""Carrying a kept store over into an empty ledger: the one case where the store speaks for the ledger."""

from redis.asyncio import Redis

from tiermesh_budget.adapters.scripts import load_script
from tiermesh_chassis.publishing import Publisher
from tiermesh_contracts.budget import Balance, Opening, Window
from tiermesh_contracts.topics import OPENINGS


class CarryOver:
    """1. write an opening with the balances · 2. rename the books into the new epoch, held becomes suspended.

    A crash between the two repeats both: the opening is compacted by org, and the script runs once.
    """

    def __init__(self, store: Redis, publisher: Publisher, org: str) -> None:
        self._store = store
        self._publisher = publisher
        self._org = org
        self._script = load_script(store, "carry_over")

    async def run(self, old_epoch: int, new_epoch: int, run_id: str, now_ms: int) -> str | None:
        """None where it is done, else why the books stay closed."""
        old, new = f"{{{self._org}}}:e{old_epoch}:", f"{{{self._org}}}:e{new_epoch}:"
        opening = Opening(
            org=self._org, epoch=new_epoch, ledger_offset=0, at_ms=now_ms, balances=await self._balances(old)
        )
        event_id = f"{self._org}/{new_epoch}"
        await self._publisher.publish(
            OPENINGS.name, opening, key=self._org, event_id=event_id, correlation_id=event_id
        )
        reply = await self._script(keys=[f"{{{self._org}}}:epoch", old, new], args=[old_epoch, new_epoch, run_id])
        return None if reply[0] == "done" else str(reply[1])

    async def _balances(self, prefix: str) -> tuple[Balance, ...]:
        balances = []
        async for key in self._store.scan_iter(f"{prefix}w:*", count=500):
            sums = await self._store.hgetall(key)
            scope, window, window_id = str(key).removeprefix(f"{prefix}w:").rsplit(":", 2)
            balances.append(
                Balance(
                    scope=scope,
                    window=Window(window),
                    window_id=window_id,
                    posted_usd_nanos=int(sums.get("posted", 0)),
                    suspended_usd_nanos=int(sums.get("suspended", 0)) + int(sums.get("held", 0)),
                )
            )
        return tuple(balances)
