"""`mesh.toml`: what is read, and where an error stands."""

from decimal import Decimal
from pathlib import Path

import pytest

from tiermesh_chassis.config import MeshConfig, load_config, parse_config
from tiermesh_chassis.errors import ConfigError

GOOD = """\
org = "acme"

[[providers]]
name = "main"
base_url = "http://127.0.0.1:9"
preference = 2
timeout_s = 1.5
models = [
    { name = "big", input_usd_per_mtok = 0.1, output_usd_per_mtok = 2 },
    { name = "small" },
]

[[providers]]
name = "spare"
kind = "openai"
base_url = "https://api.example.com/v1"
preference = 1
models = [{ name = "big" }]

[[budgets]]
scope = "org"
window = "month"
limit_usd = 0.1

[[budgets]]
scope = "tenant:acme"
window = "day"
limit_usd = 9000000

[limits]
in_flight_max = 3
"""


def test_a_whole_file_is_read() -> None:
    """Providers would be asked in another order than the file says, or with another limit."""
    config = parse_config(GOOD, "mesh.toml")
    assert [str(ref) for ref in config.frontier_candidates] == ["spare/big", "main/big", "main/small"]
    assert [b.limit_usd_nanos for b in config.budgets] == [100_000_000, 9_000_000_000_000_000]
    assert [p.limit_field for p in config.providers] == ["max_tokens", "max_completion_tokens"]
    assert [p.is_loopback for p in config.providers] == [True, False]
    assert config.model(config.frontier_candidates[1]) == config.providers[0].models[0]
    assert config.privacy.default == "local_only"
    assert config.limits.in_flight_max == 3
    assert parse_config("", "mesh.toml") == MeshConfig()


@pytest.mark.parametrize(
    ("written", "nanos"),
    [
        ("0.1", 100_000_000),
        ("0.3", 300_000_000),
        ("1.000000001", 1_000_000_001),
        ("123456.123456789", 123_456_123_456_789),
        ("8999999.999999999", 8_999_999_999_999_999),
        ("1e-9", 1),
        ("9_000_000.0", 9_000_000_000_000_000),
    ],
)
def test_dollars_are_read_by_their_digits(written: str, nanos: int) -> None:
    """Through a float, a tenth is a little more than a tenth, and large limits lose nano-dollars."""
    text = f'[[budgets]]\nscope = "org"\nwindow = "day"\nlimit_usd = {written}\n'
    assert parse_config(text, "f").budgets[0].limit_usd_nanos == nanos


def test_a_price_is_exact() -> None:
    """Every call would be posted at a price that nobody asked."""
    assert parse_config(GOOD, "f").providers[0].models[0].input_usd_per_mtok == Decimal("0.1")


