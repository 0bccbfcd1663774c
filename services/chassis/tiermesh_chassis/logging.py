"""Structured logs: one JSON object a line, from structlog and from libraries that use the standard logging."""

import logging
import sys
import traceback

import structlog
from opentelemetry import trace

FRAMES_MAX = 8


def _add_trace(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
    return event


def without_text(error: BaseException) -> dict[str, object]:
    """An error for the log: its type and where it came from. Its message may quote a request, so it is left out."""
    return {"error": type(error).__name__, "frames": traceback.format_tb(error.__traceback__)[-FRAMES_MAX:]}


def configure_logging(service: str, level: str = "INFO") -> None:
    """Call once, at the start of a process. Logs go to stderr; stdout belongs to commands."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    structlog.contextvars.bind_contextvars(service=service)
    for chatty in ("aiokafka", "faststream", "uvicorn.access", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
