"""`tiermesh up`: the services as processes of their own, until Ctrl-C."""

import asyncio
import os
import shlex
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
    own_parts: bool
    """True where broker and store are started too."""
    local: bool
    """True where these are Apache Kafka and Redis."""
    config: Path | None
    models: Path
    only: tuple[str, ...]
    state_dir: Path | None
    simulated: bool
    json: bool


def up(
    embedded: Annotated[bool, Option("--embedded", help="Start a broker and a store too.")] = False,
    kafka: Annotated[str | None, Option(help="'local': start Apache Kafka and Redis too.")] = None,
    only: Annotated[str | None, Option(help="Services to start, separated by commas.")] = None,
    state_dir: Annotated[Path | None, Option(help="Keep the data of what is started here.")] = None,
    config: Annotated[Path | None, Option(help="mesh.toml; else TIERMESH_CONFIG, else ./mesh.toml.")] = None,
    models: Annotated[Path | None, Option(help="Folder of models; else TIERMESH_MODELS.")] = None,
    simulated_frontier: Annotated[
        bool | None,
        Option(help="With a broker of its own and no mesh.toml: a frontier that is simulated, or none."),
    ] = None,
    json: Annotated[bool, Option("--json", help="One JSON line once ready instead of a table.")] = False,
) -> None:
    """Run the services until Ctrl-C, on a broker and store started here or on those of TIERMESH_*."""
    own_parts = _starts_parts(embedded, kafka)
    if state_dir is not None and not own_parts:
        raise CommandFailed("--state-dir keeps what is started: use it with --embedded or --kafka local", USAGE)
    plan = Plan(
        run_dir=Path(".tiermesh") / f"run-{os.getpid()}",
        own_parts=own_parts,
        local=kafka is not None,
        config=_found_config(config, own_parts, simulated_frontier),
        models=models or Path(os.environ.get("TIERMESH_MODELS") or ".tiermesh/models"),
        only=_names(only),
        state_dir=state_dir,
        simulated=simulated_frontier is not False,
        json=json,
    )
    _check_providers(plan)
    _ensure_models(plan)
    raise Exit(asyncio.run(_until_signalled(plan)))


def _starts_parts(embedded: bool, kafka: str | None) -> bool:
    if kafka not in {None, "local"}:
        raise CommandFailed(f"--kafka {kafka}: name a broker by TIERMESH_KAFKA, or use --embedded", USAGE)
    if embedded and kafka:
        raise CommandFailed("--embedded and --kafka local are two brokers: choose one", USAGE)
    return embedded or kafka is not None


def _names(only: str | None) -> tuple[str, ...]:
    from tiermesh_cli.mesh import MeshInvalid, chosen_services

    try:
        return chosen_services(None if only is None else [name.strip() for name in only.split(",") if name.strip()])
    except MeshInvalid as error:
        raise CommandFailed(f"--only: {error}", USAGE) from error


def _found_config(given: Path | None, own_parts: bool, simulated: bool | None) -> Path | None:
    named = given or (Path(os.environ["TIERMESH_CONFIG"]) if os.environ.get("TIERMESH_CONFIG") else None)
    found = named or (Path("mesh.toml") if Path("mesh.toml").exists() else None)
    if found is None and not own_parts:
        raise CommandFailed("no configuration: give --config, set TIERMESH_CONFIG or write ./mesh.toml", USAGE)
    if found is not None and simulated is not None:
        raise CommandFailed(f"{found} names its own providers: leave out --[no-]simulated-frontier", USAGE)
    return found


def _check_providers(plan: Plan) -> None:
    """A ledger that the next start does not find is not enough for money of the real world."""
    from tiermesh_chassis.config import load_config

    if plan.config is None:
        return
    loaded = load_config(plan.config)
    if plan.own_parts and plan.state_dir is None:
        for provider in loaded.providers:
            if not provider.is_loopback:
                raise CommandFailed(
                    f"{plan.config}: provider {provider.name} at {provider.base_url} costs real money, and the "
                    "ledger would be forgotten at the end: give --state-dir, or use TIERMESH_KAFKA",
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
    if not plan.own_parts:
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
        if not plan.own_parts:
            await check_store(os.environ.get("TIERMESH_REDIS_URL"))
        mesh = await Mesh.start(
            config=config,
            models=plan.models,
            embedded=plan.own_parts,
            local=plan.local,
            kafka=os.environ.get("TIERMESH_KAFKA"),
            redis_url=os.environ.get("TIERMESH_REDIS_URL"),
            only=plan.only,
            run_dir=plan.run_dir,
            state_dir=plan.state_dir,
        )
        stack.push_async_callback(mesh.stop, GRACE_S)
        await mesh.ready()
        _announce(mesh, plan, config)
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


def _announce(mesh: "Mesh", plan: Plan, config: Path) -> None:
    from tiermesh_chassis.store import shown_url

    redis_url = shown_url(mesh.redis_url)
    services = {name: {"pid": each.pid, "health": each.health_url} for name, each in mesh.services.items()}
    if plan.json:
        print_json({"ready": True, "kafka": mesh.kafka, "redis": redis_url, "services": services})
        return
    rows = [(name, str(each.pid), each.health_url) for name, each in mesh.services.items()]
    print_table(("service", "pid", "health"), rows)
    print(f"ready; logs in {mesh.run_dir / 'logs'}. For `tiermesh` in another terminal:")
    print(f"export TIERMESH_KAFKA={shlex.quote(mesh.kafka)}")
    if redis_url == mesh.redis_url:  # else it has a password, and whoever set it knows it
        print(f"export TIERMESH_REDIS_URL={shlex.quote(redis_url)}")
    print(f"export TIERMESH_CONFIG={shlex.quote(str(config.absolute()))}", flush=True)
    if plan.own_parts and plan.state_dir is None:
        where = (
            f"keep their data in {mesh.run_dir / 'data'}, which no other run reads" if plan.local else "forget all"
        )
        print(f"Without --state-dir broker and store {where}. Ctrl-C ends the mesh.", flush=True)
