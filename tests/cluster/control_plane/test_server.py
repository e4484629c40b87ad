"""The claims about API servers hold for a real one."""

from __future__ import annotations

from tests.controlplane.contract import ServerContract


class TestServer(ServerContract):
    """With the fixtures of this folder."""
