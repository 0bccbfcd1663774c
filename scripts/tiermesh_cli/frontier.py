"""`tiermesh frontier-sim`, and the same as a child process of `up`."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from typer import Option

from tiermesh_cli.output import USAGE, CommandFailed
from tiermesh_cli.processes import POLL_INTERVAL_S, Child

if TYPE_CHECKING:
    from tiermesh_cli.frontier_sim.faults import Fault

START_TIMEOUT_S: Final = 20.0


def frontier_sim(
    port: Annotated[int, Option(help="0: any free port.")] = 0,
    host: Annotated[str, Option(help="Address to listen on.")] = "127.0.0.1",
    answers: Annotated[Path | None, Option(help="JSONL of text and label: what it knows.")] = None,
    accuracy: Annotated[float, Option(help="Share of known texts it labels right.")] = 0.97,
    median_ms: Annotated[float, Option(help="Median latency.")] = 250.0,
    p95_ms: Annotated[float, Option(help="95th percentile of the latency.")] = 700.0,
    fault: Annotated[list[str] | None, Option(help="NAME=RATE, such as rate_limited=0.05; repeatable.")] = None,
    api_key_env: Annotated[str | None, Option(help="Variable that holds the key callers must send.")] = None,
    concurrency: Annotated[int, Option(help="Calls in progress; one more gets status 429.")] = 512,
    hang_ms: Annotated[float, Option(help="How long a call with the fault `hang` says nothing.")] = 60_000.0,
    seed: Annotated[int, Option(help="Equal seeds give equal answers.")] = 0,
) -> None:
    """A simulated OpenAI-compatible frontier with its own bill; prints one JSON line once it answers."""
    from tiermesh_cli.frontier_sim import SimSettings, run
    from tiermesh_cli.frontier_sim.answers import AnswerKeyInvalid

    try:
        settings = SimSettings(
            host=host,
            port=port,
            seed=seed,
            api_key=_api_key(api_key_env),
            answer_key=answers,
            accuracy=accuracy,
            median_ms=median_ms,
            p95_ms=p95_ms,
            concurrency_max=concurrency,
            faults=_faults(fault or []),
            hang_ms=hang_ms,
        )
        asyncio.run(run(settings))
    except AnswerKeyInvalid as error:
        raise CommandFailed(str(error)) from error
    except ValueError as error:
        raise CommandFailed(f"frontier-sim: {error}", USAGE) from error


async def start_frontier(log_path: Path, *options: str, timeout_s: float = START_TIMEOUT_S) -> tuple[Child, str]:
    """A simulated frontier on a free port, and its base URL; `options` as of `tiermesh frontier-sim`.

    Call it in the main thread; the caller ends the child. Raises `ProcessFailed`.
    """
    argv = [sys.executable, "-m", "tiermesh_cli", "frontier-sim", *options]
    child = Child("frontier-sim", argv, log_path)
    deadline = time.monotonic() + timeout_s
    try:
        while (base_url := _base_url(child.last_lines())) is None:
            child.check_running()
            child.check_time(deadline, timeout_s)
            await asyncio.sleep(POLL_INTERVAL_S)
    except BaseException:
        child.kill()
        raise
    return child, base_url


def _base_url(lines: str) -> str | None:
    for line in lines.splitlines():
        if line.startswith('{"ready"') and line.endswith("}"):
            return str(json.loads(line)["base_url"])
    return None


def _api_key(variable: str | None) -> str | None:
    if variable is None:
        return None
    if not os.environ.get(variable):
        raise CommandFailed(f"--api-key-env {variable}: that variable is not set", USAGE)
    return os.environ[variable]


def _faults(wishes: list[str]) -> "dict[Fault, float]":
    from tiermesh_cli.frontier_sim.faults import Fault

    rates = {}
    for wish in wishes:
        name, _, rate = wish.partition("=")
        try:
            rates[Fault(name)] = float(rate)
        except ValueError:
            known = ", ".join(Fault)
            raise CommandFailed(f"--fault {wish}: write NAME=RATE; names are {known}", USAGE) from None
    return rates
