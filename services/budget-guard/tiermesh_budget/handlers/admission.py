"""From an escalation to a grant, a parked record or a terminal result: steps 1 to 6 of reserve → grant."""

import json

from tiermesh_budget.decide import decide_short, plan_admission
from tiermesh_budget.decide.admit import best_local_or, may_hold
from tiermesh_budget.model import Bid, End, Frozen, Held, NoMoney, Park
from tiermesh_budget.ports import Books, Grants, Ledger, PriceTable
from tiermesh_chassis.clock import Clock
from tiermesh_chassis.terminal import TerminalResults
from tiermesh_contracts.budget import Reservation
from tiermesh_contracts.escalations import Escalation, Grant
from tiermesh_contracts.results import InferenceResult, ResultReason, Status


class Admission:
    def __init__(
        self,
        books: Books,
        ledger: Ledger,
        prices: PriceTable,
        grants: Grants,
        results: TerminalResults,
        clock: Clock,
    ) -> None:
        self._books = books
        self._ledger = ledger
        self._prices = prices
        self._grants = grants
        self._results = results
        self._clock = clock

    async def admit(self, escalation: Escalation) -> Park | None:
        """Grant or end the escalation; or `Park`, where it should wait. Idempotent by the attempt's id.

        Raises `BooksClosed` where nothing may be admitted now.
        """
        plan = plan_admission(escalation, self._prices.offers(), self._clock())
        if isinstance(plan, End):
            await self.end(escalation, plan.result)
            return None
        match await self._tender(escalation, plan.bids):
            case Held() as held:
                await self._grant(escalation, held)
            case End(result):
                await self._results.answer(escalation.origin, result)
            case Park() as park:
                return park
        return None

    async def end(self, escalation: Escalation, result: InferenceResult) -> None:
        """Answer, unless an earlier delivery set money aside for this attempt: then its grant goes out (again),
        for only the outcome of a grant gives money back, and escalation answers.

        Raises `BooksClosed` where nobody can say.
        """
        held = await self._books.find(escalation.att) if may_hold(escalation) else None
        if held is None:
            await self._results.answer(escalation.origin, result)
        else:
            await self._grant(escalation, held)

    async def _tender(self, escalation: Escalation, bids: tuple[Bid, ...]) -> Held | Park | End:
        """The first bid that the money covers."""
        short: NoMoney | None = None
        for bid in bids:
            match await self._books.reserve(escalation, bid):
                case Held() as held:
                    return held
                case NoMoney() as no_money:
                    # a budget that returns helps, the request's own limit never does
                    short = no_money if short is None or short.is_own_limit else short
                case Frozen():
                    continue
        if short is not None:
            return decide_short(escalation, short, self._clock())
        return End(best_local_or(escalation, Status.REFUSED, ResultReason.NO_FRONTIER, self._clock()))

    async def _grant(self, escalation: Escalation, held: Held) -> None:
        """Publish the grant once the hold was read back from the ledger: an acknowledgement alone proves
        nothing, for a late append can land behind another guard's fence."""
        await self._ledger.wait_effective(held.epoch, held.seq)
        reservation = Reservation.model_validate(
            {**json.loads(held.reservation_json), "epoch": held.epoch, "seq": held.seq}
        )
        await self._grants.publish(Grant(escalation=escalation, reservation=reservation))
