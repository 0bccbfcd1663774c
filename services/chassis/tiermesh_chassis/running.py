"""From an environment to a running service: what `tiermesh run SERVICE` and the images call."""

import asyncio
import sys
import time
from collections.abc import Callable

import uvicorn
from faststream.asgi import AsgiFastStream

from tiermesh_chassis.admin import registry
from tiermesh_chassis.config import load_config
from tiermesh_chassis.errors import DependencyMissing, StartError
from tiermesh_chassis.logging import configure_logging
from tiermesh_chassis.service import Boot
from tiermesh_chassis.settings import Environment, read_environment
from tiermesh_chassis.store import connect_store, require_store
from tiermesh_chassis.telemetry import configure_telemetry
from tiermesh_contracts.brokers import BrokerTraits, BrokerUnreachable, broker_traits, missing_topics

START_FAILED = 2
RETRY_S = 0.5

CreateApp = Callable[[Boot], AsgiFastStream]


def run_service(name: str, create_app: CreateApp, *, needs_store: bool = True) -> int:
    """Run until SIGTERM or SIGINT; the exit status. A failed start prints one line and ends with 2.

    Where not `needs_store`, it starts without one: work that needs no money waits for no store.
    """
    try:
        env = read_environment()
        configure_logging(name, env.log_level)
        configure_telemetry(name)
        boot = Boot(env, load_config(env.config), asyncio.run(wait_for_dependencies(env, needs_store)))
        app = create_app(boot)
    except StartError as error:
        print(f"tiermesh {name}: {error}", file=sys.stderr)  # noqa: T201
        return START_FAILED
    server = uvicorn.Server(
        uvicorn.Config(
            app, host=env.health_host, port=env.health_port, log_config=None, lifespan="on", access_log=False
        )
    )
    server.run()
    return 0 if server.started else START_FAILED


async def wait_for_dependencies(env: Environment, needs_store: bool = True) -> BrokerTraits:
    """Wait for broker, topics and, where needed, the store, at most `start_timeout_s`.

    Raises `DependencyMissing` with one line.

    A topic that is subscribed to before it exists is created by many brokers, with a partition count of theirs.
    """
    deadline = time.monotonic() + env.start_timeout_s
    while True:
        try:
            return await _look(env, needs_store)
        except (BrokerUnreachable, DependencyMissing) as error:
            if time.monotonic() + RETRY_S > deadline:
                hint = "set TIERMESH_KAFKA; " if isinstance(error, BrokerUnreachable) else ""
                raise DependencyMissing(f"{error} ({hint}waited {env.start_timeout_s:g} s)") from error
            await asyncio.sleep(RETRY_S)


async def _look(env: Environment, needs_store: bool) -> BrokerTraits:
    traits = await broker_traits(env.kafka)
    if needs_store:
        store = connect_store(env.redis_url)
        try:
            await require_store(store, env.redis_url)
        finally:
            await store.aclose()
    if missing := await missing_topics(env.kafka, [topic.name for topic in registry()]):
        raise DependencyMissing(f"no topic {', '.join(missing)} at {env.kafka}: run 'tiermesh topics create'")
    return traits
