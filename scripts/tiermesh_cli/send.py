"""`tiermesh send`: publish requests, print the result of each."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from typer import Argument, Exit, Option

from tiermesh_cli.output import USAGE, CommandFailed, print_json, say

if TYPE_CHECKING:
    from tiermesh_cli.send_rows import Row
    from tiermesh_cli.send_summary import Sent
    from tiermesh_contracts.client import MeshClient

LOST_AFTER_S: Final = 30.0
"""A result later than the deadline by this much counts as lost."""


def send(
    text: Annotated[str | None, Argument(help="The text, where no file is given.")] = None,
    file: Annotated[Path | None, Option(help="JSONL of requests: text or input, and any field of theirs.")] = None,
    task: Annotated[str | None, Option(help="Name of a task; auto by default.")] = None,
    tenant: Annotated[str, Option(help="Whose request it is.")] = "default",
    project: Annotated[str | None, Option(help="What it is for.")] = None,
    privacy: Annotated[str | None, Option(help="local_only, redact or any.")] = None,
    on_budget: Annotated[str | None, Option(help="defer, best_local or refuse.")] = None,
    deadline_ms: Annotated[int | None, Option(help="Milliseconds from publishing; 60000 by default.")] = None,
    output_tokens_max: Annotated[int | None, Option(help="Longest answer.")] = None,
    concurrency: Annotated[int, Option(min=1, max=10_000, help="Requests in flight at most.")] = 200,
    summary: Annotated[bool, Option("--summary", help="Also one JSON object of numbers at the end.")] = False,
) -> None:
    """Publish TEXT, or each row of a file, and print each result as a JSON line."""
    from tiermesh_cli.send_rows import make_row, read_rows

    given = {
        "task": task,
        "tenant": tenant,
        "project": project,
        "privacy": privacy,
        "on_budget": on_budget,
        "deadline_ms": deadline_ms,
        "output_tokens_max": output_tokens_max,
    }
    defaults = {name: value for name, value in given.items() if value is not None}
    if (text is None) == (file is None):
        raise CommandFailed("give a TEXT or --file, one of the two", USAGE)
    rows = [make_row({"input": text}, defaults, "request")] if file is None else read_rows(file, defaults)
    kafka = os.environ.get("TIERMESH_KAFKA") or "127.0.0.1:9092"
    numbers = asyncio.run(_send(rows, kafka, concurrency))
    if summary:
        print_json(numbers)
    if numbers["lost"]:
        say(f"tiermesh: {numbers['lost']} of {numbers['requests']} requests got no result in time")
        raise Exit(1)


async def _send(rows: "Sequence[Row]", kafka: str, concurrency: int) -> dict[str, Any]:
    from tiermesh_cli.send_summary import Sent, summarise
    from tiermesh_contracts.client import MeshClient

    topics = tuple(sorted({row.request.reply_to for row in rows}))
    waiting = iter(rows)
    sent: list[Sent] = []
    began_s = time.monotonic()
    async with MeshClient(kafka, source="tiermesh-send", result_topics=topics) as mesh:
        with _progress(len(rows)) as advance:

            async def work() -> None:
                for row in waiting:
                    sent.append(await _ask(mesh, row))
                    advance()

            began_s = time.monotonic()
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(concurrency, len(rows))):
                        group.create_task(work())
            except ExceptionGroup as failed:  # one broker, one reason: the first says it for all
                raise failed.exceptions[0] from failed
        repeats = mesh.repeats
    return summarise(
        sent,
        duplicated=repeats.duplicated,
        conflicting=repeats.conflicting,
        elapsed_s=time.monotonic() - began_s,
    )


async def _ask(mesh: "MeshClient", row: "Row") -> "Sent":
    from tiermesh_cli.send_summary import Sent

    began_s = time.monotonic()
    limit_s = row.request.deadline_ms / 1000 + LOST_AFTER_S
    try:
        result = await mesh.ask(row.request, timeout_s=limit_s)
    except TimeoutError:
        return Sent(row, None, limit_s * 1000)
    latency_ms = (time.monotonic() - began_s) * 1000
    print(result.to_bytes().decode(), flush=True)
    return Sent(row, result, latency_ms)


@contextmanager
def _progress(count: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr where that is a terminal and stdout, whose lines it would mix with, is not."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    shown = console.is_terminal and not sys.stdout.isatty()
    with Progress(console=console, transient=True, disable=not shown) as bar:
        row = bar.add_task("results", total=count)
        yield lambda: bar.advance(row)
