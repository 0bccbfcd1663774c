"""Limits follow the file, and a guard without a budget does not start."""

import asyncio
from pathlib import Path

import pytest

from fakes.budget import ScriptedBooks
from tiermesh_budget import app
from tiermesh_chassis.config import parse_config
from tiermesh_chassis.errors import ConfigError, TransientError
from tiermesh_chassis.service import Boot
from tiermesh_chassis.settings import Environment
from tiermesh_contracts.brokers import EMBEDDED

BUDGET = '[[budgets]]\nscope = "org"\nwindow = "day"\nlimit_usd = {}\n'
PROVIDER = '[[providers]]\nname = "p"\nbase_url = "http://127.0.0.1:1/v1"\nmodels = [{ name = "m" }]\n'
DAY = "day"


class OpenEpochs:
    def __init__(self):
        self.opened = 0
        self.why = "the ledger is being read"

    def closed_why(self):
        return self.why

    async def open(self):
        self.opened += 1
        if self.opened == 1:
            raise TransientError("no brokers yet")
        self.why = None


async def kept(path, config, monkeypatch, change, books):
    """Run the keeper, doing `change(n)` after the n-th set of limits, until it returns True."""
    monkeypatch.setattr(app, "WATCH_S", 0.01)
    epochs = OpenEpochs()
    task = asyncio.create_task(app._keep_limits(path, config, epochs, books))
    try:
        async with asyncio.timeout(20):
            while not change(len(books.limits)):
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return epochs


async def test_limits_follow_the_file_and_a_broken_file_changes_nothing(tmp_path: Path, monkeypatch):
    """A raised limit would wait for a restart, or a slip of the pen take the budget away."""
    path, books = tmp_path / "mesh.toml", ScriptedBooks()
    path.write_text(BUDGET.format(1))
    steps = iter([("nonsense", 2), (BUDGET.format(5), 2), (None, 3)])
    step = next(steps)

    def change(done: int) -> bool:
        nonlocal step
        text, after = step
        if done < after:
            return False
        if text is None:
            return True
        path.write_text(text)
        step = next(steps)
        return False

    epochs = await kept(path, parse_config(BUDGET.format(1), "x"), monkeypatch, change, books)
    assert books.limits == [[("org", DAY, 10**9)]] * 2 + [[("org", DAY, 5 * 10**9)]]
    assert epochs.opened == 2


async def test_a_file_that_changed_during_the_start_is_read_again(tmp_path: Path, monkeypatch):
    """The limits of a file that no longer stands would be in force until somebody touches it."""
    path, books = tmp_path / "mesh.toml", ScriptedBooks()
    path.write_text(BUDGET.format(2))
    await kept(path, parse_config(BUDGET.format(1), "x"), monkeypatch, lambda done: done == 2, books)
    assert books.limits == [[("org", DAY, 10**9)], [("org", DAY, 2 * 10**9)]]


@pytest.mark.parametrize("budgets", ["", '[[budgets]]\nscope = "tenant"\nwindow = "day"\nlimit_usd = 1\n'])
def test_providers_without_a_budget_for_the_org_are_a_clear_error(budgets):
    """Everything would be parked without a word why, or nothing limit the whole."""
    boot = Boot(Environment(), parse_config(PROVIDER + budgets, "mesh.toml"), EMBEDDED)
    with pytest.raises(ConfigError, match="scope = 'org'"):
        app.create_app(boot)
