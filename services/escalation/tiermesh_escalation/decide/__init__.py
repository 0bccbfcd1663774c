"""Pure decisions: whether to call, what a call's end means, what becomes of its outcome."""

from tiermesh_escalation.decide.calls import lease_ms, plan_call
from tiermesh_escalation.decide.deliveries import plan_delivery
from tiermesh_escalation.decide.findings import read_fence, read_seen
from tiermesh_escalation.decide.outcomes import conclude, judge_attempt

__all__ = [
    "conclude",
    "judge_attempt",
    "lease_ms",
    "plan_call",
    "plan_delivery",
    "read_fence",
    "read_seen",
]
