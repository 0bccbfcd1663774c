"""The view of a run while it goes on: a live panel on a terminal, a line now and then elsewhere. On stderr."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from tiermesh_cli.output import say, usd
from tiermesh_cli.showcase.progress import Progress

if TYPE_CHECKING:
    from rich.console import RenderableType

LINE_INTERVAL_S: Final = 2.0
BAR_WIDTH: Final = 40


class View(Protocol):
    def say(self, text: str) -> None:
        """One line that stays."""
        ...

    def show(self, progress: Progress) -> None:
        """The run as it stands now."""
        ...


class Lines:
    """For pipes and logs."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def say(self, text: str) -> None:
        say(text)

    def show(self, progress: Progress) -> None:
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + LINE_INTERVAL_S
        counts = ", ".join(f"{n} {tier}/{status}" for (tier, status), n in sorted(progress.ended.items()))
        say(
            f"  sent {progress.sent}/{progress.total}, ended {progress.ended_count} ({counts or 'none yet'}), "
            f"{len(progress.waiting_since_s)} wait for money; counted {usd(progress.sums.counted)} "
            f"of {usd(progress.limit_usd_nanos)}{' (raised)' if progress.is_raised else ''}"
        )


@contextmanager
def viewing() -> Iterator[View]:
    """The view that fits stderr."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return

    class Panelled:
        def say(self, text: str) -> None:
            console.print(text, highlight=False, markup=False)

        def show(self, progress: Progress) -> None:
            live.update(_panel(progress, time.monotonic()))

    with Live(console=console, refresh_per_second=5, transient=True) as live:
        yield Panelled()


def _panel(progress: Progress, now_s: float) -> "RenderableType":
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    sums, limit = progress.sums, max(progress.limit_usd_nanos, 1)
    grid.add_row("sent", ProgressBar(progress.total, progress.sent, BAR_WIDTH), f"{progress.sent}/{progress.total}")
    grid.add_row(
        "ended",
        ProgressBar(progress.total, progress.ended_count, BAR_WIDTH),
        f"{progress.ended_count}  ({progress.per_second(now_s):.0f}/s)",
    )
    grid.add_row(
        "money",
        ProgressBar(limit, min(limit, sums.counted), BAR_WIDTH),
        f"{usd(sums.posted)} posted + {usd(sums.held)} held of {usd(progress.limit_usd_nanos)}"
        + (" (raised)" if progress.is_raised else ""),
    )
    grid.add_row("waiting", str(len(progress.waiting_since_s)), "deferred: no money yet")
    for (tier, status), count in sorted(progress.ended.items()):
        grid.add_row(f"{tier}", str(count), status)
    return Panel(grid, title=progress.phase, subtitle="the frontier is simulated", width=100)
