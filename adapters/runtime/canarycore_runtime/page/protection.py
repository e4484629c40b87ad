"""The protection of the page against other pages and other people.

    a form      has a token that belongs to the visitor's cookie, and comes from the page's own origin
    a session   begins with a secret that the door has accepted; its id is new, so nobody can know it before
    a host      is one that no foreign name server can point here: a name of this machine or cluster, an address, or a
                name that the operator gave

Everything here is data in, data out; only ids come from the system's random numbers.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

V = TypeVar("V")

MOST_SESSIONS = 1000
"""Most sessions at once; a further one ends the one that was idle for longest."""

LONGEST_IDLE = 3600.0
"""Seconds without a request after which a session ends."""

_LOCAL = re.compile(
    r"localhost|\[[0-9a-fA-F:.]+\]|\d{1,3}(\.\d{1,3}){3}"
    r"|[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}\.svc(\.cluster\.local)?)?",
    re.IGNORECASE,
)


class Sessions(Generic[V]):
    """The viewers who have signed in. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._viewers: OrderedDict[str, tuple[V, float]] = OrderedDict()

    def begin(self, viewer: V) -> str:
        """Begin a session, and return its id."""
        while len(self._viewers) >= MOST_SESSIONS:
            self._viewers.popitem(last=False)
        session = make_visitor_id()
        self._viewers[session] = viewer, self._clock()
        return session

    def find(self, session: str) -> V | None:
        """Return the viewer of a session; None if it does not exist or has been idle for too long."""
        now = self._clock()
        viewer, used_at = self._viewers.pop(session, (None, now))
        if viewer is None or now - used_at > LONGEST_IDLE:
            return None
        self._viewers[session] = viewer, now
        return viewer

    def end(self, session: str) -> None:
        """End a session."""
        self._viewers.pop(session, None)


class FormTokens:
    """The tokens of forms: a keyed hash of the visitor's cookie, so that the server stores none."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, visitor: str) -> str:
        """Return the token of a visitor."""
        return hmac.digest(self._key, visitor.encode(), "sha256").hex()

    def matches(self, visitor: str, token: str) -> bool:
        """Return whether a token is the visitor's."""
        return bool(visitor) and hmac.compare_digest(self.make(visitor).encode(), token.encode(errors="replace"))


def make_visitor_id() -> str:
    """Return a new id that nobody can guess."""
    return secrets.token_urlsafe(32)


def is_same_origin(headers: Mapping[str, str], host: str) -> bool:
    """Return whether a form comes from a page of this host, as the browser says. Without its word it does not."""
    if headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        return False
    try:
        origin = urlsplit(headers.get("Origin", ""))
    except ValueError:
        return False
    return origin.scheme in {"http", "https"} and origin.netloc.lower() == host.lower()


def is_known_host(host: str, names: Collection[str] = ()) -> bool:
    """Return whether a Host header has a name of this machine or cluster, an address, or one of the names."""
    name = re.sub(r":\d{1,5}$", "", host).lower()
    return name in names or _LOCAL.fullmatch(name) is not None
