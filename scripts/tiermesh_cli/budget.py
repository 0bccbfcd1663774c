"""`tiermesh budget`: what may be spent and what was."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option, Typer

from tiermesh_cli.output import print_json, print_table, usd

if TYPE_CHECKING:
    from tiermesh_cli.budget_reading import KindSpend, WindowSpend

app = Typer(help="The frontier's money.", no_args_is_help=True)


@app.callback()
def budget() -> None:
    """The frontier's money."""


@app.command()
def show(
    config: Annotated[Path | None, Option(help="mesh.toml; else TIERMESH_CONFIG, else ./mesh.toml.")] = None,
    json: Annotated[bool, Option("--json", help="One object instead of a table.")] = False,
) -> None:
    """Limits and spend of the current windows, as the store of TIERMESH_REDIS_URL has them."""
    from tiermesh_chassis.config import load_config
    from tiermesh_cli.budget_reading import read_spend

    path = config or Path(os.environ.get("TIERMESH_CONFIG") or "mesh.toml")
    redis_url = os.environ.get("TIERMESH_REDIS_URL") or "redis://127.0.0.1:6379/0"
    spend = asyncio.run(read_spend(redis_url, load_config(path)))
    if json:
        print_json(spend.to_json())
        return
    rows = [_row(each) for each in spend.windows]
    for kind in spend.kinds:
        rows.append(_folded_row(kind))
        rows += [_row(each) for each in kind.fullest]
    columns = ("scope", "window", "limit", "held", "posted", "suspended", "left")
    print_table(columns, rows, title=f"org {spend.org}, epoch {spend.epoch}")
    print(f"{spend.outbox} entries on their way to the ledger; {len(spend.frozen)} models frozen by an overrun")
    for each in spend.frozen:
        print(f"frozen: {each}")


def _row(spend: "WindowSpend") -> tuple[str, ...]:
    return (
        spend.name,
        f"{spend.window} {spend.window_id}",
        "none" if spend.limit_usd_nanos is None else usd(spend.limit_usd_nanos),
        usd(spend.held_usd_nanos),
        usd(spend.posted_usd_nanos),
        usd(spend.suspended_usd_nanos),
        "" if spend.left_usd_nanos is None else usd(spend.left_usd_nanos),
    )


def _folded_row(spend: "KindSpend") -> tuple[str, ...]:
    shown = f"; the fullest {len(spend.fullest)} follow" if spend.count > len(spend.fullest) else ""
    return (
        f"{spend.count:,} of {spend.kind} in all{shown}",
        f"{spend.window} {spend.window_id}",
        "",
        usd(spend.held_usd_nanos),
        usd(spend.posted_usd_nanos),
        usd(spend.suspended_usd_nanos),
        "",
    )
