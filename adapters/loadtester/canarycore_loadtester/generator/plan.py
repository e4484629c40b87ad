"""A load: its target, its rate, its connections and its end."""

from __future__ import annotations

from enum import Enum
from typing import Any, Self
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen
from attrs.validators import and_, ge, gt, instance_of, le, max_len, optional

MOST_CONNECTIONS = 900
"""Most connections. The event loop with exact timers watches at most 1,024 files."""

MOST_REQUESTS = 1_000_000_000
HIGHEST_RATE = 100_000.0
LONGEST_DURATION = 24 * 3600.0
LARGEST_BODY = 1024 * 1024
MOST_HEADERS = 256
PORTS = {"http": 80, "https": 443}


class Protocol(Enum):
    """The protocol of the requests."""

    HTTP1 = "HTTP/1.1"
    HTTP2 = "HTTP/2"
    GRPC = "gRPC"


@frozen(kw_only=True)
class Target:
    """An address that receives requests."""

    scheme: str
    host: str
    port: int
    path: str = "/"
    """The path and the query."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse `http://host:port/path?query`. Raise ValueError with the mistake."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{url!r} is no URL: {error}") from None
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError(f"found {url!r}, expected a URL such as http://podinfo.test:9898/")
        path = parts.path or "/"
        target = f"{path}?{parts.query}" if parts.query else path
        if not target.isascii() or not target.isprintable() or " " in target:
            raise ValueError(f"{url!r} has characters that a URL must escape")
        return cls(scheme=parts.scheme, host=parts.hostname, port=port or PORTS[parts.scheme], path=target)

    @property
    def authority(self) -> str:
        """The host and, unless it is the scheme's own, the port, as a request names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def _valid_method(_: object, attribute: Attribute[str], value: str) -> None:
    if not (value.isascii() and value.isalpha()):
        raise ValueError(f"{attribute.name}: found {value!r}, expected a method such as GET")


def _valid_headers(_: object, __: Attribute[Any], value: tuple[tuple[str, str], ...]) -> None:
    for name, text in value:
        if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"found the header name {name!r}, expected letters, digits and -")
        if any(character in "\r\n\0" for character in text):
            raise ValueError(f"the header {name} has a line break")


@frozen(kw_only=True)
class LoadPlan:
    """A load. Raises ValueError for a value outside its bounds."""

    target: Target
    method: str = field(default="GET", validator=_valid_method)
    headers: tuple[tuple[str, str], ...] = field(default=(), validator=[max_len(MOST_HEADERS), _valid_headers])
    body: bytes = field(default=b"", validator=[instance_of(bytes), max_len(LARGEST_BODY)])
    protocol: Protocol = Protocol.HTTP1
    connections: int = field(default=50, validator=and_(ge(1), le(MOST_CONNECTIONS)))
    """The greatest number of requests in flight. HTTP/2 has one connection with as many streams."""
    rate: float | None = field(default=None, validator=optional(and_(gt(0.0), le(HIGHEST_RATE))))
    """Requests per second of the schedule; None: without a schedule, each answer is followed by the next request."""
    duration: float | None = field(default=None, validator=optional(and_(gt(0.0), le(LONGEST_DURATION))))
    """Seconds; None: until all `requests` are answered."""
    requests: int | None = field(default=None, validator=optional(and_(ge(1), le(MOST_REQUESTS))))
    """The number of requests; None: until the duration ends."""
    timeout: float = field(default=20.0, validator=and_(gt(0.0), le(LONGEST_DURATION)))
    """Seconds that a request may take after it was sent."""
    keep_alive: bool = True
    """Whether a connection carries several requests."""
    is_verified: bool = False
    """Whether to verify the certificate of an https server."""

    def __attrs_post_init__(self) -> None:
        if self.duration is None and self.requests is None:
            raise ValueError("a load needs a duration or a number of requests")

    @property
    def is_repeatable(self) -> bool:
        """Whether a request may be sent again after its connection was closed without an answer."""
        return self.method in {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"}
