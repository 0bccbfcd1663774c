"""What models cost: the configuration first, then the price table of the genai-prices wheel."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from importlib.metadata import version

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import TieredPrices

from tiermesh_budget.model import Offer
from tiermesh_chassis.config import MeshConfig, Provider, ProviderModel
from tiermesh_chassis.errors import ConfigError
from tiermesh_contracts.budget import LIMIT_USD_NANOS_MAX, USD_NANOS, Rates
from tiermesh_contracts.escalations import ModelRef

UNCOUNTED = ("requests_kcount",)
"""Charges beside the tokens: a hold that counts tokens would not cover a model that has one, so it has no price."""

WRITTEN = ("output_reasoning_mtok", "output_citation_mtok")
"""Kinds of output that may have a price of their own."""


class Prices:
    """Offers of every configured model, priced once at start: a running guard does not change its prices."""

    def __init__(self, config: MeshConfig, now: datetime | None = None) -> None:
        at = now or datetime.now(UTC)
        self._offers = {
            ModelRef(provider=provider.name, model=model.name): Offer(
                ref=ModelRef(provider=provider.name, model=model.name),
                rates=_configured(model, at) or _listed(provider, model, at),
                context_tokens=model.context_tokens,
                limit_field=provider.limit_field,
            )
            for provider in config.providers
            for model in provider.models
        }

    def offers(self) -> Mapping[ModelRef, Offer]:
        return self._offers


def _configured(model: ProviderModel, at: datetime) -> Rates | None:
    if model.input_usd_per_mtok is None or model.output_usd_per_mtok is None:
        return None
    cached = model.cached_input_usd_per_mtok
    return Rates(
        input_usd_nanos_per_mtok=_nanos(model.input_usd_per_mtok),
        cached_input_usd_nanos_per_mtok=_nanos(model.input_usd_per_mtok if cached is None else cached),
        output_usd_nanos_per_mtok=_nanos(model.output_usd_per_mtok),
        version=f"mesh.toml {at.date().isoformat()}",
    )


def _listed(provider: Provider, model: ProviderModel, at: datetime) -> Rates | None:
    """The dearest tier of the listed price; None where the table does not know the model by this base URL."""
    try:
        _, info = get_snapshot().find_provider_model(model.name, None, None, provider.base_url)
    except LookupError:
        return None
    prices = info.get_prices(at)
    input_price, output_price = _dearest(prices, "input_mtok"), _dearest(prices, "output_mtok")
    if input_price is None or output_price is None or any(_dearest(prices, f) is not None for f in UNCOUNTED):
        return None
    output_price = max(output_price, *(_dearest(prices, f) or output_price for f in WRITTEN))
    cached_price = _dearest(prices, "cache_read_mtok")
    return Rates(
        input_usd_nanos_per_mtok=_nanos(input_price),
        cached_input_usd_nanos_per_mtok=_nanos(input_price if cached_price is None else cached_price),
        output_usd_nanos_per_mtok=_nanos(output_price),
        version=f"genai-prices {version('genai-prices')}",
    )


def _dearest(prices: object, field: str) -> Decimal | None:
    price = getattr(prices, field, None)
    if isinstance(price, TieredPrices):
        return max(price.base, *(tier.price for tier in price.tiers))
    return None if price is None else Decimal(price)


def _nanos(usd: Decimal) -> int:
    """Raises `ConfigError` above what the books can count: it is a slip of the pen."""
    nanos = int((usd * USD_NANOS).to_integral_value(rounding=ROUND_CEILING))
    if nanos > LIMIT_USD_NANOS_MAX:
        raise ConfigError(f"a price of {usd} USD per million tokens is above 9,000,000: correct it in mesh.toml")
    return nanos
