"""Ordinary logs: one JSON object a line, on standard error, without personal data."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

PERSONAL = frozenset({"caller", "caller_number", "caller_name", "number", "name", "callerid", "environment"})
"""Keys that never reach a log line, should a programmer forget."""


def without_personal_data(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: values under personal keys are replaced."""
    for key in PERSONAL & event.keys():
        event[key] = "(kept out)"
    return event


class _Unfailing:
    """Standard error, but a disk that refuses a log line must not fail a call."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def get_logger() -> Any:
    """A logger of ours. Who asks first has the logs go to standard error: standard output is for answers."""
    import structlog  # noqa: PLC0415 - loads slowly, and most commands log nothing

    if not structlog.is_configured():
        configure_logging(cache=False)
    return structlog.get_logger()


def configure_logging(level: int = logging.INFO, *, cache: bool = True) -> None:
    """Set up structlog for a service: JSON lines; tracebacks without local variables.

    ``cache``: loggers are made once, which is faster, and are then as they are for good.
    """
    import structlog  # noqa: PLC0415 - only where something is logged

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            without_personal_data,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Unfailing())),
        cache_logger_on_first_use=cache,
    )
