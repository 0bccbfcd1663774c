"""`/health` (the process runs), `/ready` (it may be given work), `/metrics` (Prometheus text)."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from faststream.asgi import AsgiResponse, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], Awaitable[str | None]]
"""None where all is well, else one line that says what is missing."""


def health_routes(checks: dict[str, Check], advisory: dict[str, Check]) -> list[tuple[str, Any]]:
    @get
    async def health(_scope: Any) -> AsgiResponse:
        return _json({"status": "alive"}, 200)

    @get
    async def ready(_scope: Any) -> AsgiResponse:
        missing, noted = await _failing(checks), await _failing(advisory)
        body = {"ready": not missing, "missing": missing, "advisory": noted}
        return _json(body, 503 if missing else 200)

    @get
    async def metrics(_scope: Any) -> AsgiResponse:
        return AsgiResponse(generate_latest(), 200, {"content-type": CONTENT_TYPE_LATEST})

    return [("/health", health), ("/ready", ready), ("/metrics", metrics)]


async def _failing(checks: dict[str, Check]) -> dict[str, str]:
    return {name: why for name, check in checks.items() if (why := await check()) is not None}


def _json(body: dict[str, Any], status: int) -> AsgiResponse:
    return AsgiResponse(json.dumps(body).encode(), status, {"content-type": "application/json"})
