"""The demo's `mesh.toml`: one simulated model, one budget of the whole org."""

from decimal import Decimal
from pathlib import Path
from typing import Final

from tiermesh_chassis.config import parse_config
from tiermesh_contracts.budget import USD_NANOS, Rates

ORG: Final = "demo"
MODEL: Final = "sim-large"
RATES: Final = Rates(
    input_usd_nanos_per_mtok=3 * USD_NANOS,
    cached_input_usd_nanos_per_mtok=3 * USD_NANOS,
    output_usd_nanos_per_mtok=15 * USD_NANOS,
    version="demo",
)

_TEXT: Final = """\
# Written by `tiermesh demo`: the frontier is simulated, its dollars are nobody's.
org = "{org}"

[[providers]]
name = "simulated"
base_url = "{frontier}/v1"
timeout_s = 10
models = [{{ name = "{model}", input_usd_per_mtok = {input_usd}, output_usd_per_mtok = {output_usd} }}]

[[budgets]]
scope = "org"
window = "lifetime"
limit_usd = {limit_usd}

[routing]
frontier = ["simulated/{model}"]

[privacy]
default = "local_only"
"""


def write_config(path: Path, frontier: str, limit_usd_nanos: int) -> int:
    """Write it whole or not at all, for the guard reads it while it runs; returns the limit."""
    text = _TEXT.format(
        org=ORG,
        frontier=frontier,
        model=MODEL,
        input_usd=_usd(RATES.input_usd_nanos_per_mtok),
        output_usd=_usd(RATES.output_usd_nanos_per_mtok),
        limit_usd=_usd(limit_usd_nanos),
    )
    parse_config(text, str(path))
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    return limit_usd_nanos


def _usd(nanos: int) -> Decimal:
    return Decimal(nanos) / USD_NANOS
