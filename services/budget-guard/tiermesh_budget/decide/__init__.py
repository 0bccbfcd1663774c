"""The guard's decisions: pure, no clock, no store."""

from tiermesh_budget.decide.admit import decide_short, plan_admission
from tiermesh_budget.decide.effective import EffectiveLedger
from tiermesh_budget.decide.parking import ParkingLot
from tiermesh_budget.decide.settle import Resolution, resolution_of

__all__ = ["EffectiveLedger", "ParkingLot", "Resolution", "decide_short", "plan_admission", "resolution_of"]
