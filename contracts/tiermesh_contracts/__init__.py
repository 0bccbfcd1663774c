"""What producers and services agree on: topics, messages, ids. Importing it never imports a Kafka client."""

from tiermesh_contracts.budget import LedgerEntry, Reservation
from tiermesh_contracts.escalations import Escalation, Grant, Outcome
from tiermesh_contracts.failures import DeadLetter, DeadLetterReason
from tiermesh_contracts.requests import AcceptedRequest, ChatMessage, InferenceRequest, LocalWork
from tiermesh_contracts.results import InferenceResult, ResultReason, Status, Tier
from tiermesh_contracts.routing import RoutingDecision

__all__ = [
    "AcceptedRequest",
    "ChatMessage",
    "DeadLetter",
    "DeadLetterReason",
    "Escalation",
    "Grant",
    "InferenceRequest",
    "InferenceResult",
    "LedgerEntry",
    "LocalWork",
    "Outcome",
    "Reservation",
    "ResultReason",
    "RoutingDecision",
    "Status",
    "Tier",
]
