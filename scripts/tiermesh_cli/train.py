"""`tiermesh train`: labelled examples in, a model folder out; and the bundled models of a first run."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Final

from typer import Option

from tiermesh_cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from tiermesh_modelkit.manifest import Manifest
    from tiermesh_modelkit.train import Progress

BUNDLED: Final = ("support", "documents")
STAGES: Final = {"encode": "reading the examples", "folds": "judging it on unseen folds", "fit": "fitting"}


def train(
    examples: Annotated[Path, Option(help="Labelled .jsonl or .csv with text and label.")],
    out: Annotated[Path, Option(help="Folder to write; its name becomes the model's.")],
    encoder: Annotated[str, Option(help="static (small and fast) or minilm.")] = "static",
    task: Annotated[str | None, Option(help="Task it answers; the folder's name by default.")] = None,
    max_error: Annotated[
        float, Option(min=0.0, max=1.0, help="Share of wrong labels allowed among the accepted.")
    ] = 0.10,
    seed: Annotated[int, Option(help="Equal seeds and examples give equal models.")] = 0,
    json: Annotated[bool, Option("--json", help="One object instead of a table.")] = False,
) -> None:
    """Train a classifier from labelled examples."""
    from tiermesh_modelkit.train import train_folder

    with progress_bar(out.name) as on_progress:
        manifest = train_folder(
            examples,
            out,
            task=task,
            encoder=encoder,
            max_error=max_error,
            seed=seed,
            on_progress=on_progress,
        )
    if json:
        print_json({"out": str(out), **_facts(manifest)})
        return
    print_table(("", ""), [(name, str(value)) for name, value in _facts(manifest).items()], title=str(out))


def train_bundled(models: Path) -> None:
    """Train the bundled examples into `models`, a folder each; all of them appear, or none.

    Raises `ModelError`.
    """
    from tiermesh_modelkit.train import train_folder

    examples = resources.files("tiermesh_modelkit") / "examples"
    models.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".bundled-", dir=models) as beside:
        for name in BUNDLED:
            file = resources.as_file(examples / f"{name}.train.jsonl")
            with file as path, progress_bar(name) as on_progress:
                manifest = train_folder(path, Path(beside) / name, on_progress=on_progress)
            say(f"trained {name}: {manifest.metrics.accuracy:.1%} right on unseen folds")
        for name in BUNDLED:
            (Path(beside) / name).rename(models / name)


@contextmanager
def progress_bar(name: str) -> Iterator["Progress"]:
    """A bar on stderr, drawn only on a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        row = bar.add_task(name, total=None)

        def show(stage: str, done: int, total: int) -> None:
            bar.update(row, description=f"{name}: {STAGES.get(stage, stage)}", completed=done, total=total)

        yield show


def _facts(manifest: "Manifest") -> dict[str, object]:
    return {
        "name": manifest.name,
        "task": manifest.task,
        "version": manifest.version,
        "labels": len(manifest.labels),
        "examples": manifest.training.examples_count,
        "accuracy": round(manifest.metrics.accuracy, 4),
        "coverage": round(manifest.metrics.coverage, 4),
        "accepted_error": round(manifest.metrics.accepted_error, 4),
        "thresholds": {
            "scope_score": round(manifest.thresholds.scope_score, 4),
            "confidence": round(manifest.thresholds.confidence, 4),
        },
    }
