"""Local inference: composition root."""

import sys

from faststream.asgi import AsgiFastStream

from tiermesh_chassis.clock import now_ms
from tiermesh_chassis.delivery import Lane
from tiermesh_chassis.errors import ConfigError
from tiermesh_chassis.running import run_service
from tiermesh_chassis.service import Boot, Service
from tiermesh_contracts.requests import LocalWork
from tiermesh_contracts.topics import LOCAL, Pool
from tiermesh_inference.adapters import BatchedClassifier, InferenceMeter, open_models
from tiermesh_inference.handlers import LocalHandlers

NAME = "local-inference"
POOLS_SERVED: tuple[Pool, ...] = ("classify",)

NEEDS_STORE = False
"""Claims alone use it, and go on without: a restart while the store is away would stop local work."""


def create_app(boot: Boot) -> AsgiFastStream:
    """Raises `ConfigError` for a pool without a kind of model, `DependencyMissing` where no model is installed."""
    pools = _pools(boot)
    models = open_models(boot.env.models)
    service = Service(NAME, boot)
    limits = boot.config.limits
    classifier = BatchedClassifier(
        models,
        InferenceMeter(),
        clock=now_ms,
        batch_tokens_max=limits.batch_tokens_max,
        waiting_max=limits.in_flight_max,
    )
    handlers = LocalHandlers(
        frontier=boot.config.frontier_candidates,
        classifier=classifier,
        publisher=service.publisher,
        results=service.results,
        clock=now_ms,
    )
    for pool in pools:
        service.subscribe(LOCAL[pool], Lane(LocalWork, handlers.on_work, in_flight_max=limits.in_flight_max))
    service.in_background(models.keep_current)
    service.check("models", classifier.check)
    service.check("claims", service.claims.check, advisory=True)
    service.on_close(classifier.close)
    return service.app()


def _pools(boot: Boot) -> tuple[Pool, ...]:
    for pool in boot.env.pools:
        if pool not in POOLS_SERVED:
            served = ", ".join(POOLS_SERVED)
            raise ConfigError(f"TIERMESH_POOLS names {pool!r}, which no model of this version serves; use {served}")
    return tuple(dict.fromkeys(boot.env.pools))


def main() -> None:
    sys.exit(run_service(NAME, create_app, needs_store=NEEDS_STORE))
