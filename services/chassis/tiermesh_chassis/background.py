"""Tasks beside the subscriptions."""

import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)


async def or_end(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a background task; its failure ends the process, which is restarted by whoever runs it."""
    try:
        await run()
    except Exception:
        log.exception("a background task broke, ending the process")
        os.kill(os.getpid(), signal.SIGTERM)
