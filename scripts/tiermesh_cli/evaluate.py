"""`tiermesh evaluate`: how good a model is on examples it has not seen."""

from pathlib import Path
from typing import Annotated

from typer import Option

from tiermesh_cli.output import print_json, print_table


def evaluate(
    model: Annotated[Path, Option(help="The model's folder.")],
    examples: Annotated[Path, Option(help="Labelled .jsonl or .csv with text and label.")],
    oos: Annotated[Path | None, Option(help="Texts the model must not answer, .jsonl or .csv.")] = None,
    json: Annotated[bool, Option("--json", help="One object instead of a table.")] = False,
) -> None:
    """Accuracy, coverage, error among the accepted, and how well uncovered texts are refused."""
    from tiermesh_modelkit.evaluate import evaluate_folder

    evaluation = evaluate_folder(model, examples, oos)
    if json:
        print_json(evaluation.model_dump())
        return
    fields = type(evaluation).model_fields
    rows = [
        (name, _shown(value), fields[name].description or "")
        for name, value in evaluation.model_dump().items()
        if value is not None
    ]
    print_table(("", "", "meaning"), rows, title=f"{model} on {examples}")


def _shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
