"""`tiermesh demo`: the whole mesh at work on one machine, and whether its laws held."""

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated, Final

from typer import Exit, Option

from tiermesh_cli.output import print_json, say

if TYPE_CHECKING:
    from tiermesh_cli.showcase.report import Report

REQUESTS_MIN: Final = 100
SEED: Final = 22
"""Even 100 requests of it meet an empty budget with every wish there is."""
REQUESTS_MAX: Final = 20_000
INTERRUPTED: Final = 130


def demo(
    requests: Annotated[
        int, Option(min=REQUESTS_MIN, max=REQUESTS_MAX, help="Below about 200, not every seed shows everything.")
    ] = 500,
    seed: Annotated[int, Option(help="Which requests, and what the simulated frontier says.")] = SEED,
    json: Annotated[bool, Option("--json", help="One object instead of tables.")] = False,
) -> None:
    """Run the whole mesh here with a simulated frontier, and check the laws of delivery and money."""
    report = asyncio.run(_until_interrupted(requests, seed))
    if report is None:
        raise Exit(INTERRUPTED)
    if json:
        print_json(report.as_json())
    else:
        from tiermesh_cli.showcase.printed import print_report

        print_report(report)
    for line in report.breaches:
        say(f"tiermesh demo: {line}")
    raise Exit(1 if report.breaches else 0)


async def _until_interrupted(requests: int, seed: int) -> "Report | None":
    """Ctrl-C or SIGTERM ends everything in order."""
    from tiermesh_cli.showcase.live import viewing
    from tiermesh_cli.showcase.play import play

    with viewing() as view:
        run = asyncio.ensure_future(play(requests, seed, view))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, run.cancel)
        try:
            return await run
        except asyncio.CancelledError:
            view.say("interrupted: everything is ended")
            return None
