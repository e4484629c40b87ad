"""The options of the load tester."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import field, frozen
from attrs.validators import and_, ge, gt, le

DEFAULT_COMMANDS = (
    *("hey", "wrk", "ghz", "curl"),
    *("grep", "echo", "test", "[", "true", "false", "sleep"),
    "ngrinder",
)
"""The programs and delegates that tasks may use by default. None of them runs other programs, or reads or writes files:
the arguments of hey, wrk, ghz, curl and grep that would are refused (`allowed`)."""

EVERY_COMMAND = "*"
"""The entry that allows every shell text, every program and every delegate."""

PORT = 9090
"""The port of Flagger's load tester."""


@frozen(kw_only=True)
class LoadtesterOptions:
    """The options of the load tester. The defaults are safe on a shared machine."""

    state_file: Path
    """The file with the open gates. Its folder is created if it is missing."""
    listen: str = "127.0.0.1"
    """The address to listen on; empty for all addresses."""
    port: int = field(default=PORT, validator=and_(ge(0), le(65535)))
    """The port; 0 takes a free one."""
    timeout: float = field(default=3600.0, validator=and_(gt(0), le(24 * 3600)))
    """The seconds that a task may take. Flagger and canarycore wait for an hour at most."""
    namespaces: re.Pattern[str] | None = None
    """A pattern that some part of a Canary's namespace must match; None for all namespaces."""
    allowed_commands: tuple[str, ...] = DEFAULT_COMMANDS
    """The programs that tasks may run, beside the delegates `ngrinder` and `concord`; `*` allows all."""
    token_file: Path | None = None
    """A file with the token that requests must bear; None for no token. Each request reads it, so it may change."""
    api_key_folder: Path | None = None
    """The only folder with API keys that a task of type concord may name; None refuses such tasks."""
    concurrency: int = field(default=16, validator=and_(ge(1), le(1000)))
    """The number of tasks that run at once, of those that callers wait for and of the others each."""
    queue: int = field(default=64, validator=and_(ge(0), le(10_000)))
    """The number of tasks that wait for their turn, each. Further ones are refused."""
    output_limit: int = field(default=64 * 1024, validator=and_(ge(0), le(16 * 1024 * 1024)))
    """The bytes of a task's output that are kept."""

    def allows(self, command: str) -> bool:
        """Check whether tasks may use a program or delegate."""
        return command in self.allowed_commands or EVERY_COMMAND in self.allowed_commands
