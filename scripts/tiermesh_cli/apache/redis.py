"""Debian's redis-server on loopback."""

import shutil
from pathlib import Path

from tiermesh_cli.embedded import START_TIMEOUT_S, start_store
from tiermesh_cli.output import CommandFailed
from tiermesh_cli.processes import Child


class RedisMissing(CommandFailed):
    """There is no redis-server on this machine; one line that says what to install."""


def redis_binary() -> Path:
    """Raises `RedisMissing`."""
    found = shutil.which("redis-server")
    if found is None:
        raise RedisMissing("there is no redis-server on PATH: apt-get install redis-server")
    return Path(found)


async def start_redis(log_dir: Path, port: int, data_dir: Path, timeout_s: float = START_TIMEOUT_S) -> Child:
    """Redis at `127.0.0.1:port`, each write on disk in `data_dir` before it is acknowledged.

    Returned once it answers PING. Raises `RedisMissing`, or `ProcessFailed` with the end of its log.
    """
    return await start_store(log_dir, port, data_dir, timeout_s, binary=redis_binary())
