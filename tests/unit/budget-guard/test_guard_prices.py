"""What models cost."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tiermesh_budget.adapters.prices import Prices
from tiermesh_chassis.config import parse_config
from tiermesh_chassis.errors import ConfigError
from tiermesh_contracts.escalations import ModelRef

AT = datetime(2026, 11, 1, tzinfo=UTC)


def offer(model, base_url="http://127.0.0.1:1/v1", name="m", kind="openai-compatible"):
    text = f'[[providers]]\nname = "p"\nkind = "{kind}"\nbase_url = "{base_url}"\n'
    config = parse_config(f'{text}models = [{{ name = "{name}"{model} }}]\n', "mesh.toml")
    return Prices(config, AT).offers()[ModelRef(provider="p", model=name)]


def nanos(rates):
    return (
        rates.input_usd_nanos_per_mtok,
        rates.cached_input_usd_nanos_per_mtok,
        rates.output_usd_nanos_per_mtok,
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("input_usd_per_mtok = 3, output_usd_per_mtok = 15", (3 * 10**9, 3 * 10**9, 15 * 10**9)),
        ("input_usd_per_mtok = 0.1, output_usd_per_mtok = 0.3", (10**8, 10**8, 3 * 10**8)),
        ("input_usd_per_mtok = 0.07, output_usd_per_mtok = 1.1", (70_000_000, 70_000_000, 1_100_000_000)),
        (
            'input_usd_per_mtok = "2.5", cached_input_usd_per_mtok = 0, output_usd_per_mtok = "10"',
            (2_500_000_000, 0, 10**10),
        ),
        ("input_usd_per_mtok = 0, output_usd_per_mtok = 0", (0, 0, 0)),
    ],
)
def test_a_configured_price_is_exact(given, expected):
    """The nearest double of a tenth would make every cost a little wrong, always in one direction."""
    rates = offer(f", {given}").rates
    assert nanos(rates) == expected
    assert rates.version == "mesh.toml 2026-11-01"


def test_a_price_finer_than_a_nano_dollar_is_rounded_up():
    """A hold would be a little less than the call."""
    rates = offer(", input_usd_per_mtok = 0.0000000001, output_usd_per_mtok = 0.0000000019").rates
    assert nanos(rates) == (1, 1, 2)


def test_a_price_that_no_book_can_count_is_a_clear_error():
    """A slip of the pen would end in a traceback, or pass."""
    with pytest.raises(ConfigError, match="9,000,000"):
        offer(", input_usd_per_mtok = 3, output_usd_per_mtok = 15_000_000")


def test_a_known_public_model_has_its_listed_price():
    """The table in the wheel would not be read, and a user have to type every price."""
    one = offer("", "https://api.openai.com/v1", "gpt-4o", kind="openai")
    assert nanos(one.rates) == (2_500_000_000, 1_250_000_000, 10_000_000_000)
    assert one.rates.version.startswith("genai-prices ")
    assert one.limit_field == "max_completion_tokens"


def test_the_configured_price_stands_above_the_listed_one():
    """A price that was agreed with the provider would be ignored."""
    given = ", input_usd_per_mtok = 1, output_usd_per_mtok = 2"
    assert nanos(offer(given, "https://api.openai.com/v1", "gpt-4o").rates) == (10**9, 10**9, 2 * 10**9)


def test_of_a_tiered_price_the_dearest_tier_counts():
    """A long input would cost more than was held for it."""
    rates = offer("", "https://generativelanguage.googleapis.com/v1beta/openai", "gemini-2.5-pro").rates
    usual = Decimal("1.25") * 10**9, Decimal(10) * 10**9
    assert rates.input_usd_nanos_per_mtok > usual[0]
    assert rates.output_usd_nanos_per_mtok > usual[1]


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://api.openai.com/v1", "gpt-nope"),
        ("http://127.0.0.1:1/v1", "gpt-4o"),
        ("https://api.openai.com.evil.example/v1", "gpt-nope"),
        ("https://api.perplexity.ai", "sonar-pro"),
    ],
)
def test_a_model_that_is_not_known_or_charges_beside_its_tokens_has_no_price(base_url, name):
    """An unknown model would cost zero, and one with a fee for each request more than its hold."""
    assert offer("", base_url, name).rates is None


def test_what_a_model_can_read_is_taken_from_the_configuration():
    """A small model would be sent what it cannot read."""
    assert offer(", context_tokens = 8_000").context_tokens == 8_000
    assert offer("").context_tokens == 128_000