@pytest.mark.parametrize(
    ("old", "new", "line", "key"),
    [
        ('org = "acme"', 'ogr = "acme"', 1, "unknown key 'ogr'"),
        ("in_flight_max", "in_flight_mx", 31, "unknown key 'limits.in_flight_mx'"),
        ("preference = 1", "prefrence = 1", 17, "unknown key 'providers.1.prefrence'"),
        ('{ name = "small" }', '{ name = "small", price = 1 }', 10, "unknown key 'providers.0.models.1.price'"),
        ("[limits]", "[limit]", 30, "unknown key 'limit'"),
        ('window = "day"\n', "", 25, "key 'budgets.1.window' is missing"),
        ('base_url = "https://api.example.com/v1"\n', "", 13, "key 'providers.1.base_url' is missing"),
        ("limit_usd = 9000000", "limit_usd = 9000000.01", 25, "limit_usd is above 9,000,000"),
        ("limit_usd = 0.1", "limit_usd = -0.1", 23, "budgets.0.limit_usd"),
        ("limit_usd = 9000000", "limit_usd = nan", 28, "budgets.1.limit_usd"),
        ("limit_usd = 9000000", "limit_usd = inf", 28, "budgets.1.limit_usd"),
        ("limit_usd = 9000000", "limit_usd = true", 28, "budgets.1.limit_usd"),
        ('window = "day"', 'window = "week"', 27, "budgets.1.window"),
        ('scope = "tenant:acme"', 'scope = "user"', 26, "budgets.1.scope"),
        ("in_flight_max = 3", "in_flight_max = 0", 31, "limits.in_flight_max"),
        ("in_flight_max = 3", 'in_flight_max = "many"', 31, "limits.in_flight_max"),
        ("timeout_s = 1.5", "timeout_s = nan", 7, "providers.0.timeout_s"),
        ('base_url = "http://127.0.0.1:9"', 'base_url = "ftp://x"', 5, "providers.0.base_url"),
        ("input_usd_per_mtok = 0.1, ", "", 8, "input_usd_per_mtok"),
        ('name = "spare"', 'name = "main"', 13, "two providers have the same name"),
        (
            'scope = "tenant:acme"\nwindow = "day"',
            'scope = "org"\nwindow = "month"',
            25,
            "two budgets have the same scope",
        ),
        ("[limits]", '[routing]\nfrontier = ["main/huge"]\n[limits]', 31, "main/huge"),
        ('scope = "tenant:acme"', 'scope = "model:main/huge"', 26, "main/huge"),
        ("[limits]", '[privacy]\ndefault = "open"\n[limits]', 31, "privacy.default"),
    ],
)
def test_every_error_names_the_key_and_its_line(old: str, new: str, line: int, key: str) -> None:
    """An operator would search a long file for a misspelt word, or a limit would quietly not be there."""
    assert GOOD.count(old) == 1
    with pytest.raises(ConfigError) as error:
        parse_config(GOOD.replace(old, new), "mesh.toml")
    message = str(error.value)
    assert message.startswith(f"mesh.toml, line {line}: "), message
    assert key in message
    assert "\n" not in message


def test_the_line_is_found_in_every_spelling_of_a_table() -> None:
    """The same key in another table would be named instead."""
    nested = (
        '[[providers]]\nname = "a"\nbase_url = "http://x"\n'
        '[[providers.models]]\nname = "m"\n[[providers.models]]\nname = "n"\nprice = 1\n'
    )
    with pytest.raises(ConfigError, match=r"line 8: unknown key 'providers\.0\.models\.1\.price'"):
        parse_config(nested, "f")
    with pytest.raises(ConfigError, match=r"line 2: unknown key 'limits\.more'"):
        parse_config('org = "o"  # limits.more = 1\nlimits.more = 1\n', "f")


def test_what_is_no_toml_or_no_file_says_so(tmp_path: Path) -> None:
    """A traceback instead of one line, or a mesh that starts without its budgets."""
    with pytest.raises(ConfigError, match=r"f: not TOML: .*line 1"):
        parse_config("org = \n", "f")
    with pytest.raises(ConfigError, match="TIERMESH_CONFIG"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="TIERMESH_CONFIG"):
        load_config(tmp_path / "binary.toml")
    (tmp_path / "mesh.toml").write_text(GOOD, encoding="utf-8")
    assert load_config(tmp_path / "mesh.toml").org == "acme"


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://localhost:1/v1", True),
        ("http://[::1]:1", True),
        ("http://127.9.9.9", True),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost:key@example.com", False),
        ("https://example.com/localhost", False),
    ],
)
def test_loopback_is_judged_by_the_host(url: str, loopback: bool) -> None:
    """A mesh without durable books would be let out to a provider that bills."""
    text = f'[[providers]]\nname = "p"\nbase_url = "{url}"\nmodels = [{{ name = "m" }}]\n'
    assert parse_config(text, "f").providers[0].is_loopback is loopback


@pytest.mark.parametrize("scope", ["tenant:ACME", "tenant:a b", "project:-x"])
def test_a_limit_that_nobody_can_meet_is_an_error(scope: str) -> None:
    """Breaks if a limit is misspelt, stands in the file, and limits nobody."""
    with pytest.raises(ConfigError, match="scope"):
        parse_config(f'[[budgets]]\nscope = "{scope}"\nwindow = "day"\nlimit_usd = 1\n', "mesh.toml")
