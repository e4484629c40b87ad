"""The API server in memory, in a process of its own: what it costs is not counted as ours.

    with api_server() as server:
        server.api.create(…)
        connect(str(server.kubeconfig))

It is the one that the tests hold to the same claims as a real one (tests/controlplane/fake.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from tests.controlplane.api import Access, Api

if TYPE_CHECKING:
    from collections.abc import Iterator


@frozen(kw_only=True)
class Server:
    """A running server. `kubeconfig` is a file for clients."""

    api: Api
    kubeconfig: Path

    def counts(self) -> Counter[tuple[str, str]]:
        """How often which verb was asked of what since the start, as in ("patch", "canaries.flagger.app/status")."""
        return Counter({(verb, what): count for verb, what, count in self.api.request("GET", "/counts")["counts"]})


@contextmanager
def api_server() -> Iterator[Server]:
    """A server with nothing in it. It ends with its input, so also when its owner is killed."""
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-m", "tests.controlplane.fake"], stdin=pipe, stdout=pipe, text=True
        ) as process,
    ):
        assert process.stdout is not None
        access = Access(process.stdout.readline().strip(), "anybody")
        kubeconfig = Path(folder, "kubeconfig")
        kubeconfig.write_text(json.dumps(access.kubeconfig))
        yield Server(api=Api(access), kubeconfig=kubeconfig)
