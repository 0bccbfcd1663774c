"""A service on the chassis: broker, store, deliveries, health and an orderly end, joined by its `create_app`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from faststream.asgi import AsgiFastStream
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tiermesh_chassis.background import or_end
from tiermesh_chassis.broker import build_broker
from tiermesh_chassis.claims import CLAIM_TIMEOUT_S, RedisClaims
from tiermesh_chassis.committing import Committer, RebalanceListener
from tiermesh_chassis.config import MeshConfig
from tiermesh_chassis.dead_letters import DeadLetters
from tiermesh_chassis.delivery import Delivery, Lane
from tiermesh_chassis.health import Check, health_routes
from tiermesh_chassis.publishing import KafkaPublisher
from tiermesh_chassis.settings import Environment
from tiermesh_chassis.store import connect_store
from tiermesh_chassis.subscribing import Subscription
from tiermesh_chassis.terminal import TerminalResults
from tiermesh_contracts.brokers import BrokerTraits
from tiermesh_contracts.message import Message
from tiermesh_contracts.topics import Topic

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Boot:
    """What every service starts from."""

    env: Environment
    config: MeshConfig
    traits: BrokerTraits


class Service:
    """Collects what a service consists of; `app()` makes it run."""

    def __init__(self, name: str, boot: Boot) -> None:
        self.name = name
        self.env = boot.env
        self.config = boot.config
        self._traits = boot.traits
        self.broker = build_broker(
            boot.env.kafka,
            boot.traits,
            client_id=f"tiermesh-{name}",
            graceful_timeout_s=boot.env.grace_s,
        )
        self.publisher = KafkaPublisher(self.broker, name)
        claims_store = connect_store(boot.env.redis_url, timeout_s=CLAIM_TIMEOUT_S, pool_timeout_s=CLAIM_TIMEOUT_S)
        self.claims = RedisClaims(claims_store)
        self.results = TerminalResults(self.publisher, self.claims)
        self._dead_letters = DeadLetters(name, self.publisher, self.results, self.claims)
        self._stores: list[Redis] = [claims_store]
        self._deliveries: list[Delivery[Any]] = []
        self._checks: dict[str, Check] = {}
        self._advisory: dict[str, Check] = {}
        self._background: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._closers: list[Callable[[], Awaitable[None]]] = []

    def store(self, *, timeout_s: float = 2.0) -> Redis:
        """A store connection of the service's own, checked by `/ready`, closed at the end."""
        store = connect_store(self.env.redis_url, timeout_s=timeout_s)
        self._stores.append(store)

        async def answers() -> str | None:
            try:
                await store.ping()
            except (RedisError, OSError) as error:
                return f"the store does not answer: {error}"
            return None

        self.check("store", answers)
        return store

    def check(self, name: str, check: Check, *, advisory: bool = False) -> None:
        """`/ready` shows what it says; where `advisory`, the service is ready all the same."""
        (self._advisory if advisory else self._checks)[name] = check

    def in_background(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """`run` starts with the service and is cancelled at its end; if it fails, the service ends."""
        self._background.append(run)

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None:
        self._closers.append(close)

    def subscribe(self, topic: Topic, lane: Lane[M], *, drain_on_revoke: bool = True) -> Subscription:
        """Read `topic` in the service's own group for it, deliver each record to the lane's handler."""
        committer = Committer()
        delivery = Delivery(lane, committer, self._dead_letters, self.env.unknown_fields)
        subscription = Subscription(
            self.broker,
            self._traits,
            topic,
            f"tiermesh.{self.name}.{topic.name}",
            listener=RebalanceListener(committer, drain=drain_on_revoke),
            records_max=lane.in_flight_max,
            instance=self.env.instance,
        )
        subscription.deliver_to(delivery, committer)
        self._deliveries.append(delivery)

        async def assigned() -> str | None:
            return None if subscription.is_assigned else "no partitions assigned yet"

        self.check(topic.name, assigned)
        return subscription

    def app(self) -> AsgiFastStream:
        return AsgiFastStream(
            self.broker,
            asgi_routes=health_routes(self._checks, self._advisory),
            lifespan=self._lifespan,
            on_shutdown=[self._drain],
            logger=None,
        )

    async def _drain(self) -> None:
        """Runs before the broker stops: consumers are still members, so that the last commits count."""
        await asyncio.gather(*(delivery.drain(self.env.grace_s) for delivery in self._deliveries))

    @asynccontextmanager
    async def _lifespan(self, *_: Any) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(or_end(run)) for run in self._background]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for close in self._closers:
                await close()
            for store in self._stores:
                await store.aclose()
