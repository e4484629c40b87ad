"""The controller's log: one JSON object per line, and one line per decision that changes a status, with its reason.

The log contains names, errors and answers from outside. So the last processor escapes and shortens every text: no text
can control a terminal or imitate a line of its own.
"""

from __future__ import annotations

import logging
import sys
import time
from types import NoneType
from typing import TYPE_CHECKING

import structlog

from canarycore.errors import WorldError
from canarycore.text import escape_controls
from canarycore_runtime import AdapterFault
from canarycore_runtime.reporting import ROLLOUT_LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore_runtime import CycleReport

LONGEST_VALUE = 4096
"""Most characters of a text in a log line, and of a line of a traceback."""

MOST_ITEMS = 50
"""Most items of a list in a log line."""

MOST_LINES = 200
"""Most lines of a traceback; the log keeps the last ones, which name the error."""

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def set_up(level: str, encoding: str = "json") -> None:
    """Configure logging to stderr from `level` on. `encoding` is json, or console for people."""
    shape = structlog.dev.ConsoleRenderer() if encoding == "console" else structlog.processors.JSONRenderer()
    before: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_is_news)
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[remove_meta, escape, shape], foreign_pre_chain=before)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    logging.getLogger("aiohttp").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _is_news(record: logging.LogRecord) -> bool:
    """Check whether `CycleLog` does not write this record too: it writes troubles of the cluster, without traceback."""
    error = record.exc_info[1] if record.exc_info else None
    is_trouble = isinstance(error, WorldError) and not isinstance(error, AdapterFault)
    return record.name != ROLLOUT_LOGGER or not is_trouble


def escape(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Escape and shorten all texts of a log line. Only a traceback keeps its lines, indented."""
    return {name: _trace(value) if name in _TRACES else _safe(value) for name, value in event.items()}


def _safe(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_safe(item) for item in value[:MOST_ITEMS]]
    return value if isinstance(value, (int, float, NoneType)) else escape_controls(str(value), LONGEST_VALUE)


def _trace(text: object) -> str:
    lines = str(text).splitlines()[-MOST_LINES:]
    return "\n".join(f"    {escape_controls(line, LONGEST_VALUE)}" for line in lines)


_TRACES = ("exception", "stack")

REMEMBERED_TROUBLES = 10_000
"""Rollouts whose last troubles are remembered; the log repeats a trouble that was forgotten."""

TROUBLE_INTERVAL = 600.0
"""Time between log lines of a lasting trouble, in seconds."""

_NAME = "canarycore.controller"
_log = structlog.get_logger(_NAME)


class CycleLog:
    """The log of cycles. Give `write` to the runner as `on_cycle`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._troubles: dict[str, tuple[frozenset[str], float]] = {}

    def write(self, report: CycleReport) -> None:
        """Log a cycle: troubles as warnings, decisions at info, and decisions without a change at debug."""
        self._write_troubles(report)
        decision = report.result.decision
        if decision is None or report.observed is None:
            return
        status = decision.status
        level = logging.DEBUG if status is report.observed.status else logging.INFO
        if not logging.getLogger(_NAME).isEnabledFor(level):  # skip rendering the explanation
            return
        _log.log(
            level,
            "decision",
            canary=report.key,
            rule=decision.explanation.rule.name,
            phase=status.phase.value,
            weight=status.rung.weight,
            iteration=status.rung.iteration,
            failed_checks=status.failed_checks,
            explanation=str(decision.explanation),
            effects=[type(effect).__name__ for effect in report.result.effects],
            late=round(report.lateness, 3),
        )

    def _write_troubles(self, report: CycleReport) -> None:
        """Log troubles once, and again after TROUBLE_INTERVAL while they last."""
        texts, now = frozenset(str(trouble) for trouble in report.result.errors), self._clock()
        if not texts:
            self._troubles.pop(report.key, None)
            return
        before, at = self._troubles.get(report.key, (frozenset(), now))
        if texts == before and now < at + TROUBLE_INTERVAL:
            return
        self._troubles[report.key] = texts, now
        if len(self._troubles) > REMEMBERED_TROUBLES:
            del self._troubles[next(iter(self._troubles))]
        for text in sorted(texts):
            _log.warning("trouble", canary=report.key, error=text)
