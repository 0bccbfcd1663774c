"""The configuration of a first run, where nobody wrote a mesh.toml."""

from pathlib import Path
from typing import Final

_SIMULATED: Final = """\
# Written by `tiermesh up`: the frontier is simulated, its dollars are nobody's.
org = "default"

[[providers]]
name = "simulated"
base_url = "{base_url}"
models = [
    {{ name = "sim-large", input_usd_per_mtok = 3, output_usd_per_mtok = 15 }},
    {{ name = "sim-small", input_usd_per_mtok = 0.25, output_usd_per_mtok = 1.25 }},
]

[[budgets]]
scope = "org"
window = "month"
limit_usd = 10

[privacy]
default = "any"
"""

_LOCAL_ALONE: Final = """\
# Written by `tiermesh up`: no frontier, the models of your own answer alone.
org = "default"
"""


def write_config(path: Path, base_url: str | None) -> Path:
    """A month of 10 USD at the simulated frontier of `base_url`, or none at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _LOCAL_ALONE if base_url is None else _SIMULATED.format(base_url=base_url)
    path.write_text(text, encoding="utf-8")
    return path
