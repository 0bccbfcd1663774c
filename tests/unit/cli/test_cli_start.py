"""A service that cannot start says why in one line and ends with status 2."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tiermesh_cli.embedded import free_port
from tiermesh_cli.processes import Child, wait_ready
from tiermesh_modelkit.datasets import bundled_examples
from tiermesh_modelkit.train import train

GOOD = '[[budgets]]\nscope = "org"\nwindow = "month"\nlimit_usd = 1\n'


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("start-models")
    few = [e for e in bundled_examples("documents.train") if e.label in {"invoice", "resume"}]
    train(few, task="documents", name="documents").write(root / "documents")
    return root


def run(service: str, folder: Path, config: str = GOOD, **variables: str) -> tuple[int, list[str]]:
    (folder / "mesh.toml").write_text(config)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TIERMESH_")},
        "TIERMESH_CONFIG": str(folder / "mesh.toml"),
        "TIERMESH_START_TIMEOUT_S": "1",
        "TIERMESH_HEALTH_PORT": "0",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tiermesh_cli", "run", service],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("tiermesh ")]
    assert "Traceback" not in done.stderr
    return done.returncode, lines


def test_no_broker_at_start(tmp_path, redis_url):
    """An operator would otherwise search in a page of library errors for the address that is wrong."""
    nowhere = f"127.0.0.1:{free_port()}"
    status, lines = run("escalation", tmp_path, TIERMESH_KAFKA=nowhere, TIERMESH_REDIS_URL=redis_url)
    assert status == 2
    assert len(lines) == 1
    assert nowhere in lines[0]
    assert "TIERMESH_KAFKA" in lines[0]


def test_no_store_at_start(tmp_path, kafka):
    """A service that starts without its store would fail on the first request instead."""
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    status, lines = run("escalation", tmp_path, TIERMESH_KAFKA=kafka, TIERMESH_REDIS_URL=nowhere)
    assert status == 2
    assert len(lines) == 1
    assert "TIERMESH_REDIS_URL" in lines[0]


@pytest.mark.parametrize("service", ["router", "local-inference"])
async def test_local_work_starts_without_a_store(tmp_path, kafka, model, service):
    """A restart while the store is away would stop work that needs no money."""
    (tmp_path / "mesh.toml").write_text(GOOD)
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TIERMESH_")},
        "TIERMESH_CONFIG": str(tmp_path / "mesh.toml"),
        "TIERMESH_KAFKA": kafka,
        "TIERMESH_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
        "TIERMESH_MODELS": str(model),
        "TIERMESH_HEALTH_PORT": str(port),
    }
    argv = [sys.executable, "-m", "tiermesh_cli", "run", service]
    child = Child(service, argv, tmp_path / "service.log", env=environment, ready_port=port)
    try:
        await wait_ready(child, 60)
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/ready") as response:
            said = await response.json()
        assert said["ready"] is True
        assert "the store does not answer" in said["advisory"]["claims"]
    finally:
        child.terminate()


@pytest.mark.parametrize("service", ["router", "local-inference"])
def test_no_models_at_start(tmp_path, kafka, redis_url, service):
    """Without a model every request would be escalated or refused, unseen."""
    status, lines = run(
        service,
        tmp_path,
        TIERMESH_KAFKA=kafka,
        TIERMESH_REDIS_URL=redis_url,
        TIERMESH_MODELS=str(tmp_path / "nothing"),
    )
    assert status == 2
    assert len(lines) == 1
    assert "tiermesh train" in lines[0]


def test_a_flipped_byte_in_a_model_is_refused_at_start(tmp_path, kafka, redis_url, model):
    """A model that is not the one that was trained answers with somebody else's labels."""
    root = tmp_path / "models"
    shutil.copytree(model, root)
    weights = root / "documents" / "model.onnx"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    status, lines = run(
        "local-inference",
        tmp_path,
        TIERMESH_KAFKA=kafka,
        TIERMESH_REDIS_URL=redis_url,
        TIERMESH_MODELS=str(root),
    )
    assert status == 2
    assert len(lines) == 1
    assert "model.onnx" in lines[0]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('orgg = "acme"\n', "line 1: unknown key 'orgg'"),
        ('[[budgets]]\nscope = "org"\nwindow = "month"\n', "key 'budgets.0.limit_usd' is missing"),
        ('[[budgets]]\nscope = "org"\nwindow = "month"\nlimit_usd = 9_000_001\n', "above 9,000,000"),
        ("not toml", "not TOML"),
    ],
)
def test_a_wrong_configuration_at_start(tmp_path, kafka, redis_url, config, said):
    """A key that is silently ignored is a limit that is not there."""
    status, lines = run("budget-guard", tmp_path, config, TIERMESH_KAFKA=kafka, TIERMESH_REDIS_URL=redis_url)
    assert status == 2
    assert len(lines) == 1
    assert said in lines[0]


def test_providers_without_a_budget_of_the_org(tmp_path, kafka, redis_url):
    """Without an org's limit "nothing configured" would mean "anything goes"."""
    config = '[[providers]]\nname = "x"\nbase_url = "http://127.0.0.1:1"\nmodels = [{ name = "m" }]\n'
    status, lines = run("budget-guard", tmp_path, config, TIERMESH_KAFKA=kafka, TIERMESH_REDIS_URL=redis_url)
    assert status == 2
    assert "scope = 'org'" in lines[0]


def test_a_wrong_variable_is_named(tmp_path, kafka, redis_url):
    """A typing error in an environment would otherwise become a default."""
    status, lines = run(
        "escalation", tmp_path, TIERMESH_KAFKA=kafka, TIERMESH_REDIS_URL=redis_url, TIERMESH_HEALTH_PORT="soon"
    )
    assert status == 2
    assert "TIERMESH_HEALTH_PORT" in lines[0]
