"""What a simulated frontier is started with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tiermesh_cli.frontier_sim.bill import Price
from tiermesh_cli.frontier_sim.faults import Fault, check_rates

DEFAULT_PRICES: Mapping[str, Price] = {
    "sim-large": Price(3_000_000_000, 15_000_000_000),
    "sim-small": Price(250_000_000, 1_250_000_000),
}


@dataclass(frozen=True, slots=True)
class SimSettings:
    """Raises `ValueError`, naming the setting, where a value is out of bounds."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: any free port, printed in the ready line."""
    seed: int = 0
    prices: Mapping[str, Price] = field(default_factory=lambda: DEFAULT_PRICES)
    api_key: str | None = field(default=None, repr=False)
    """None: calls without an Authorization header are served too."""
    answer_key: Path | None = None
    """JSONL of `text` and `label`."""
    accuracy: float = 0.97
    median_ms: float = 250.0
    p95_ms: float = 700.0
    concurrency_max: int = 512
    """Calls in progress; one more is told to come back later."""
    faults: Mapping[Fault, float] = field(default_factory=dict)
    hang_ms: float = 60_000.0
    drip_token_ms: float = 1_000.0
    body_bytes_max: int = 4 * 1024 * 1024
    bill_lines_max: int = 1_000_000
    inbox_texts_max: int = 200_000
    inbox_bytes_max: int = 128 * 1024 * 1024

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float]] = {
            "port": (0, 65_535),
            "accuracy": (0, 1),
            "median_ms": (0, 600_000),
            "p95_ms": (self.median_ms, 600_000),
            "concurrency_max": (1, 100_000),
            "hang_ms": (0, 3_600_000),
            "drip_token_ms": (0, 60_000),
            "body_bytes_max": (1, 64 * 1024 * 1024),
            "bill_lines_max": (1, 10_000_000),
            "inbox_texts_max": (0, 10_000_000),
            "inbox_bytes_max": (0, 1024**3),
        }
        for name, (least, most) in bounds.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name}={getattr(self, name)!r} is not in {least:g}..{most:g}")
        if not self.prices:
            raise ValueError("prices names no model")
        check_rates(self.faults)
