"""Keeping a started mesh running: what ends by itself is started again, up to a bound."""

import asyncio
import time
from collections import deque
from typing import Final

from tiermesh_cli.apache.local import Local
from tiermesh_cli.mesh import Mesh, MeshInvalid
from tiermesh_cli.output import say
from tiermesh_cli.processes import Child, ProcessFailed

RESTARTS_MAX: Final = 5
RESTARTS_WINDOW_S: Final = 60.0
RESTART_DELAY_S: Final = 1.0
LOOK_S: Final = 0.5


class Restarts:
    """At most `RESTARTS_MAX` in any `RESTARTS_WINDOW_S`: what cannot run is not started for ever."""

    def __init__(self) -> None:
        self._at_s: deque[float] = deque()

    def allow(self, now_s: float) -> bool:
        """True, and counted, where one more is within the bound."""
        while self._at_s and now_s - self._at_s[0] >= RESTARTS_WINDOW_S:
            self._at_s.popleft()
        if len(self._at_s) >= RESTARTS_MAX:
            return False
        self._at_s.append(now_s)
        return True


async def keep_running(mesh: Mesh) -> None:
    """Never returns. Raises `ProcessFailed` once restarts do not help, or the embedded broker is gone."""
    restarts = Restarts()
    while True:
        for child in mesh.ended():
            await _start_again(mesh, child, restarts)
        await asyncio.sleep(LOOK_S)


async def _start_again(mesh: Mesh, child: Child, restarts: Restarts) -> None:
    why = f"{child.name} ended with status {child.poll()} (log: {child.log_path})"
    parts = mesh.embedded
    if parts is not None and child is parts.broker and not isinstance(parts, Local):
        raise ProcessFailed(f"{why}: what it held in memory is gone, so the mesh ends")
    if not restarts.allow(time.monotonic()):
        raise ProcessFailed(f"{why}: {RESTARTS_MAX} restarts within {RESTARTS_WINDOW_S:g} s did not help")
    say(f"{why}: starting it again")
    await asyncio.sleep(RESTART_DELAY_S)
    if parts is not None and child is parts.store:
        await parts.restart_store()
    elif isinstance(parts, Local) and child is parts.broker:
        await parts.restart_broker()
    else:
        say(f"{child.name} is back with pid {mesh.restart(child.name).pid}")


async def check_store(redis_url: str | None) -> None:
    """Raises `MeshInvalid` where no store is named, `DependencyMissing` where none answers."""
    from tiermesh_chassis.store import connect_store, require_store

    if not redis_url:
        raise MeshInvalid("no store: use --embedded, or set TIERMESH_KAFKA and TIERMESH_REDIS_URL")
    store = connect_store(redis_url)
    try:
        await require_store(store, redis_url)
    finally:
        await store.aclose()
