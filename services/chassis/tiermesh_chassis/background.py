"""Tasks beside the subscriptions."""

import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from tiermesh_chassis.logging import without_text

log = structlog.get_logger(__name__)


async def or_end(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a background task; its failure ends the process, which is restarted by whoever runs it."""
    try:
        await run()
    except Exception as error:
        log.critical("a background task broke, ending the process", **without_text(error))
        os.kill(os.getpid(), signal.SIGTERM)
