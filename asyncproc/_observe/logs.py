"""How a program that belongs to asyncproc logs: structlog's renderers behind the standard library's logger.

asyncproc itself logs to ``logging.getLogger("asyncproc")`` and configures nothing; only ``asyncproc.run`` and the command line
do, for as long as they run. structlog is imported with the first record: most programs never need it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def configured(style: str) -> Iterator[None]:
    """Log records of asyncproc are shown in *style* inside the block: "auto", "text", "json" or "off"."""
    logger = logging.getLogger("asyncproc")
    if style == "auto" and (logging.getLogger().handlers or logger.handlers):
        yield
        return
    handler: logging.Handler = logging.NullHandler() if style == "off" else Rendered(style == "json")
    output = logging.getLogger("asyncproc.output")  # what children write that were given stdout="log"
    level = output.level
    if level == logging.NOTSET:
        output.setLevel(logging.INFO)
    propagates = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
        output.setLevel(level)


class Rendered(logging.Handler):
    """Writes records to standard error, rendered by structlog."""

    def __init__(self, json: bool) -> None:
        super().__init__()
        self._json = json
        self._ready: logging.Formatter | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self._ready is None:
            self._ready = _formatter(self._json)
        try:
            print(self._ready.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


def _formatter(json: bool) -> logging.Formatter:
    import structlog

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        *([structlog.processors.format_exc_info] if json else []),
    ]
    renderer: Any
    if json:
        renderer = structlog.processors.JSONRenderer()
    else:
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    )
