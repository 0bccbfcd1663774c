"""The two bundled models of the demo, trained once and kept."""

import asyncio
import hashlib
import os
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Final

from tiermesh_cli.processes import POLL_INTERVAL_S, Child
from tiermesh_cli.showcase.workload import Labelled, Texts
from tiermesh_modelkit.datasets import bundled_examples, bundled_texts
from tiermesh_modelkit.errors import ModelError
from tiermesh_modelkit.store import verify_folder

TASKS: Final = ("support", "documents")
TRAIN_TIMEOUT_S: Final = 300.0
KEY_CHARS: Final = 12

ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""The problem is small: threads of the linear algebra that wait for each other on shared cores took 66 s for
what one does in 5 s (two cores, both busy)."""


async def ensure_models(root: Path, say: Callable[[str], None]) -> Path:
    """The folder of both models, trained unless it is there whole; another version of the examples or of the
    training code is another folder, and none of it mixes with models of the user's own.

    Raises `ProcessFailed` with the end of the training's log.
    """
    folder = root / f".bundled-{_key()}"
    missing = [task for task in TASKS if not _is_whole(folder / task)]
    if missing:
        say(f"training {' and '.join(missing)} from the bundled examples (once; kept in {folder})")
        await _train(missing, folder)
    return folder


def demo_texts() -> Texts:
    """What the demo sends: test splits only, and texts that no model is for."""
    covered = {
        task: [Labelled(each.text, each.label) for each in bundled_examples(f"{task}.test")] for task in TASKS
    }
    uncovered = [Labelled(text, None) for text in bundled_texts("uncovered")]
    return Texts(covered, uncovered, _private_texts())


def _private_texts() -> list[Labelled]:
    """Some have no label: no installed task covers them."""
    import json

    raw = (resources.files("tiermesh_modelkit") / "examples" / "private.jsonl").read_text(encoding="utf-8")
    return [Labelled(row["text"], row["label"]) for row in map(json.loads, raw.splitlines())]


def _key() -> str:
    digest = hashlib.sha256()
    package = resources.files("tiermesh_modelkit")
    code = sorted((file for file in package.iterdir() if file.name.endswith(".py")), key=lambda file: file.name)
    for file in (*code, *(package / "examples" / f"{task}.train.jsonl" for task in TASKS)):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:KEY_CHARS]


def _is_whole(folder: Path) -> bool:
    try:
        verify_folder(folder)
    except (ModelError, OSError):
        return False
    return True


async def _train(tasks: list[str], folder: Path) -> None:
    """One process a task, so that neither waits for the other and Ctrl-C ends both at once."""
    examples = resources.files("tiermesh_modelkit") / "examples"
    children = []
    try:
        for task in tasks:
            with resources.as_file(examples / f"{task}.train.jsonl") as path:
                words = ["train", "--examples", str(path), "--out", str(folder / task), "--json"]
            argv = [sys.executable, "-m", "tiermesh_cli", *words]
            log_path = folder / f".train-{task}.log"
            children.append(Child(f"train {task}", argv, log_path, env={**os.environ, **ONE_THREAD}))
        for child in children:
            await _wait(child)
    finally:
        for child in children:
            child.terminate(grace_s=0)


async def _wait(child: Child) -> None:
    async with asyncio.timeout(TRAIN_TIMEOUT_S):
        while (status := child.poll()) is None:
            await asyncio.sleep(POLL_INTERVAL_S)
    if status != 0:
        raise child.failure(f"ended with status {status}")
