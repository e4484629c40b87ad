"""What is rolled out on this machine: a version is a command, or the built-in service with faults."""

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
    """A version of the service under rollout.

    label: what people call it; traffic is counted under it. command: how it is started, as typed (no shell; `$PORT` and
    `${PORT}` stand for the port to listen on, which is also in the environment); empty for the built-in service.
    faults: of the built-in service.
    """

    label: str
    command: str = ""
    faults: Faults = Faults()

    @property
    def revision(self) -> str:
        """A short hash of all that the owner wrote."""
        written = json.dumps([self.label, self.command, str(self.faults)])
        return hashlib.sha256(written.encode()).hexdigest()[:10]

    def argv(self, port: int) -> tuple[str, ...]:
        """The command line that serves at `port` on 127.0.0.1."""
        if not self.command:
            service = (sys.executable, "-m", "canarycore_local.processes.service", "--version", self.label)
            return (*service, "--faults", str(self.faults))
        return tuple(_PORT.sub(str(port), word) for word in shlex.split(self.command))
