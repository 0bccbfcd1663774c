"""Windows are UTC by the store's clock."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.books import Desk, run_common

IDS = """
local out = {}
for i, seconds in ipairs(ARGV) do
  local now = {seconds = tonumber(seconds)}
  local ids = {}
  for j, window in ipairs(WINDOWS) do ids[j] = window_id(window, now) end
  out[i] = table.concat(ids, ' ')
end
return out
"""


def ids_of(seconds):
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{seconds // 60} {moment:%Y-%m-%d} {moment:%Y-%m} all"


def compare(store, seconds):
    for start in range(0, len(seconds), 4_000):
        some = seconds[start : start + 4_000]
        assert run_common(store, IDS, *some) == [ids_of(s) for s in some]


@pytest.fixture(scope="module")
def store(redis_url):
    return Desk(redis_url).store


def test_every_day_from_1970_to_2125_has_its_name(store):
    """A leap year, a month's end or the year 2100 would stretch a window or count one twice."""
    days = (date(2125, 1, 1) - date(1970, 1, 1)).days
    compare(store, [86_400 * n for n in range(days)])


def test_a_window_turns_at_its_second(store):
    """The last call of a month would count in the next one's money."""
    turns = []
    for year in (1999, 2000, 2024, 2026, 2028, 2099, 2100, 2400):
        for month in range(1, 13):
            first = datetime(year, month, 1, tzinfo=UTC)
            turns += [int((first + timedelta(seconds=s)).timestamp()) for s in (-1, 0, 1, 59, 60)]
        turns += [int(datetime(year, 3, 1, tzinfo=UTC).timestamp()) - s for s in (1, 86_400, 86_401)]
    compare(store, turns)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 32_503_680_000), min_size=1, max_size=200))
def test_any_moment_until_the_year_3000_has_its_name(store, seconds):
    """As above, for the moments that nobody thought of."""
    compare(store, seconds)


def test_a_reservation_counts_in_the_windows_of_its_own_moment(desk: Desk):
    """Counted by one clock and stamped by another, the ledger would not show what the store counted."""
    desk.limits(*(("org", window, 100) for window in ("minute", "day", "month", "lifetime")))
    before, *_ = desk.store.time()
    desk.reserve("a" * 64, 60)
    after, *_ = desk.store.time()
    (entry,) = desk.entries("a" * 64)
    assert before * 1000 <= entry.at_ms < (after + 1) * 1000
    named = " ".join(scope.window_id for scope in entry.scopes)
    assert named == ids_of(entry.at_ms // 1000)
    assert {desk.sums("org", s.window, s.window_id)[0] for s in entry.scopes} == {60}


def test_a_hold_is_settled_in_the_windows_it_was_held_in(desk: Desk):
    """A call over midnight would free money in one day and post it in another."""
    desk.limits(("org", "minute", 100), ("org", "day", 100))
    desk.reserve("a" * 64, 60)
    yesterday = {"w:org:minute:1": (0, 40, 0), "w:org:day:1970-01-01": (0, 40, 0)}
    record = f"{desk.prefix}r:{'a' * 64}"
    desk.store.hset(record, "keys", "\n".join(yesterday))
    for key in yesterday:
        desk.store.hset(desk.prefix + key, "held", 60)
    desk.resolve("a" * 64, "settled", 40)
    assert {key: desk.sums(*key.removeprefix("w:").rsplit(":", 2)) for key in yesterday} == yesterday


def test_sums_of_windows_that_ended_leave_the_store(redis_url):
    """A key for every minute, every chain a day and every request would fill the store in the end."""
    desk = Desk(redis_url).open()
    desk.limits(("org", "lifetime", 100), ("org", "minute", 100), ("org", "day", 100), ("org", "month", 100))
    desk.reserve("a", 1, limit=50, scopes=(("org", "org"), ("request:r", "request")))
    left_days = {
        key.removeprefix(f"{desk.prefix}w:").rsplit(":", 1)[0]: desk.store.pttl(key) / 86_400_000
        for key in desk.store.scan_iter(f"{desk.prefix}w:*")
    }
    assert left_days.pop("org:lifetime") < 0, "the whole of an org is counted for ever"
    assert {name: round(days) for name, days in left_days.items()} == {
        "org:minute": 9,
        "org:day": 45,
        "org:month": 400,
        "request:r:lifetime": 45,
    }


def test_late_evidence_does_not_begin_an_ended_window_anew(redis_url):
    """A sum begun anew would be below zero, and allow more than the limit if its window were ever asked."""
    desk = Desk(redis_url).open()
    desk.limits(("org", "lifetime", 100), ("org", "minute", 100))
    desk.reserve("a", 10, scopes=(("org", "org"),))
    (minute,) = desk.store.scan_iter(f"{desk.prefix}w:org:minute:*")
    desk.store.delete(minute)
    assert desk.resolve("a", "settled", 4)[0] == "done"
    assert not desk.store.exists(minute)
    assert desk.store.hget(f"{desk.prefix}w:org:lifetime:all", "posted") == "4"
