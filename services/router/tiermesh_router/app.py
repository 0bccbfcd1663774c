"""The router: composition root."""

import sys

from faststream.asgi import AsgiFastStream

from tiermesh_chassis.clock import now_ms
from tiermesh_chassis.delivery import Lane
from tiermesh_chassis.running import run_service
from tiermesh_chassis.service import Boot, Service
from tiermesh_contracts.requests import InferenceRequest
from tiermesh_contracts.topics import REQUESTS
from tiermesh_router.adapters import BatchedScopeScores, DecisionsMeter, open_models
from tiermesh_router.handlers import RouterHandlers
from tiermesh_router.model import Policy

NAME = "router"

NEEDS_STORE = False
"""Claims alone use it, and go on without: a restart while the store is away would stop local work."""


def create_app(boot: Boot) -> AsgiFastStream:
    """Raises `DependencyMissing` where no model is installed."""
    models = open_models(boot.env.models)
    service = Service(NAME, boot)
    limits = boot.config.limits
    scores = BatchedScopeScores(
        models, clock=now_ms, batch_tokens_max=limits.batch_tokens_max, waiting_max=limits.in_flight_max
    )
    handlers = RouterHandlers(
        policy=Policy(boot.config.privacy.default, boot.config.frontier_candidates),
        claims=service.claims,
        scores=scores,
        publisher=service.publisher,
        results=service.results,
        decisions=DecisionsMeter(),
        clock=now_ms,
    )
    service.subscribe(REQUESTS, Lane(InferenceRequest, handlers.on_requests, in_flight_max=limits.in_flight_max))
    service.in_background(models.keep_current)
    service.check("models", scores.check)
    service.check("claims", service.claims.check, advisory=True)
    service.on_close(scores.close)
    return service.app()


def main() -> None:
    sys.exit(run_service(NAME, create_app, needs_store=NEEDS_STORE))
