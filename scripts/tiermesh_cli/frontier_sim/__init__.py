"""An OpenAI-compatible simulated frontier with a ledger of its own: the oracle of every test of money."""

from tiermesh_cli.frontier_sim.bill import Price
from tiermesh_cli.frontier_sim.server import create_app, run
from tiermesh_cli.frontier_sim.settings import SimSettings

__all__ = ["Price", "SimSettings", "create_app", "run"]
