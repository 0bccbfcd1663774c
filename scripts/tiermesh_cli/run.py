"""`tiermesh run`: one service in the foreground."""

import importlib
from typing import Annotated, Final

from typer import Argument, Exit

from tiermesh_cli.output import USAGE, CommandFailed

PACKAGES: Final = {
    "router": "tiermesh_router",
    "local-inference": "tiermesh_inference",
    "budget-guard": "tiermesh_budget",
    "escalation": "tiermesh_escalation",
}


def run(service: Annotated[str, Argument(help=f"One of {', '.join(PACKAGES)}.", metavar="SERVICE")]) -> None:
    """Run one service until Ctrl-C; it is set up by TIERMESH_* variables."""
    if service not in PACKAGES:
        raise CommandFailed(f"no service {service!r}; there are {', '.join(PACKAGES)}", USAGE)
    try:
        from tiermesh_chassis.running import run_service

        app = importlib.import_module(f"{PACKAGES[service]}.app")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("tiermesh_"):
            raise
        raise CommandFailed(
            f"{service} needs {error.name}, which is not installed: pip install 'tiermesh[{service}]'"
        ) from error
    raise Exit(run_service(app.NAME, app.create_app, needs_store=app.NEEDS_STORE))
