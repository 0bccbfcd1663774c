import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tiermesh_modelkit.datasets import bundled_examples
from tiermesh_modelkit.train import train

LABELS = ("cancel_order", "invoice_copy", "track_order")
WAIT_S = 90.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a mesh with a small model can be started."""
    path = tmp_path_factory.mktemp("up")
    few = [each for each in bundled_examples("support.train") if each.label in LABELS]
    train(few, task="support", name="support").write(path / "models" / "support")
    rows = [each for each in bundled_examples("support.test") if each.label in LABELS][:20]
    lines = [json.dumps({"text": each.text, "label": each.label}) for each in rows]
    (path / "rows.jsonl").write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`tiermesh up`, and what it said when it was ready."""
    with (folder / "up.err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "tiermesh_cli", "up", "--embedded", "--models", "models", "--json"],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (folder / "up.err").read_text()
        yield process, json.loads(line)
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TIERMESH_")} | more


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)


def is_ready(health_url: str) -> bool:
    try:
        with urlopen(health_url.replace("/health", "/ready"), timeout=5) as answer:  # noqa: S310  # loopback, ours
            return bool(answer.status == 200)
    except (URLError, ConnectionError, TimeoutError):
        return False


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def send(folder: Path, ready: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tiermesh_cli", "send", "--file", "rows.jsonl", "--summary", "--task", "support"],
        cwd=folder,
        env=environment(TIERMESH_KAFKA=ready["kafka"]),
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 21
    assert all(json.loads(line)["request_id"] for line in lines[:-1])
    summary: dict[str, Any] = json.loads(lines[-1])
    return summary


@pytest.mark.timeout(240)
def test_a_mesh_comes_up_answers_heals_and_ends(
    folder: Path, running: tuple[subprocess.Popen[str], dict[str, Any]]
) -> None:
    """Breaks if the ready line changes, a request is lost, a killed service stays away, or a process is left."""
    process, ready = running
    assert list(ready) == ["ready", "kafka", "redis", "services"]
    assert list(ready["services"]) == ["router", "local-inference", "budget-guard", "escalation"]
    assert all(is_ready(each["health"]) for each in ready["services"].values())

    summary = send(folder, ready)
    assert (summary["requests"], summary["terminal"], summary["lost"]) == (20, 20, 0)
    assert summary["by_status"] == {"answered": 20}
    assert summary["accuracy_by_tier"]["local"] > 0.8

    router = ready["services"]["router"]
    os.kill(router["pid"], signal.SIGKILL)
    until(lambda: "router is back" in (folder / "up.err").read_text() and is_ready(router["health"]))
    assert send(folder, ready)["lost"] == 0

    spend = subprocess.run(
        [sys.executable, "-m", "tiermesh_cli", "budget", "show", "--json"],
        cwd=folder,
        env=environment(
            TIERMESH_REDIS_URL=ready["redis"],
            TIERMESH_CONFIG=str(next((folder / ".tiermesh").glob("run-*/mesh.toml"))),
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    windows = {each["window"]: each for each in json.loads(spend.stdout)["windows"]}
    assert windows["month"]["limit_usd_nanos"] == 10_000_000_000

    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    left = [name for name, each in ready["services"].items() if is_alive(each["pid"])]
    assert left == []
    assert "SIMULATED" in (folder / "up.err").read_text()
