"""The services as processes of their own, on an embedded or a given broker and store."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tiermesh_cli.apache.local import Local
from tiermesh_cli.embedded import Embedded, free_port
from tiermesh_cli.processes import Child, ProcessFailed, wait_ready

SERVICES: Final = ("router", "local-inference", "budget-guard", "escalation")
READY_TIMEOUT_S: Final = 60.0
GRACE_S: Final = 15.0


class MeshInvalid(ValueError):
    """A mesh that cannot be started as asked; says what to give instead."""


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """One running service."""

    child: Child
    health_url: str
    """`http://127.0.0.1:PORT/health`; `/ready` and `/metrics` answer beside it."""

    @property
    def pid(self) -> int:
        return self.child.pid


class Mesh:
    """Services, and where embedded the broker and store below them: `async with await Mesh.start(...) as mesh:`.

    Use it from the main thread: each process ends with the thread that started it.
    """

    def __init__(self, kafka: str, redis_url: str, run_dir: Path, embedded: Embedded | None) -> None:
        self.kafka = kafka
        self.redis_url = redis_url
        self.run_dir = run_dir
        self.embedded = embedded
        """`Local` where the broker is Apache Kafka; None: broker and store are somebody else's."""
        self.services: dict[str, ServiceProcess] = {}

    @classmethod
    async def start(
        cls,
        *,
        config: Path,
        models: Path,
        embedded: bool = False,
        local: bool = False,
        kafka: str | None = None,
        redis_url: str | None = None,
        only: Sequence[str] | None = None,
        run_dir: Path | None = None,
        state_dir: Path | None = None,
        extra_env: Mapping[str, str] | None = None,
    ) -> Self:
        """Start everything and return at once: `ready()` waits. Topics exist on return.

        With `embedded`, broker and store are started too, the store's data in `state_dir` where given; with
        `local` they are Apache Kafka and Redis, and `state_dir` keeps the data of both. Logs go to
        `run_dir/logs/NAME.log`. Raises `MeshInvalid`, `EmbeddedMissing`, `KafkaMissing`, `ProcessFailed`,
        `BrokerUnreachable` or the chassis' `StartError`, and leaves nothing running.
        """
        names = chosen_services(only)
        run_dir = run_dir or Path(".tiermesh") / f"run-{os.getpid()}"
        own = Local if local else Embedded if embedded else None
        parts = await own.start(run_dir / "logs", state_dir) if own else None
        if parts is not None:
            kafka, redis_url = parts.kafka, parts.redis_url
        if kafka is None or redis_url is None:
            raise MeshInvalid(
                "no broker and store: use --embedded or --kafka local, or set TIERMESH_KAFKA and TIERMESH_REDIS_URL"
            )
        mesh = cls(kafka, redis_url, run_dir, parts)
        try:
            await ensure_topics(kafka)
            mesh._start_services(names, config, models, extra_env or {})
        except BaseException:
            await mesh.stop(grace_s=0)
            raise
        return mesh

    def _start_services(
        self, names: Sequence[str], config: Path, models: Path, extra_env: Mapping[str, str]
    ) -> None:
        ports: set[int] = set()
        while len(ports) < len(names):
            ports.add(free_port())
        for name, port in zip(names, sorted(ports), strict=True):
            env = {
                **os.environ,
                "TIERMESH_KAFKA": self.kafka,
                "TIERMESH_REDIS_URL": self.redis_url,
                "TIERMESH_CONFIG": str(config.absolute()),
                "TIERMESH_MODELS": str(models.absolute()),
                "TIERMESH_HEALTH_PORT": str(port),
                "TIERMESH_INSTANCE": f"{name}-0",
                **extra_env,
            }
            argv = [sys.executable, "-m", "tiermesh_cli", "run", name]
            child = Child(name, argv, self.run_dir / "logs" / f"{name}.log", env=env, ready_port=port)
            self.services[name] = ServiceProcess(child, f"http://127.0.0.1:{port}/health")

    async def ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until every service may be given work. Raises `ProcessFailed` naming each that is not."""
        waits = (wait_ready(service.child, timeout_s) for service in self.services.values())
        outcomes = await asyncio.gather(*waits, return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for failure in failures:
            if not isinstance(failure, ProcessFailed):
                raise failure
        if failures:
            raise ProcessFailed("\n".join(str(failure) for failure in failures))

    def restart(self, name: str) -> ServiceProcess:
        """Kill `name` with SIGKILL if it still runs, and start it again the same way; `ready()` waits for it."""
        old = self.services[name]
        old.child.kill()
        self.services[name] = ServiceProcess(old.child.successor(), old.health_url)
        return self.services[name]

    def ended(self) -> list[Child]:
        """Whatever is no longer running: services by name, and the broker and the `store` that were started."""
        parts = [self.embedded.broker, self.embedded.store] if self.embedded else []
        return [child for child in (*self._children(), *parts) if child.poll() is not None]

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """End the services together, then what is embedded; after `grace_s` they are killed."""
        try:
            await asyncio.gather(*(asyncio.to_thread(child.terminate, grace_s) for child in self._children()))
        finally:
            for child in self._children():
                child.kill()
            if self.embedded is not None:
                await self.embedded.stop()

    def _children(self) -> list[Child]:
        return [service.child for service in self.services.values()]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.stop()


def chosen_services(only: Sequence[str] | None) -> tuple[str, ...]:
    """The services to start, in their order. Raises `MeshInvalid` for a name that is none."""
    if only is None:
        return SERVICES
    unknown = [name for name in only if name not in SERVICES]
    if unknown or not only:
        raise MeshInvalid(f"no service {', '.join(unknown) or 'named'}; there are {', '.join(SERVICES)}")
    return tuple(name for name in SERVICES if name in only)


async def ensure_topics(kafka: str, tenants: Sequence[str] = (), replication: int | None = None) -> list[str]:
    """Create the topics that are missing, with as many copies as the brokers allow where `replication` is absent.

    Returns the names created. Raises `BrokerUnreachable` or `StartError`."""
    from tiermesh_chassis.admin import create_topics, registry
    from tiermesh_contracts.brokers import broker_traits

    await broker_traits(kafka)
    return await create_topics(kafka, registry(tenants), replication=replication)
