"""The controller's log: one JSON object per line, and one line per decision that changes a status, with its reason.

Each event of a rollout has a line with its text. Halts and rollbacks are warnings. A lasting trouble has one warning.
With Flagger's keys, a query or an alert on Flagger's log works on this one.

The log contains names, errors and answers from outside. So the last processor escapes and shortens every text: no text
can control a terminal or imitate a line of its own.
"""

from __future__ import annotations

import logging
import os
import pathlib
import sys
from types import NoneType
from typing import TYPE_CHECKING

import structlog

from canarycore.errors import WorldError
from canarycore.notices import Channel
from canarycore.text import escape_controls
from canarycore_runtime import AdapterFault
from canarycore_runtime.reporting import ROLLOUT_LOGGER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from canarycore.notices import Notice
    from canarycore_runtime import CycleReport

LONGEST_VALUE = 4096
"""Most characters of a text in a log line, and of a line of a traceback."""

MOST_ITEMS = 50
"""Most items of a list in a log line."""

MOST_LINES = 200
"""Most lines of a traceback; the log keeps the last ones, which name the error."""

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
"""Levels by name; `warn` is Flagger's name."""

FORMATS = ("canarycore", "flagger")
"""Names of the keys of a line."""


def set_up(level: str, encoding: str = "json", keys: str = "canarycore") -> None:
    """Configure logging to stderr from `level` on.

    `encoding` is json, or console for people: it has colours on a terminal only, and none if NO_COLOR is set. `keys` is
    flagger for the keys of Flagger's log.
    """
    before: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
    ]
    last: list[structlog.types.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, escape]
    if keys == "flagger":
        parameters = structlog.processors.CallsiteParameter
        callsite = structlog.processors.CallsiteParameterAdder([parameters.PATHNAME, parameters.LINENO])
        before.append(callsite)
        last.append(rename_keys)
    last.append(_console() if encoding == "console" else structlog.processors.JSONRenderer())
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_is_news)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=last, foreign_pre_chain=before))
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


def _console() -> structlog.dev.ConsoleRenderer:
    has_colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    return structlog.dev.ConsoleRenderer(colors=has_colours, event_key="event")


def rename_keys(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Return a line under Flagger's keys, with its names of levels and Canaries, and its format of times."""
    canary, place = str(event.pop("canary", "")), pathlib.PurePath(str(event.pop("pathname", "")))
    namespace, _, name = canary.rpartition("/")
    trace = event.pop("exception", None) or event.pop("stack", None)
    level = event.pop("level", "info")
    return {
        "level": {"warning": "warn", "critical": "fatal"}.get(level, level),
        "ts": f"{event.pop('ts', '')[: len('2026-01-31T12:00:00.000')]}Z",
        "logger": event.pop("logger", ""),
        "caller": f"{'/'.join(place.parts[-2:])}:{event.pop('lineno', 0)}",
        "msg": event.pop("event", ""),
        **({"canary": f"{name}.{namespace}" if namespace else name} if canary else {}),
        **event,
        **({"stacktrace": trace} if trace else {}),
    }


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

REMEMBERED_ROLLOUTS = 10_000
"""Rollouts whose last lines are remembered; the log repeats a trouble or a text that was forgotten."""

_NAME = "canarycore.controller"
_log = structlog.get_logger(_NAME)


def log_start(
    *, version: str, provider: str, api_server: str, mesh_api_server: str, metrics_server: str, namespace: str
) -> None:
    """Log the beginning of a controller: its version, its settings, and the servers that it is about to use."""
    _log.info(
        "starting",
        version=version,
        provider=provider,
        api_server=api_server,
        **({"mesh_api_server": mesh_api_server} if mesh_api_server else {}),
        metrics_server=metrics_server,
        namespace=namespace or "all",
    )


def log_connection(*, api_server: str, metrics_server: str, trouble: str, canaries: int, kinds: Iterable[str]) -> None:
    """Log the servers reached and the resources watched. `trouble` is why the metrics server is out of reach."""
    _log.info("connected", api_server=api_server, canaries=canaries, watching=sorted(kinds))
    if trouble:
        _log.warning("the metrics server is out of reach", metrics_server=metrics_server, error=trouble)
    else:
        _log.info("connected", metrics_server=metrics_server)


class _Last:
    """The last values by rollout, of at most REMEMBERED_ROLLOUTS rollouts."""

    def __init__(self) -> None:
        self._texts: dict[str, frozenset[str]] = {}

    def replace(self, key: str, texts: frozenset[str]) -> frozenset[str]:
        """Remember the texts of a rollout, and return the ones before."""
        before = self._texts.pop(key, frozenset())
        if texts:
            self._texts[key] = texts
            if len(self._texts) > REMEMBERED_ROLLOUTS:
                del self._texts[next(iter(self._texts))]
        return before

    def get(self, key: str) -> frozenset[str]:
        """Return the texts of a rollout."""
        return self._texts.get(key, frozenset())


class CycleLog:
    """The log of cycles. Give `write` to the runner as `on_cycle`."""

    def __init__(self) -> None:
        self._troubles = _Last()
        self._events = _Last()

    def write(self, report: CycleReport) -> None:
        """Log a cycle: its troubles, its events, and its decision.

        Troubles, halts and rollbacks are warnings. A decision without a change, and a repeated text, are at debug.
        """
        self._write_troubles(report)
        decision = report.result.decision
        if decision is None or report.observed is None:
            return
        status = decision.status
        is_change = status is not report.observed.status
        events = [notice for notice in decision.notices if notice.channel is Channel.EVENT]
        is_warning = any(notice.type == "Warning" for notice in events)
        self._write_events(report.key, events, is_change=is_change)
        level = (logging.WARNING if is_warning else logging.INFO) if is_change else logging.DEBUG
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

    def _write_events(self, key: str, events: list[Notice], *, is_change: bool) -> None:
        """Log the text of each event. A decision without a change repeats its events: the log does so at debug."""
        if is_change:
            self._events.replace(key, frozenset())
        if not events:
            return
        texts = {notice.text: logging.WARNING if notice.type == "Warning" else logging.INFO for notice in events}
        logged = self._events.get(key)
        for text, level in texts.items():
            _log.log(logging.DEBUG if text in logged else level, text, canary=key)
        if not is_change:
            self._events.replace(key, frozenset(texts))

    def _write_troubles(self, report: CycleReport) -> None:
        """Log each new trouble as a warning, a lasting one at debug, and the end of the last one."""
        texts = frozenset(str(trouble) for trouble in report.result.errors)
        before = self._troubles.replace(report.key, texts)
        for text in sorted(texts):
            _log.log(logging.DEBUG if text in before else logging.WARNING, "trouble", canary=report.key, error=text)
        if before and not texts:
            _log.info("the trouble is over", canary=report.key)
