"""What a producer needs to install, and who may import whom."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_IN_THE_BASE_INSTALL = [
    *("faststream", "redis", "uvicorn", "structlog", "pydantic_settings", "opentelemetry", "prometheus_client"),
    *("onnxruntime", "tokenizers", "numpy", "aiohttp", "sklearn", "onnx", "safetensors", "typer", "rich"),
    *("genai_prices", "tiermesh_chassis", "tiermesh_modelkit", "tiermesh_cli"),
]

BLOCKED = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NOT_IN_THE_BASE_INSTALL!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
"""


def python(code: str) -> str:
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_the_contracts_never_import_a_kafka_client() -> None:
    """Pure code that only reads messages would need a client and its native parts."""
    code = "import sys, tiermesh_contracts; print([m for m in ('aiokafka', 'asyncio') if m in sys.modules])"
    assert python(code) == "[]"


def test_the_client_works_with_the_base_install() -> None:
    """A producer who installed `tiermesh` alone would meet an ImportError."""
    modules = [f.stem for f in (ROOT / "contracts/tiermesh_contracts").glob("*.py") if f.stem != "__init__"]
    imports = "".join(f"import tiermesh_contracts.{name}\n" for name in sorted(modules))
    code = BLOCKED + imports + "from tiermesh_contracts.client import MeshClient; print(MeshClient.__name__)"
    assert python(code) == "MeshClient"


def test_the_base_install_is_what_the_blocked_modules_leave() -> None:
    """A heavy dependency would move into every producer unseen."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [line.split(">")[0] for line in project["dependencies"]] == ["pydantic", "aiokafka"]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    packages = [*(folder / "services").iterdir(), folder / "contracts", folder / "scripts"]
    code = "import sys; sys.path[:0] = sys.argv[1:]; from importlinter.cli import lint_imports_command as c; c([])"
    argv = [sys.executable, "-c", code, *(str(p) for p in packages if p.is_dir())]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, to be damaged."""
    folder = tmp_path_factory.mktemp("sources")
    for part in ("contracts", "services", "scripts"):
        shutil.copytree(
            ROOT / part,
            folder / part,
            ignore=shutil.ignore_patterns("__pycache__", ".*_cache", "*.json*", "examples", "*.md"),
        )
    shutil.copy(ROOT / ".importlinter", folder)
    return folder


@pytest.fixture
def planted(copied: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    path, line = request.param
    target = copied / path
    before = target.read_text(encoding="utf-8")
    target.write_text(f"{before}\n{line}\n", encoding="utf-8")
    yield copied
    target.write_text(before, encoding="utf-8")


def test_the_import_rules_are_kept(copied: Path) -> None:
    """Services would grow together, and pure decisions would reach for the network."""
    ran = lint(copied)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "planted",
    [
        ("services/router/tiermesh_router/handlers.py", "import tiermesh_inference"),
        ("services/chassis/tiermesh_chassis/claims.py", "import tiermesh_budget.model"),
        ("services/modelkit/tiermesh_modelkit/calibrate.py", "import asyncio"),
        ("services/router/tiermesh_router/decide.py", "import redis"),
        ("services/router/tiermesh_router/decide.py", "import tiermesh_router.adapters"),
        ("services/router/tiermesh_router/handlers.py", "import tiermesh_router.adapters"),
        ("services/chassis/tiermesh_chassis/retry_policy.py", "import tiermesh_chassis.broker"),
        ("contracts/tiermesh_contracts/__init__.py", "import tiermesh_contracts.client"),
        ("contracts/tiermesh_contracts/budget.py", "import aiokafka"),
    ],
    indirect=True,
    ids=" ".join,
)
def test_a_planted_breach_is_found(planted: Path) -> None:
    """The rules would be a file that checks nothing."""
    ran = lint(planted)
    assert ran.returncode == 1
    assert "BROKEN" in ran.stdout
