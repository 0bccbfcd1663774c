"""Operating system processes that end with the one that started them."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

POLL_INTERVAL_S: Final = 0.1
PROBE_TIMEOUT_S: Final = 2.0
LOG_TAIL_BYTES: Final = 16_384

# The kernel kills the child when the thread that started it ends, so that SIGKILL on us leaves no orphans.
# The setting outlives exec. A launcher makes it, because code between fork and exec is unsafe beside threads.
# The parent may be gone before the setting is made: then its pid is no longer our parent's.
_LAUNCHER: Final = (
    "import ctypes,os,sys\n"
    "ctypes.CDLL(None).prctl(1,9,0,0,0)\n"
    "if os.getppid()!=int(sys.argv[1]): os._exit(1)\n"
    "os.execv(sys.argv[2],sys.argv[2:])\n"
)


class ProcessFailed(RuntimeError):
    """A process could not be started, ended by itself, or was not ready in time; shows its last log lines."""


class Child:
    """One process, started at once, its output appended to `log_path`.

    It leads a process group of its own: Ctrl-C reaches the parent alone, which then ends its children in order.
    On Linux it is killed when the thread that made it ends: make it in the main thread, never in a worker.

    Raises `ProcessFailed` where the program does not exist.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log_path: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready_port: int | None = None,
    ) -> None:
        """`env` is the whole environment (None: ours); `GET /ready` answers on loopback at `ready_port`."""
        program = shutil.which(argv[0])
        if program is None:
            raise ProcessFailed(f"{name}: there is no program {argv[0]}")
        self.name = name
        self.argv = [str(Path(program).absolute()), *argv[1:]]
        self.log_path = log_path
        self.env = dict(os.environ if env is None else env)
        self.cwd = cwd
        self.ready_port = ready_port
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log:
            self._log_start_bytes = log.tell()
            self._process = subprocess.Popen(
                _with_parent_death(self.argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.env,
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int | None:
        """The exit status, or None where it still runs after `timeout_s`."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self, grace_s: float = 10.0) -> int:
        """SIGTERM, after `grace_s` SIGKILL; blocks until it is gone and returns its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
        status = self.wait(grace_s)
        return self.kill() if status is None else status

    def kill(self) -> int:
        """SIGKILL; blocks until it is gone."""
        self._process.kill()
        return self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: it keeps its sockets and answers nobody."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def successor(self) -> "Child":
        """The same command again, writing on in the same log; the caller ends this one first."""
        return Child(self.name, self.argv, self.log_path, env=self.env, cwd=self.cwd, ready_port=self.ready_port)

    def last_lines(self, lines_max: int = 10) -> str:
        """The end of what this process wrote."""
        with self.log_path.open("rb") as log:
            size_bytes = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start_bytes, size_bytes - LOG_TAIL_BYTES))
            text = log.read(LOG_TAIL_BYTES).decode(errors="replace")
        return "\n".join(text.rstrip().splitlines()[-lines_max:])

    def failure(self, what: str) -> ProcessFailed:
        """An error that shows `what` happened and the end of the log."""
        return ProcessFailed(f"{self.name} {what}; the end of {self.log_path}:\n{self.last_lines()}")

    def check_running(self) -> None:
        """Raises `ProcessFailed` where it ended."""
        status = self.poll()
        if status is not None:
            raise self.failure(f"ended with status {status}")

    def check_time(self, deadline_s: float, timeout_s: float) -> None:
        """Raises `ProcessFailed` where the monotonic clock passed `deadline_s`."""
        if time.monotonic() > deadline_s:
            raise self.failure(f"was not ready within {timeout_s:g} s")


def _with_parent_death(argv: list[str]) -> list[str]:
    if sys.platform != "linux":
        return argv
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *argv]


async def is_ready(port: int, path: str = "/ready") -> bool:
    """Whether `GET path` on loopback says 200 within `PROBE_TIMEOUT_S`."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
                status_line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return False
    return status_line.split(b" ")[1:2] == [b"200"]


async def wait_ready(child: Child, timeout_s: float) -> None:
    """Return once `child` answers `GET /ready` with 200.

    Raises `ProcessFailed` where it ends or is not ready in `timeout_s`.
    """
    if child.ready_port is None:
        return
    deadline = time.monotonic() + timeout_s
    while not await is_ready(child.ready_port):
        child.check_running()
        child.check_time(deadline, timeout_s)
        await asyncio.sleep(POLL_INTERVAL_S)
    child.check_running()
