"""The page on one's own machine: only this machine reaches it, and a key in its address signs its owner in.

async with serve_locally(source, viewer) as address:
    print(address)
"""

from __future__ import annotations

import hmac
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from canarycore_runtime.page.server import SignInRefused, serve_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from canarycore_runtime.page.server import PageSource, Viewer

LOOPBACK = "127.0.0.1"
"""The address that the page listens on."""


class KeyDoor:
    """A door with a key, known to the person who started the page."""

    prompt = "Key"
    help_text = "The command that serves this page has printed an address with the key."

    def __init__(self, key: str, viewer: Viewer) -> None:
        self._key, self._viewer = key, viewer

    async def admit(self, secret: str) -> Viewer:
        """Return the viewer if the key is right."""
        if not hmac.compare_digest(secret.encode(errors="replace"), self._key.encode()):
            raise SignInRefused("This is not the key.")
        return self._viewer


@asynccontextmanager
async def serve_locally(source: PageSource, viewer: Viewer, *, port: int = 0) -> AsyncIterator[str]:
    """Serve the page while the context is open, and yield the address that signs the viewer in.

    The key is in the fragment of the address, which a browser sends to no server. Port 0 takes a free one. Raise
    OSError.
    """
    key = secrets.token_urlsafe(24)
    async with serve_page(source, KeyDoor(key, viewer), host=LOOPBACK, port=port) as listening:
        yield f"http://{LOOPBACK}:{listening}/sign-in#key={key}"
