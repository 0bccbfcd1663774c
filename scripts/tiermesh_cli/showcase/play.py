"""One run of the demo: everything started, every request sent, the limit raised once, all evidence read."""

import asyncio
import json
import os
import shutil
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from tiermesh_cli.frontier_sim.server import serving
from tiermesh_cli.frontier_sim.settings import SimSettings
from tiermesh_cli.mesh import Mesh
from tiermesh_cli.showcase.config import ORG, RATES, write_config
from tiermesh_cli.showcase.costs import all_frontier_usd_nanos, escalations_usd_nanos, limits_usd_nanos
from tiermesh_cli.showcase.evidence import gather_evidence
from tiermesh_cli.showcase.judging import make_report
from tiermesh_cli.showcase.live import View
from tiermesh_cli.showcase.models import demo_texts, ensure_models
from tiermesh_cli.showcase.progress import Progress
from tiermesh_cli.showcase.report import Report, Sent, Settings
from tiermesh_cli.showcase.watching import watch_deferred, watch_mesh, watch_processes
from tiermesh_cli.showcase.workload import DEADLINE_MS, Planned, Texts, plan_requests
from tiermesh_contracts.client import MeshClient
from tiermesh_contracts.ids import new_request_id

T = TypeVar("T")

HOME: Final = Path(".tiermesh")
REQUESTS_PER_S: Final = 60.0
SENDING_S_MIN: Final = 5.0
"""A shorter run would be over before money could be short, waited for, and come back."""
RESULT_GRACE_S: Final = 5.0
RUNS_KEPT: Final = 5
STOP_GRACE_S: Final = 5.0


async def play(requests: int, seed: int, view: View) -> Report:
    """Raises `ProcessFailed`, `EmbeddedMissing`, `ModelError` or `CommandFailed`, each one line."""
    started_s = time.monotonic()
    models = await ensure_models(HOME / "models", view.say)
    texts = demo_texts()
    planned = plan_requests(requests, texts, seed)
    settings = _settings(planned, texts, seed)
    run_dir = _new_run_dir()
    answers = _write_answers(run_dir / "answers.jsonl", texts)
    progress = Progress(len(planned), settings.limit_usd_nanos)
    config = run_dir / "mesh.toml"
    async with serving(SimSettings(seed=seed, answer_key=answers)) as frontier:
        write_config(config, frontier, settings.limit_usd_nanos)
        view.say("starting broker, store and four services; the frontier is SIMULATED")
        mesh = await Mesh.start(config=config, models=models, embedded=True, run_dir=run_dir)
        try:
            await _while_watched(mesh.ready(), watch_processes(mesh))
            view.say(f"all ready after {time.monotonic() - started_s:.1f} s; sending {requests} requests")
            raise_limit = partial(write_config, config, frontier, settings.raised_usd_nanos)
            sent = await _while_watched(
                _send_all(mesh.kafka, planned, progress),
                watch_deferred(mesh.kafka, progress),
                watch_mesh(mesh, ORG, progress, raise_limit, view.show),
            )
            view.say("all answered; reading the ledger, the store and the bill")
            ids = frozenset(each.request_id for each in sent)
            evidence = await gather_evidence(mesh.kafka, mesh.redis_url, frontier, ORG, ids, progress.deferred)
        finally:
            await mesh.stop(STOP_GRACE_S)
    return make_report(sent, evidence, settings, time.monotonic() - started_s)


def _settings(planned: Sequence[Planned], texts: Texts, seed: int) -> Settings:
    labels = {task: sorted({each.label or "" for each in pool}) for task, pool in texts.covered.items()}
    limit, raised = limits_usd_nanos(escalations_usd_nanos(planned, RATES, labels))
    return Settings(seed, limit, raised, all_frontier_usd_nanos(planned, RATES, labels))


async def _while_watched(work: Coroutine[Any, Any, T], *watchers: Coroutine[Any, Any, None]) -> T:
    """The work's result; a watcher that ends before it has failed, and so has the run."""
    working = asyncio.ensure_future(work)
    tasks = [working, *(asyncio.ensure_future(each) for each in watchers)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
        return await working
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _send_all(kafka: str, planned: Sequence[Planned], progress: Progress) -> list[Sent]:
    """Open loop: each request leaves at its own time, whatever became of those before.

    Raises the first error of a request that the broker did not take.
    """
    interval_s = max(SENDING_S_MIN / len(planned), 1 / REQUESTS_PER_S)
    async with MeshClient(kafka, source="tiermesh-demo") as client:
        progress.phase = "running"
        progress.started_s = started_s = time.monotonic()
        tasks = []
        try:
            async with asyncio.TaskGroup() as asking:
                for number, each in enumerate(planned):
                    await asyncio.sleep(max(0.0, started_s + number * interval_s - time.monotonic()))
                    tasks.append(asking.create_task(_ask(client, each, progress)))
                    progress.sent += 1
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
    return [task.result() for task in tasks]


async def _ask(client: MeshClient, planned: Planned, progress: Progress) -> Sent:
    request = planned.request(new_request_id())
    asked_s = time.monotonic()
    try:
        result = await client.ask(request, timeout_s=DEADLINE_MS / 1000 + RESULT_GRACE_S)
    except TimeoutError:
        return Sent(planned, request.request_id)
    latency_ms = (time.monotonic() - asked_s) * 1000
    progress.end(result)
    return Sent(planned, request.request_id, latency_ms)


def _new_run_dir() -> Path:
    """Logs and configuration of this run; of earlier ones the latest few are kept."""
    runs = HOME / "demo"
    run_dir = runs / f"{time.time_ns() // 1_000_000}-{os.getpid()}"
    run_dir.mkdir(parents=True)
    for old in sorted(runs.iterdir())[:-RUNS_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return run_dir


def _write_answers(path: Path, texts: Texts) -> Path:
    """The frontier's answer key: the labels of the test splits."""
    rows = (each for pool in texts.covered.values() for each in pool)
    lines = [json.dumps({"text": row.text, "label": row.label}, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
