"""The controller's log: a JSON object a line, and a line for each decision that changed something, with its reason."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from canarycore_runtime import Turn

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def set_up(level: str, encoding: str = "json") -> None:
    """Log to stderr, from `level` on; `encoding` is json, or console for people."""
    shape = structlog.dev.ConsoleRenderer() if encoding == "console" else structlog.processors.JSONRenderer()
    before: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=shape, foreign_pre_chain=before))
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


_NAME = "canarycore.controller"
_log = structlog.get_logger(_NAME)


def told(turn: Turn) -> None:
    """What a look at a rollout came to. Waiting is for those who debug; troubles are for everybody."""
    for trouble in turn.rest.troubles:
        _log.warning("trouble", canary=turn.key, error=str(trouble))
    decision = turn.rest.decision
    if decision is None or turn.seen is None:
        return
    status = decision.status
    level = logging.DEBUG if status is turn.seen.status else logging.INFO
    if not logging.getLogger(_NAME).isEnabledFor(level):  # most looks: their reasons need not be put into words
        return
    _log.log(
        level,
        "decision",
        canary=turn.key,
        rule=decision.because.rule.name,
        phase=status.phase.value,
        weight=status.rung.weight,
        iteration=status.rung.iteration,
        failed_checks=status.failed_checks,
        because=str(decision.because),
        effects=[type(effect).__name__ for effect in turn.rest.effects],
        late=round(turn.late, 3),
    )
