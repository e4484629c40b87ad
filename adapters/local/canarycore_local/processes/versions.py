"""The versions to roll out on this machine: a command, or the built-in service with faults."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys

from attrs import frozen

from canarycore_local.processes.faults import Faults

_PORT = re.compile(r"\$(PORT\b|\{PORT\})")


@frozen(kw_only=True)
class Version:
    """A version of the service to roll out."""

    label: str
    """The name for people."""

    command: str = ""
    """The command line, run without a shell; empty for the built-in service.

    `$PORT` and `${PORT}` are the port to listen on, which is in the environment too.
    """

    faults: Faults = Faults()
    """The faults of the built-in service."""

    @property
    def revision(self) -> str:
        """A short hash of the label, the command and the faults."""
        text = json.dumps([self.label, self.command, str(self.faults)])
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def argv(self, port: int | str) -> tuple[str, ...]:
        """Return the arguments of a process that serves at `port` on 127.0.0.1."""
        if not self.command:
            service = (sys.executable, "-m", "canarycore_local.processes.service", "--version", self.label)
            return (*service, "--faults", str(self.faults))
        return tuple(_PORT.sub(str(port), argument) for argument in shlex.split(self.command))
