"""The `tiermesh` command. Each subcommand is a file of its name; what is heavy is imported when it runs."""

import importlib
import logging
import sys
from typing import TYPE_CHECKING, Final

from tiermesh_cli.output import CommandFailed, say

if TYPE_CHECKING:
    from typer import Typer


COMMANDS: Final = {
    "demo": "demo",
    "up": "up",
    "run": "run",
    "send": "send",
    "train": "train",
    "evaluate": "evaluate",
    "budget": "budget",
    "topics": "topics",
    "frontier-sim": "frontier",
}
"""Subcommand to its file, which holds a function of the subcommand's name, or for a group an `app`."""


def build(named: str | None = None) -> "Typer":
    """The whole command; where `named` is a subcommand, that one alone, so that it starts fast."""
    from typer import Typer

    app = Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
    app.callback(help="Small models you own answer; a frontier model is asked only with money set aside.")(_root)
    for name, file in COMMANDS.items():
        if named in COMMANDS and name != named:
            continue
        module = importlib.import_module(f"tiermesh_cli.{file}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name.replace("-", "_")))
    return app


def _root() -> None:
    pass


def foreseeable() -> tuple[type[Exception], ...]:
    """Errors whose text tells people what to do; anything else is a defect and shows where it is.

    Python asks only once an error is on its way, so a command that works imports none of this.
    """
    from aiokafka.errors import KafkaError

    from tiermesh_chassis.errors import StartError
    from tiermesh_cli.embedded import EmbeddedMissing
    from tiermesh_cli.mesh import MeshInvalid
    from tiermesh_cli.processes import ProcessFailed
    from tiermesh_contracts.brokers import BrokerUnreachable
    from tiermesh_contracts.client import TopicMissing
    from tiermesh_modelkit.errors import ModelError

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
    # What the Kafka client cannot do it raises too; its own lines beside ours would say it twice.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        build(next(iter(sys.argv[1:]), None))()
    except SystemExit:  # the usual end of a command: nothing is asked below
        raise
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("tiermesh_"):
            raise
        extra = "cli" if error.name in {"typer", "rich"} else "all"
        say(f"tiermesh: {error.name} is not installed: pip install 'tiermesh[{extra}]'")
        sys.exit(1)
    except foreseeable() as error:
        say(f"tiermesh: {error}")
        sys.exit(error.status if isinstance(error, CommandFailed) else 1)
