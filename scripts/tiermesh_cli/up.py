"""`tiermesh up`: the services as processes of their own, until Ctrl-C."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from typer import Exit, Option

from tiermesh_cli.output import USAGE, CommandFailed, print_json, print_table, say

if TYPE_CHECKING:
    from tiermesh_cli.mesh import Mesh

GRACE_S: Final = 80.0
"""How long work in flight may take at the end; longer than the services' own grace."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be started; `config` is None where one with a simulated frontier is to be written."""

    run_dir: Path
    embedded: bool
    config: Path | None
    models: Path
    only: tuple[str, ...]
    state_dir: Path | None
    simulated: bool
    json: bool


def up(
    embedded: Annotated[bool, Option("--embedded", help="Start a broker and a store too.")] = False,
    kafka: Annotated[str | None, Option(help="'local': not in this version.")] = None,
    only: Annotated[str | None, Option(help="Services to start, separated by commas.")] = None,
    state_dir: Annotated[Path | None, Option(help="Keep the embedded store's data here.")] = None,
    config: Annotated[Path | None, Option(help="mesh.toml; else TIERMESH_CONFIG, else ./mesh.toml.")] = None,
    models: Annotated[Path | None, Option(help="Folder of models; else TIERMESH_MODELS.")] = None,
    simulated_frontier: Annotated[
        bool | None, Option(help="With --embedded and no mesh.toml: a frontier that is simulated, or none.")
    ] = None,
    json: Annotated[bool, Option("--json", help="One JSON line once ready instead of a table.")] = False,
) -> None:
    """Run the services until Ctrl-C, on an embedded broker and store or on those of TIERMESH_*."""
    _check_kafka(kafka)
    if state_dir is not None and not embedded:
        raise CommandFailed("--state-dir keeps the embedded store: use it with --embedded", USAGE)
    plan = Plan(
        run_dir=Path(".tiermesh") / f"run-{os.getpid()}",
        embedded=embedded,
        config=_found_config(config, embedded, simulated_frontier),
        models=models or Path(os.environ.get("TIERMESH_MODELS") or ".tiermesh/models"),
        only=_names(only),
        state_dir=state_dir,
        simulated=simulated_frontier is not False,
        json=json,
    )
    _check_providers(plan)
    _ensure_models(plan)
    raise Exit(asyncio.run(_until_signalled(plan)))


def _check_kafka(kafka: str | None) -> None:
    if kafka == "local":
        raise CommandFailed(
            "--kafka local is not available in this version (it needs Apache Kafka from Maven Central): "
            "use --embedded, or set TIERMESH_KAFKA",
            USAGE,
        )
    if kafka is not None:
        raise CommandFailed(f"--kafka {kafka}: name a broker by TIERMESH_KAFKA, or use --embedded", USAGE)


def _names(only: str | None) -> tuple[str, ...]:
    from tiermesh_cli.mesh import MeshInvalid, chosen_services

    try:
        return chosen_services(None if only is None else [name.strip() for name in only.split(",") if name.strip()])
    except MeshInvalid as error:
        raise CommandFailed(f"--only: {error}", USAGE) from error


def _found_config(given: Path | None, embedded: bool, simulated: bool | None) -> Path | None:
    named = given or (Path(os.environ["TIERMESH_CONFIG"]) if os.environ.get("TIERMESH_CONFIG") else None)
    found = named or (Path("mesh.toml") if Path("mesh.toml").exists() else None)
    if found is None and not embedded:
        raise CommandFailed("no configuration: give --config, set TIERMESH_CONFIG or write ./mesh.toml", USAGE)
    if found is not None and simulated is not None:
        raise CommandFailed(f"{found} names its own providers: leave out --[no-]simulated-frontier", USAGE)
    return found


def _check_providers(plan: Plan) -> None:
    """The embedded ledger dies with its broker; money of the real world needs more than that."""
    from tiermesh_chassis.config import load_config

    if plan.config is None:
        return
    loaded = load_config(plan.config)
    if plan.embedded and plan.state_dir is None:
        for provider in loaded.providers:
            if not provider.is_loopback:
                raise CommandFailed(
                    f"{plan.config}: provider {provider.name} at {provider.base_url} costs real money, and the "
                    "embedded ledger would be forgotten at the end: give --state-dir, or use TIERMESH_KAFKA",
                    USAGE,
                )


def _ensure_models(plan: Plan) -> None:
    from tiermesh_cli.train import train_bundled
    from tiermesh_modelkit.errors import ModelMissing
    from tiermesh_modelkit.store import find_models

    if not {"router", "local-inference"} & set(plan.only):
        return
    try:
        found = find_models(plan.models)
    except ModelMissing:
        found = []
    if found:
        return
    if not plan.embedded:
        raise CommandFailed(f"no model in {plan.models}: run `tiermesh train`, or set TIERMESH_MODELS")
    say(f"no model in {plan.models}: training the bundled examples first")
    train_bundled(plan.models)


async def _until_signalled(plan: Plan) -> int:
    """Ctrl-C or SIGTERM ends everything in order; a second one at once."""
    work = asyncio.ensure_future(_run(plan))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        say("ended")
        return 0


async def _run(plan: Plan) -> int:
    from tiermesh_cli.mesh import Mesh
    from tiermesh_cli.upkeep import check_store, keep_running

    async with AsyncExitStack() as stack:
        config = plan.config or await _first_config(plan, stack)
        if not plan.embedded:
            await check_store(os.environ.get("TIERMESH_REDIS_URL"))
        mesh = await Mesh.start(
            config=config,
            models=plan.models,
            embedded=plan.embedded,
            kafka=os.environ.get("TIERMESH_KAFKA"),
            redis_url=os.environ.get("TIERMESH_REDIS_URL"),
            only=plan.only,
            run_dir=plan.run_dir,
            state_dir=plan.state_dir,
        )
        stack.push_async_callback(mesh.stop, GRACE_S)
        await mesh.ready()
        _announce(mesh, plan)
        await keep_running(mesh)
    return 0


async def _first_config(plan: Plan, stack: AsyncExitStack) -> Path:
    """Where nobody wrote a mesh.toml: one for a simulated frontier, which is started, or for none."""
    from tiermesh_cli.frontier import start_frontier
    from tiermesh_cli.generated_config import write_config

    if not plan.simulated:
        return write_config(plan.run_dir / "mesh.toml", None)
    frontier, base_url = await start_frontier(plan.run_dir / "logs" / "frontier-sim.log")
    stack.push_async_callback(asyncio.to_thread, frontier.terminate)
    say(f"the frontier is SIMULATED, at {base_url}: its answers mean nothing, its dollars are nobody's")
    return write_config(plan.run_dir / "mesh.toml", base_url)


def _announce(mesh: "Mesh", plan: Plan) -> None:
    services = {name: {"pid": each.pid, "health": each.health_url} for name, each in mesh.services.items()}
    if plan.json:
        print_json({"ready": True, "kafka": mesh.kafka, "redis": mesh.redis_url, "services": services})
        return
    rows = [(name, str(each.pid), each.health_url) for name, each in mesh.services.items()]
    print_table(("service", "pid", "health"), rows)
    print(
        f"ready. TIERMESH_KAFKA={mesh.kafka} TIERMESH_REDIS_URL={mesh.redis_url}; logs in {mesh.run_dir / 'logs'}"
    )
    if plan.embedded and plan.state_dir is None:
        print(
            "Broker and store are in memory: they forget everything at the end. Ctrl-C ends the mesh.", flush=True
        )
