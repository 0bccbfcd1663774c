"""The `tiermesh` command. Each subcommand is a file of its name; what is heavy is imported when it runs."""

import sys
from typing import TYPE_CHECKING

from tiermesh_cli.output import CommandFailed, say

if TYPE_CHECKING:
    from typer import Typer


def build() -> "Typer":
    """Every subcommand: a function of the file's name, or for a group the file's `app`."""
    from typer import Typer

    from tiermesh_cli import budget, demo, evaluate, frontier, run, send, topics, train, up

    app = Typer(
        help="Small models you own answer; a frontier model is asked only with money already set aside.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.command("demo")(demo.demo)
    app.command("up")(up.up)
    app.command("run")(run.run)
    app.command("send")(send.send)
    app.command("train")(train.train)
    app.command("evaluate")(evaluate.evaluate)
    app.add_typer(budget.app, name="budget")
    app.add_typer(topics.app, name="topics")
    app.command("frontier-sim")(frontier.frontier_sim)
    return app


def foreseeable() -> tuple[type[Exception], ...]:
    """Errors whose text tells people what to do; anything else is a defect and shows where it is.

    Python asks only once an error is on its way, so a command that works imports none of this.
    """
    from aiokafka.errors import KafkaError
    from pydantic_core import ValidationError

    from tiermesh_chassis.errors import StartError
    from tiermesh_cli.embedded import EmbeddedMissing
    from tiermesh_cli.mesh import MeshInvalid
    from tiermesh_cli.processes import ProcessFailed
    from tiermesh_contracts.brokers import BrokerUnreachable
    from tiermesh_contracts.client import TopicMissing
    from tiermesh_modelkit.errors import ModelError

    del ValidationError
    return (
        CommandFailed,
        StartError,
        EmbeddedMissing,
        MeshInvalid,
        ProcessFailed,
        BrokerUnreachable,
        TopicMissing,
        ModelError,
        KafkaError,
        OSError,
    )


def main() -> None:
    try:
        build()()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("tiermesh_"):
            raise
        extra = "cli" if error.name in {"typer", "rich"} else "all"
        say(f"tiermesh: {error.name} is not installed: pip install 'tiermesh[{extra}]'")
        sys.exit(1)
    except foreseeable() as error:
        say(f"tiermesh: {error}")
        sys.exit(error.status if isinstance(error, CommandFailed) else 1)
