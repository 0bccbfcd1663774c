"""`tiermesh topics`: the topics of the registry."""

import asyncio
import os
from typing import Annotated

from typer import Option, Typer

from tiermesh_cli.output import USAGE, CommandFailed, print_json

app = Typer(help="The mesh's topics.", no_args_is_help=True)


@app.callback()
def topics() -> None:
    """The mesh's topics."""


@app.command()
def create(
    tenant: Annotated[list[str] | None, Option(help="Also this tenant's own result topic; repeatable.")] = None,
    replication: Annotated[
        int | None, Option(min=1, max=15, help="Copies of each record; else 3, or as many as there are brokers.")
    ] = None,
    json: Annotated[bool, Option("--json", help="One object instead of lines.")] = False,
) -> None:
    """Create every topic that is not there yet, on the broker of TIERMESH_KAFKA."""
    from tiermesh_cli.mesh import ensure_topics

    kafka = os.environ.get("TIERMESH_KAFKA")
    if not kafka:
        raise CommandFailed("name the broker: set TIERMESH_KAFKA to host:port", USAGE)
    created = asyncio.run(ensure_topics(kafka, _checked(tenant or []), replication))
    if json:
        print_json({"created": created, "kafka": kafka})
        return
    for name in created:
        print(name)
    print(f"{len(created)} topics created at {kafka}" if created else f"every topic was there at {kafka}")


def _checked(tenants: list[str]) -> list[str]:
    from pydantic import TypeAdapter, ValidationError

    from tiermesh_contracts.requests import Name

    for tenant in tenants:
        try:
            TypeAdapter(Name).validate_python(tenant)
        except ValidationError as error:
            raise CommandFailed(
                f"tenant {tenant!r}: use a-z, 0-9, '.', '_' and '-', at most 64 characters", USAGE
            ) from error
    return tenants
