"""The simulated frontier over HTTP: chat completions, its bill, its inbox, its faults."""

import asyncio
import contextlib
import ipaddress
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from tiermesh_cli.frontier_sim.calls import Frontier, on_chat
from tiermesh_cli.frontier_sim.faults import FaultsInvalid
from tiermesh_cli.frontier_sim.replies import ApiError
from tiermesh_cli.frontier_sim.settings import SimSettings

SHUTDOWN_TIMEOUT_S = 2.0
FRONTIER = web.AppKey("frontier", Frontier)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(settings: SimSettings) -> web.Application:
    """Raises `AnswerKeyInvalid` where the answer key cannot be read."""
    app = web.Application(middlewares=[errors_as_json], client_max_size=settings.body_bytes_max)
    app[FRONTIER] = Frontier(settings)
    app.on_response_prepare.append(say_simulated)
    app.on_shutdown.append(end_pauses)
    app.router.add_post("/v1/chat/completions", chat_completions)
    app.router.add_get("/v1/models", models)
    app.router.add_get("/bill", bill)
    app.router.add_get("/inbox", inbox)
    app.router.add_get("/faults", faults)
    app.router.add_post("/faults", change_faults)
    app.router.add_get("/health", health)
    return app


async def chat_completions(request: web.Request) -> web.StreamResponse:
    return await on_chat(request.app[FRONTIER], request)


async def models(request: web.Request) -> web.Response:
    names = request.app[FRONTIER].settings.prices
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "tiermesh-simulated"} for name in names]
    return web.json_response({"object": "list", "data": data})


async def bill(request: web.Request) -> web.Response:
    """The whole bill; `?after=N` leaves out the first N lines, never the total."""
    after = request.query.get("after", "0")
    if not after.isdecimal():
        raise ApiError(400, f"after={after!r} is not a line number")
    return web.json_response(request.app[FRONTIER].bill.statement(int(after)))


async def inbox(request: web.Request) -> web.Response:
    """The texts of the messages that arrived, billed or refused; `x-dropped` counts those without room."""
    kept = request.app[FRONTIER].inbox
    return web.json_response(kept.texts, headers={"x-dropped": str(kept.dropped)})


async def faults(request: web.Request) -> web.Response:
    return web.json_response(request.app[FRONTIER].faults.state())


async def change_faults(request: web.Request) -> web.Response:
    """See `FaultPlan.change`; from loopback only."""
    if request.remote is None or not ipaddress.ip_address(request.remote).is_loopback:
        raise ApiError(403, "faults are set from loopback only", "permission_error", "forbidden")
    plan = request.app[FRONTIER].faults
    try:
        plan.change(json.loads(await request.read()))
    except FaultsInvalid as error:
        raise ApiError(400, str(error)) from None
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is not JSON", code="invalid_json") from None
    return web.json_response(plan.state())


async def health(request: web.Request) -> web.Response:
    frontier = request.app[FRONTIER]
    return web.json_response({"ok": True, "simulated": True, "calls_in_progress": frontier.in_progress})


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return error.response()
    except web.HTTPException as error:
        return ApiError(error.status, error.reason, code=f"http_{error.status}").response()


async def say_simulated(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["x-simulated"] = "true"


async def end_pauses(app: web.Application) -> None:
    app[FRONTIER].closing.set()


@contextlib.asynccontextmanager
async def serving(settings: SimSettings) -> AsyncIterator[str]:
    """Serve inside the running loop; yields `http://HOST:PORT`. Raises `OSError` where the port is taken."""
    runner = web.AppRunner(create_app(settings), access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        yield f"http://{settings.host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def run(settings: SimSettings) -> None:
    """Serve until SIGTERM or SIGINT; one JSON line on stdout says where, once it answers."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(settings) as url:
        ready = {"ready": True, "simulated": True, "base_url": f"{url}/v1", "bill": f"{url}/bill"}
        print(json.dumps(ready), flush=True)
        await stop.wait()
