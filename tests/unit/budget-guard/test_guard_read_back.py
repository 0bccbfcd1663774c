"""Waiting for the own entry to come back out of the ledger."""

import asyncio

import pytest

from fakes.budget import entry, fence
from tiermesh_budget.adapters import ledger as adapter
from tiermesh_budget.adapters.ledger import LedgerReader
from tiermesh_budget.decide import EffectiveLedger
from tiermesh_budget.errors import BooksClosed
from tiermesh_chassis.errors import TransientError
from tiermesh_contracts.brokers import EMBEDDED


@pytest.fixture
def reader():
    return LedgerReader("127.0.0.1:1", EMBEDDED, "default", EffectiveLedger())


def read(reader, *entries):
    for one in entries:
        reader._read(one.to_bytes())


async def waiting(reader, epoch, seq):
    task = asyncio.create_task(reader.wait_effective(epoch, seq))
    await asyncio.sleep(0)
    return task


async def test_who_waits_goes_on_when_the_entry_is_effective_not_when_it_is_read(reader):
    """A grant would stand on an entry behind a gap."""
    read(reader, fence(1))
    task = await waiting(reader, 1, 2)
    read(reader, entry(2))
    await asyncio.sleep(0)
    assert not task.done()
    read(reader, entry(1))
    await task
    await reader.wait_effective(1, 1)
    await reader.wait_effective(1, 0)


async def test_a_higher_fence_sends_everybody_who_waits_back(reader):
    """An entry that the rebuilt books do not count would be granted."""
    read(reader, fence(1))
    task = await waiting(reader, 1, 1)
    read(reader, fence(2), entry(1))
    with pytest.raises(BooksClosed):
        await task
    with pytest.raises(BooksClosed):
        await reader.wait_effective(1, 0)


async def test_another_orgs_entries_and_garbage_change_nothing(reader):
    """One org's ledger would move another's money, or a broken record end the guard for ever."""
    read(reader, fence(1), entry(1, org="other"))
    for raw in (b"", None, b"\xff", b"{}", b'{"org":"default","epoch":1,"seq":1}'):
        reader._read(raw)
    task = await waiting(reader, 1, 1)
    assert not task.done()
    read(reader, entry(1))
    await task


async def test_an_entry_that_does_not_come_is_waited_for_so_long_and_then_forgotten(reader, monkeypatch):
    """A ledger that does not take entries would hold every request for ever, and remember each that waited."""
    monkeypatch.setattr(adapter, "READ_BACK_TIMEOUT_S", 0.01)
    read(reader, fence(1))
    for _ in range(3):
        with pytest.raises(TransientError):
            await reader.wait_effective(1, 1)
    assert not reader._waiting
