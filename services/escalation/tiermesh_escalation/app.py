"""Escalation: composition root."""

import os
import sys
from typing import Final
from uuid import uuid4

from faststream.asgi import AsgiFastStream

from tiermesh_chassis.clock import now_ms
from tiermesh_chassis.delivery import Lane
from tiermesh_chassis.retry_policy import RetryPolicy
from tiermesh_chassis.running import run_service
from tiermesh_chassis.service import Boot, Service
from tiermesh_contracts.escalations import Grant, Outcome
from tiermesh_contracts.topics import GRANTS, OUTCOMES
from tiermesh_escalation.adapters import ConfiguredEndpoints, HttpFrontier, OtelWatch, RedisFences, RedisFirsts
from tiermesh_escalation.handlers import GrantHandlers, OutcomeHandlers

NAME: Final = "escalation"
NEEDS_STORE: Final = True

PATIENT: Final = RetryPolicy(attempts_max=10_000)
"""Hours: money is held for a grant, and an outcome is owed to someone. Neither ends because the store is away."""


def create_app(boot: Boot) -> AsgiFastStream:
    service = Service(NAME, boot)
    store = service.store()
    limits = boot.config.limits
    frontier = HttpFrontier(limits.provider_calls_max)
    grants = GrantHandlers(
        process=str(uuid4()),
        endpoints=ConfiguredEndpoints(boot.config, os.environ),
        fences=RedisFences(store),
        frontier=frontier,
        publisher=service.publisher,
        watch=OtelWatch(),
        clock=now_ms,
    )
    outcomes = OutcomeHandlers(
        firsts=RedisFirsts(store), publisher=service.publisher, results=service.results, clock=now_ms
    )
    # A fence's lease owns a call, not the partition: a rebalance does not wait for calls.
    service.subscribe(
        GRANTS, Lane(Grant, grants.on_grants, limits.provider_calls_max, retry=PATIENT), drain_on_revoke=False
    )
    service.subscribe(OUTCOMES, Lane(Outcome, outcomes.on_outcomes, limits.in_flight_max, retry=PATIENT))
    service.on_close(frontier.aclose)
    return service.app()


def main() -> None:
    sys.exit(run_service(NAME, create_app, needs_store=NEEDS_STORE))
