"""Every script refuses a store that is not the one the ledger was written against, and changes nothing."""

import pytest

from fakes.books import Desk
from tiermesh_budget.adapters.scripts import load_script

A, B = "a" * 64, "b" * 64
LIMIT = ("org", "lifetime", 1_000)

CALLS = {
    "reserve": lambda desk, seq_min: desk.reserve(B, 1, seq_min=seq_min),
    "repeat": lambda desk, seq_min: desk.reserve(A, 10, seq_min=seq_min),
    "find": lambda desk, seq_min: desk.find(A, seq_min=seq_min),
    "resolve": lambda desk, seq_min: desk.resolve(A, "settled", 5, seq_min=seq_min),
    "limits": lambda desk, seq_min: desk.limits(("org", "lifetime", 5), seq_min=seq_min),
}


def opened(desk):
    desk.limits(LIMIT)
    desk.reserve(A, 10)
    return desk


def content(desk):
    read = {
        "hash": desk.store.hgetall,
        "string": desk.store.get,
        "zset": lambda key: desk.store.zrange(key, 0, -1, withscores=True),
    }
    return {key: read[desk.store.type(key)](key) for key in desk.store.keys(f"{{{desk.org}}}:*")}


def all_closed(desk, why, seq_min=0):
    for name, call in CALLS.items():
        before = content(desk)
        assert call(desk, seq_min) == ["closed", why], name
        assert content(desk) == before, name


def test_a_store_without_an_epoch_is_closed(desk: Desk):
    """An empty store would admit everything against zero spend."""
    opened(desk).store.delete(desk.epoch_key)
    all_closed(desk, "the store has no epoch")


@pytest.mark.parametrize("other", [2, 0, 10])
def test_a_guard_of_another_epoch_changes_nothing(desk: Desk, other):
    """A guard that slept through a rebuild would go on spending in the old books."""
    opened(desk).store.hset(desk.epoch_key, "epoch", other)
    all_closed(desk, f"the store is in epoch {other}")


def test_a_store_with_another_identity_is_closed(desk: Desk):
    """A snapshot carries the same epoch: only the server's own id tells that it is another life."""
    opened(desk).store.hset(desk.epoch_key, "run_id", "0" * 40)
    all_closed(desk, "the store restarted")


def test_a_store_behind_the_ledger_is_closed(desk: Desk):
    """It would give a seq away twice: two different entries with one id, of which readers keep the first."""
    opened(desk)
    seq = int(desk.store.get(desk.prefix + "seq"))
    all_closed(desk, "the store is behind the ledger", seq_min=seq + 1)
    assert desk.find(A, seq_min=seq)[0] == "held"


def test_a_restart_closes_the_books_though_every_key_is_intact(own_store):
    """A store that lost a second of writes comes back with the right epoch in it."""
    desk = opened(Desk(own_store.url).open())
    kept = content(desk)
    own_store.restart()
    assert content(desk) == kept
    all_closed(desk, "the store restarted")
    own_store.restart()
    desk.store.flushall()
    all_closed(desk, "the store has no epoch")


def test_an_epoch_is_opened_once_by_the_life_it_was_fenced_for(desk: Desk):
    """A guard that is late would put a lower epoch over a higher one, or open a store that restarted since."""
    run_id = desk.run_id

    def open_epoch(epoch, life):
        return load_script(desk.store, "open_epoch")(keys=[desk.epoch_key], args=[epoch, life])

    assert open_epoch(2, run_id) == ["done"]
    assert open_epoch(2, run_id) == ["done"]
    assert open_epoch(1, run_id)[0] == "closed"
    assert open_epoch(3, "0" * 40)[0] == "closed"
    assert desk.store.hgetall(desk.epoch_key) == {"epoch": "2", "run_id": run_id}
    assert open_epoch(10, run_id) == ["done"]
    assert open_epoch(9, run_id)[0] == "closed"
