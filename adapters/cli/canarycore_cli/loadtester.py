"""canary loadtester: serve tasks and gates until the process gets SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from canarycore.manifest import parse_duration
from canarycore.text import escape_controls
from canarycore_cli.console import LONGEST_RECORD, OK, BadInput, OneLineFormatter, split_names
from canarycore_cli.signals import cancel_on_signals
from canarycore_loadtester.options import DEFAULT_COMMANDS, LoadtesterOptions
from canarycore_loadtester.server import serve

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_LOOPBACK = ("127.", "::1", "localhost")
_log = logging.getLogger("canarycore.loadtester")


class JsonFormatter(logging.Formatter):
    """A log format of one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat()
        line = {
            "ts": time,
            "level": record.levelname.lower(),
            "msg": escape_controls(record.getMessage(), LONGEST_RECORD),
        }
        if record.exc_info:
            line["exception"] = escape_controls(self.formatException(record.exc_info), LONGEST_RECORD)
        return json.dumps(line)


def run(options: LoadtesterOptions, *, log_level: str, log_encoding: str) -> int:
    """Serve until a signal ends it. Returns the exit code."""
    _set_up_logs(log_level, log_encoding)
    with suppress(asyncio.CancelledError):
        asyncio.run(_serve_until_signal(options))
    return OK


async def _serve_until_signal(options: LoadtesterOptions) -> None:
    with cancel_on_signals(signal.SIGTERM, signal.SIGINT):
        async with serve(options) as port:
            _log.info("listening on %s:%d", options.listen or "all addresses", port)
            if options.token_file is None and not options.listen.startswith(_LOOPBACK):
                _log.warning("everybody who reaches this address may run tasks and open gates: see --token-file")
            await asyncio.Event().wait()


def _set_up_logs(level: str, encoding: str) -> None:
    if level not in LEVELS:
        raise BadInput(f"--log-level: found {level}, expected one of {', '.join(LEVELS)}")
    handler = logging.StreamHandler()
    is_console = encoding == "console"
    handler.setFormatter(OneLineFormatter("%(asctime)s %(levelname)s %(message)s") if is_console else JsonFormatter())
    logging.basicConfig(level=LEVELS[level], handlers=[handler], force=True)


def parse_timeout(text: str) -> float:
    """Parse the value of --timeout. Raise BadInput."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadInput(f"--timeout: {error}") from None


def parse_commands(text: str) -> tuple[str, ...]:
    """Parse the value of --allowed-commands."""
    if text.startswith("+"):
        return *DEFAULT_COMMANDS, *split_names(text[1:])
    return split_names(text) or DEFAULT_COMMANDS


def parse_namespaces(text: str) -> re.Pattern[str] | None:
    """Parse the value of --namespace-regexp. Raise BadInput."""
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise BadInput(f"--namespace-regexp: {error}") from None


def default_state_file() -> Path:
    """Return the file of the gates in the user's folder for state."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state else Path.home() / ".local" / "state") / "canarycore" / "gates.json"
