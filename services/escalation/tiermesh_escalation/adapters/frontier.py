"""An OpenAI-compatible frontier over HTTP: one POST, no second try."""

import json
from types import SimpleNamespace
from typing import Final

import aiohttp

from tiermesh_escalation.model import Call, Ending, Seen

RESPONSE_BYTES_MAX: Final = 4 * 1024 * 1024
"""More than an answer that a record can carry, escapes and framing included."""

CONNECT_TIMEOUT_S: Final = 10.0

KEEPALIVE_S: Final = 4.0
"""Below what common servers keep (5 s and more): a POST on a connection that the server is closing would be a
call of unknown outcome."""


class _Progress(SimpleNamespace):
    """How far one call came."""

    connected: bool = False


class HttpFrontier:
    """`connections_max` calls at once; more wait, within their own time."""

    def __init__(self, connections_max: int) -> None:
        self._connections_max = connections_max
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, call: Call) -> Seen:
        progress = _Progress()
        try:
            return await self._post(call, progress)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            # ValueError: a URL or header that aiohttp refuses before it connects, or a response it cannot read
            return Seen(_ending(error, progress), detail=type(error).__name__)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(self, call: Call, progress: _Progress) -> Seen:
        # X-Client-Request-Id lets the provider's bill be matched with the reservation
        headers = {"Content-Type": "application/json", "X-Client-Request-Id": call.att}
        if call.api_key is not None:
            headers["Authorization"] = f"Bearer {call.api_key}"
        timeout = aiohttp.ClientTimeout(
            total=call.timeout_ms / 1000, sock_connect=min(CONNECT_TIMEOUT_S, call.timeout_ms / 1000)
        )
        async with self._open_session().post(
            call.url,
            data=call.body,
            headers=headers,
            timeout=timeout,
            # a redirect would send the text and the key to where nobody configured
            allow_redirects=False,
            trace_request_ctx=progress,
        ) as response:
            raw = await _read(response)
            if raw is None:
                response.close()
                return Seen(Ending.TOO_LARGE, response.status, detail=f"more than {RESPONSE_BYTES_MAX} bytes")
            return Seen(Ending.ANSWERED, response.status, _json(raw))

    def _open_session(self) -> aiohttp.ClientSession:
        """Opened at the first call: a session belongs to the running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections_max, keepalive_timeout=KEEPALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[_watch_connections()],
            )
        return self._session


def _watch_connections() -> aiohttp.TraceConfig:
    """Marks a call's progress before its first byte can leave: an error without the mark proves that none did."""

    async def connected(_session: object, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.connected = True

    watch = aiohttp.TraceConfig()
    watch.on_connection_create_end.append(connected)
    watch.on_connection_reuseconn.append(connected)
    return watch


def _ending(error: Exception, progress: _Progress) -> Ending:
    if not progress.connected:
        return Ending.NOT_CONNECTED
    return Ending.TIMED_OUT if isinstance(error, TimeoutError) else Ending.CUT


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """The body; None where it has more than `RESPONSE_BYTES_MAX` bytes."""
    raw = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        raw += chunk
        if len(raw) > RESPONSE_BYTES_MAX:
            return None
    return bytes(raw)


def _json(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
