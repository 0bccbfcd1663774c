from datetime import UTC, datetime
from uuid import uuid4

import pytest

from tiermesh_budget.decide.scopes import limit_scope
from tiermesh_chassis.config import MeshConfig, parse_config
from tiermesh_chassis.errors import DependencyMissing
from tiermesh_chassis.store import connect_store
from tiermesh_cli.budget_reading import limit_of, parse_counter, read_spend, window_ids
from tiermesh_cli.output import CommandFailed, usd

CONFIG = """
org = "{org}"
[[providers]]
name = "p"
base_url = "http://127.0.0.1:1/v1"
models = [{{ name = "m", input_usd_per_mtok = 1, output_usd_per_mtok = 1 }}]
[[budgets]]
scope = "org"
window = "lifetime"
limit_usd = 10
[[budgets]]
scope = "tenant"
window = "month"
limit_usd = 1
[[budgets]]
scope = "model:p/m"
window = "lifetime"
limit_usd = 2
"""


def config_of_new_org() -> MeshConfig:
    return parse_config(CONFIG.format(org=f"o{uuid4().hex[:12]}"), "mesh.toml")


def test_counter_names_are_taken_apart_from_the_right() -> None:
    """Breaks if a tenant's counter, whose scope holds a colon, is read as another scope or window."""
    assert parse_counter("w:org:month:2026-07") == ("org", "month", "2026-07")
    assert parse_counter("w:tenant:acme:day:2026-07-01") == ("tenant:acme", "day", "2026-07-01")
    assert parse_counter("w:org") is None


def test_the_limit_of_one_goes_before_that_of_its_kind() -> None:
    """Breaks if the shown limit is not the one that the reserving script applies."""
    limits = {"tenant|day": "5", "tenant:acme|day": "7", "org|month": "9"}
    assert limit_of("tenant:acme", "day", limits) == 7
    assert limit_of("tenant:other", "day", limits) == 5
    assert limit_of("tenant:acme", "month", limits) is None


def test_windows_are_named_as_the_script_names_them() -> None:
    """Breaks if the current window is looked for under another name and shows as unspent."""
    ids = window_ids(datetime(2026, 3, 1, 0, 2, tzinfo=UTC))
    assert (ids["day"], ids["month"], ids["lifetime"]) == ("2026-03-01", "2026-03", "all")
    assert int(ids["minute"]) * 60 == datetime(2026, 3, 1, 0, 2, tzinfo=UTC).timestamp()


def test_dollars_keep_every_nano() -> None:
    """Breaks if a balance is rounded for people and no longer adds up."""
    assert usd(12_500_000_000) == "$12.50"
    assert usd(1) == "$0.000000001"
    assert usd(-345_000) == "-$0.000345"
    assert usd(9_000_000_000_000_000) == "$9,000,000.00"


async def test_spend_is_read_from_the_store(redis_url: str) -> None:
    """Breaks if a limit without spend is left out, a past window counts, or a model shows as a hash."""
    config = config_of_new_org()
    prefix = f"{{{config.org}}}:e3:"
    store = connect_store(redis_url)
    model = limit_scope("model:p/m")
    month = window_ids(datetime.now(UTC))["month"]
    await store.hset(f"{{{config.org}}}:epoch", mapping={"epoch": "3", "run_id": "r"})
    await store.hset(
        f"{prefix}limits",
        mapping={"org|lifetime": "10000000000", "tenant|month": "1000000000", f"{model}|lifetime": "2000000000"},
    )
    await store.hset(f"{prefix}w:org:lifetime:all", mapping={"held": "5", "posted": "7", "suspended": "1"})
    await store.hset(f"{prefix}w:tenant:acme:month:{month}", mapping={"posted": "7"})
    await store.hset(f"{prefix}w:tenant:acme:month:1999-01", mapping={"posted": "999"})
    await store.set(f"{prefix}frozen:{model}", "att")
    await store.zadd(f"{prefix}outbox", {"entry": 1})
    await store.aclose()

    spend = await read_spend(redis_url, config)
    seen = {(each.name, each.window): each for each in spend.windows}
    assert set(seen) == {("org", "lifetime"), ("model:p/m", "lifetime"), ("tenant:acme", "month")}
    assert seen["org", "lifetime"].left_usd_nanos == 10_000_000_000 - 13
    assert seen["model:p/m", "lifetime"].left_usd_nanos == 2_000_000_000
    assert seen["tenant:acme", "month"].posted_usd_nanos == 7
    assert (spend.epoch, spend.outbox, spend.frozen) == (3, 1, ("model:p/m",))


async def test_chains_and_requests_are_shown_together(redis_url: str) -> None:
    """Breaks if a busy month prints a row a chain, or more than ten thousand of them make the command fail."""
    config = config_of_new_org()
    prefix = f"{{{config.org}}}:e1:"
    store = connect_store(redis_url)
    own = limit_scope("root:acme/mine")
    pipe = store.pipeline(transaction=False)
    pipe.hset(f"{{{config.org}}}:epoch", mapping={"epoch": "1"})
    pipe.hset(f"{prefix}limits", mapping={"root|lifetime": "20000", f"{own}|lifetime": "5"})
    for n in range(11_000):
        pipe.hset(f"{prefix}w:root:{n:024x}:lifetime:all", mapping={"posted": str(n), "held": "1"})
    pipe.hset(f"{prefix}w:request:{7:024x}:lifetime:all", mapping={"suspended": "3"})
    pipe.hset(f"{prefix}w:{own}:lifetime:all", mapping={"posted": "4"})
    await pipe.execute()
    await store.aclose()

    spend = await read_spend(redis_url, config)
    assert [(each.scope, each.left_usd_nanos) for each in spend.windows] == [(own, 1)]
    requests, roots = spend.kinds
    assert (requests.kind, requests.count, requests.suspended_usd_nanos) == ("request", 1, 3)
    assert (roots.kind, roots.window, roots.window_id, roots.count) == ("root", "lifetime", "all", 11_000)
    assert (roots.held_usd_nanos, roots.posted_usd_nanos) == (11_000, 11_000 * 10_999 // 2)
    assert [each.posted_usd_nanos for each in roots.fullest] == list(range(10_999, 10_989, -1))
    assert roots.fullest[0].left_usd_nanos == 20_000 - 11_000
    assert spend.to_json()["kinds"][1]["fullest"][0]["left_usd_nanos"] == 9_000


async def test_a_store_that_is_away_is_named_without_its_password() -> None:
    """Breaks if the password stands in the terminal, and in whatever keeps what is printed there."""
    with pytest.raises(DependencyMissing, match=r"redis://127\.0\.0\.1:1/0") as error:
        await read_spend("redis://me:s3cret@127.0.0.1:1/0", config_of_new_org())
    assert "s3cret" not in str(error.value)


async def test_no_books_is_one_clear_line(redis_url: str) -> None:
    """Breaks if an empty store looks like a budget with nothing spent."""
    with pytest.raises(CommandFailed, match="has no books in this store yet"):
        await read_spend(redis_url, config_of_new_org())
