"""One HTTP request for one bounded answer. All adapters send their requests with `exchange`.

    async with open_session() as session:
        answer = await exchange(session, "GET", url, limit=METRIC_ANSWER_LIMIT, timeout=5.0)

The server may be hostile, so the exchange is bounded in each direction:

    memory       it keeps at most `limit` bytes after decompression, and inflates hardly more than that
    time         `timeout` covers the connection, the headers and the body, even if the body drips for ever
    redirects    it follows a few, to the same origin only; no header of a request reaches another origin
    ambient      it reads no netrc and keeps no cookies: a request has the headers of its caller and no others
    sharing      sessions share no connections and no thread, so a server that hangs affects its own session only

Each failure is an `ExchangeError`; apart from a cancellation, `exchange` raises nothing else:

    ExchangeError
    ├── ExchangeTimeout      no complete answer within the time limit
    ├── FailedConnection     the server or the proxy is unreachable, or closes the connection
    ├── MalformedAnswer      the answer is not valid HTTP, or its encoding is broken or unknown
    ├── RefusedRedirect      the server redirects to another origin, or redirects too often
    ├── InvalidRequest       the address or a header is not valid
    └── ForbiddenHost        the operator's list of allowed hosts lacks the host

The messages name hosts, but no path, no query and no header: an address may be a secret.
"""

from __future__ import annotations

import asyncio
import base64
import re
import zlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

from attrs import field, frozen

from canarycore.errors import WorldError
from canarycore.text import escape_controls
from canarycore_runtime.threads import NameLookup, Threads

try:
    import aiohttp
    from yarl import URL
except ImportError as _missing:
    raise ImportError(f"{_missing}: pip install canarycore-runtime[http]") from _missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

METRIC_ANSWER_LIMIT = 1024 * 1024
"""The longest answer of a metric provider, in bytes after decompression."""

SHORT_ANSWER_LIMIT = 64 * 1024
"""The longest answer of a hook or a chat, in bytes after decompression."""

REDIRECT_LIMIT = 5
"""The most redirects that one exchange follows."""

EXCERPT_LIMIT = 200
"""The most characters of an answer that a message repeats."""

SHORTEST_SECRET = 4
"""The least characters of a secret that `redact` replaces: a shorter text also occurs in ordinary words."""

ENCODINGS = "gzip, deflate"
"""The content encodings that a request accepts and `exchange` decodes."""

_REDACTION = "…"
_LONG_PART = 16  # characters: a longer part of a path is hardly a word
_CHUNK = 16 * 1024
_HOST_LIMIT = 100
_HOST = re.compile(r"[a-z0-9._:-]+")
_ACCEPT_ENCODING = ("Accept-Encoding", ENCODINGS)
_GZIP = 0x1F  # the first byte of each member
_EITHER_FORMAT = 32  # for zlib: detect gzip or deflate
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEPING_METHOD = frozenset({307, 308})
_TEXTUAL = ("application/json", "application/problem+json", "application/csv", "application/x-ndjson")
_CHARSETS = {
    "iso-8859-1": "latin-1",
    "latin-1": "latin-1",
    "latin1": "latin-1",
    "windows-1252": "cp1252",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
}
"""The supported charsets beside UTF-8, which replaces all others. A server must not choose among all codecs: some of
Python's take quadratic time, and Python caches each unknown name."""


class ExchangeError(WorldError):
    """A request got no usable answer. The message gives the reason and is safe to show."""


class ExchangeTimeout(ExchangeError):
    """The answer was not complete within the time limit."""


class FailedConnection(ExchangeError):
    """The server or the proxy is unreachable, or it closed the connection."""


class MalformedAnswer(ExchangeError):
    """The answer is not valid HTTP, or its encoding is broken or unknown."""


class RefusedRedirect(ExchangeError):
    """The server redirects to another origin, too often, or in a way that loses the request's body."""


class InvalidRequest(ExchangeError):
    """The address or a header is not valid, so another attempt fails in the same way."""


class ForbiddenHost(ExchangeError):
    """The operator's list of allowed hosts lacks the host."""


@frozen(kw_only=True)
class HttpAnswer:
    """The answer to one request."""

    status: int
    """The HTTP status of the last answer, after redirects."""

    text: str = field(default="", repr=False)
    """The decoded body, with U+FFFD for bytes that do not fit the charset."""

    is_textual: bool = False
    """Whether the content type is text or JSON, so that a message may repeat a part of it."""

    is_truncated: bool = False
    """Whether the body was longer than the limit, so that `text` is only its beginning."""


def open_session(**session_arguments: Any) -> aiohttp.ClientSession:
    """Open a session for `exchange`, which adds no credentials from a netrc or from cookies.

    Without a `connector` it gets a new one by `open_connector`.
    """
    settings = {"trust_env": False, "cookie_jar": aiohttp.DummyCookieJar(), "auto_decompress": False}
    connector = session_arguments.pop("connector", None) or open_connector()
    return aiohttp.ClientSession(connector=connector, **{**session_arguments, **settings})


def open_connector(threads: Threads | None = None, **connector_arguments: Any) -> aiohttp.TCPConnector:
    """Open a connector without a limit of connections, which looks up names in `threads`, by default in new ones.

    The caller bounds the number of simultaneous requests: a wait inside a request would use up the server's time.
    """
    lookup = cast("asyncio.AbstractEventLoop", NameLookup(threads or Threads()))  # the two methods in use
    return aiohttp.TCPConnector(limit=0, resolver=aiohttp.ThreadedResolver(lookup), **connector_arguments)


async def exchange(
    session: aiohttp.ClientSession,
    method: str,
    url: URL | str,
    *,
    limit: int,
    timeout: float,  # noqa: ASYNC109 - it covers the body and the redirects too, and its error is of this family
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    **request_arguments: Any,
) -> HttpAnswer:
    """Send one request and read at most `limit` bytes of its answer within `timeout` seconds.

    `session` comes from `open_session`. `request_arguments` are those of aiohttp's `request`: `params`, `json`, `data`,
    `proxy`, `ssl`. Truncates an answer that exceeds the limit. Raises ExchangeError when there is no answer.
    """
    try:
        async with asyncio.timeout(timeout):
            arguments = {"headers": _with_encodings(headers), **request_arguments}
            return await _follow(session, method.upper(), URL(url), limit, arguments)
    except ExchangeError:
        raise
    except TimeoutError:
        raise ExchangeTimeout(f"no answer within {timeout:g} s") from None
    except Exception as error:  # noqa: BLE001 - a hostile answer may raise anything inside the HTTP library
        raise _exchange_error(error) from None  # the original message has the whole address


def environment_proxy(url: URL) -> URL | None:
    """Return the environment's proxy for `url`, or None. It has no credentials but those in its own address.

    Raises InvalidRequest when that address is not a valid URL.
    """
    address = getproxies().get(url.scheme)
    if not address or not url.host or proxy_bypass(url.host):
        return None
    try:
        proxy = URL(address if "://" in address else f"http://{address}")
    except ValueError:
        raise InvalidRequest(f"the environment's proxy for {url.scheme} is not a valid URL") from None
    return proxy if proxy.scheme in {"http", "https"} else None


def origin_of(address: str) -> str:
    """Return the scheme, host and port of an address as text; empty when it has none."""
    try:
        return str(URL(address).origin())
    except ValueError:
        return ""


def is_same_origin(first: URL, second: URL) -> bool:
    """Check whether two addresses have the same scheme, host and port."""
    return (first.scheme, first.raw_host, first.port) == (second.scheme, second.raw_host, second.port)


def describe_answer(answer: HttpAnswer, secrets: Iterable[str] = ()) -> str:
    """Return the status of an answer, and its first line if it is text or JSON, for a message."""
    status = f"status {answer.status} {_phrase(answer.status)}".strip()
    line = first_line(answer, secrets)
    return f"{status}: {line}" if line else status


def first_line(answer: HttpAnswer, secrets: Iterable[str] = ()) -> str:
    """Return the first line of an answer if it is text or JSON, else an empty text.

    This redacts `secrets` before it shortens the text, and escapes control characters.
    """
    text = answer.text.strip() if answer.is_textual else ""
    lines = redact(text, secrets, 2 * EXCERPT_LIMIT).splitlines()
    return escape_controls(lines[0], EXCERPT_LIMIT) if lines else ""


def redact(text: str, secrets: Iterable[str], limit: int) -> str:
    """Return the first `limit` characters of a text, with `…` in place of each secret that begins in them.

    This searches no more of the text: a Secret may have thousands of values, and an answer a million characters.
    """
    pieces, at = [], 0
    for begin, end in sorted(span for secret in {*secrets} for span in _spans(text, secret, limit)):
        if begin >= at:
            pieces += [text[at:begin], _REDACTION]
        at = max(at, end)
    return "".join([*pieces, text[at:limit]])


def _spans(text: str, secret: str, limit: int) -> Iterator[tuple[int, int]]:
    """Yield the beginning and end of each occurrence of a secret."""
    end = limit + len(secret) - 1
    begin = text.find(secret, 0, end) if secret else -1
    while begin >= 0:
        yield begin, begin + len(secret)
        begin = text.find(secret, begin + len(secret), end)


def extract_secrets(url: URL | None) -> tuple[str, ...]:
    """Return the parts of an address that messages must not repeat: all except the host, as the URL may be a secret."""
    if url is None:
        return ()
    user, password = url.user or "", url.password or ""
    authorization = base64.b64encode(f"{user}:{password}".encode()).decode() if user or password else ""
    paths = (url.raw_path_qs, url.raw_path, *(part for part in url.raw_parts if len(part) >= _LONG_PART))
    parts = (*paths, url.raw_query_string, *url.query.values(), user, password, authorization)
    texts = {text for part in parts for text in (part, unquote(part))}
    return tuple(text for text in texts if len(text.strip("/")) >= SHORTEST_SECRET)


# the hosts that an operator allows ------------------------------------------------------------------------------------


@frozen(kw_only=True)
class HostPattern:
    """One entry of a list of allowed hosts."""

    host: str
    """The host in lower case, or the domain behind `*.`."""

    has_wildcard: bool = False
    """Whether the entry matches the subdomains of `host`, at any depth, without `host` itself."""

    port: int | None = None
    """The only port, or None for every port."""

    def matches(self, host: str, port: int | None) -> bool:
        """Check whether the entry allows a host (in lower case, without a final dot) and a port."""
        is_host = host.endswith(f".{self.host}") if self.has_wildcard else host == self.host
        return is_host and self.port in {None, port}


@frozen(kw_only=True)
class AllowedHosts:
    """The servers that hooks, chats and metric providers may name. Without patterns they may name any."""

    patterns: tuple[HostPattern, ...] = ()
    """The entries of the list, in its order."""

    option: str = "--allowed-hosts"
    """The command-line option of the list, for messages."""

    @classmethod
    def parse(cls, text: str, option: str = "--allowed-hosts") -> Self:
        """Read hosts separated by commas: `prometheus.monitoring`, `*.example.com`, `hooks.shop:8080`, `[::1]:80`.

        Raises ValueError for an entry that is not a host.
        """
        entries = [entry.strip() for entry in text.split(",")]
        return cls(patterns=tuple(_pattern(entry, option) for entry in entries if entry), option=option)

    def check(self, url: URL | str) -> None:
        """Raise ForbiddenHost when the list lacks the host of `url`, and InvalidRequest when `url` has none."""
        if not self.patterns:
            return
        try:
            address = URL(url)
            host, port = (address.raw_host or "").rstrip(".").lower(), address.port
        except ValueError:
            host, port = "", None
        if not host:
            raise InvalidRequest("the address is not a valid URL: expected one such as https://example.com/path")
        if not any(pattern.matches(host, port) for pattern in self.patterns):
            raise ForbiddenHost(
                f"host {escape_controls(host, _HOST_LIMIT)}{f':{port}' if port else ''} is not allowed: "
                f"use a host of {self.option}, or ask the operator to add this one"
            )


def _pattern(entry: str, option: str) -> HostPattern:
    has_wildcard = entry.startswith("*.")
    expected = "expected a host, a wildcard such as *.example.com, or either with a port"
    try:
        url = URL(f"http://{entry.removeprefix('*.')}")
        host, port = (url.raw_host or "").rstrip(".").lower(), url.explicit_port
        is_alone = url.user is None and url.raw_path_qs == "/" and not url.fragment
        is_host = is_alone and bool(_HOST.fullmatch(host))
    except ValueError:
        is_host, host, port = False, "", None
    if not is_host:
        raise ValueError(f"{option}: found {escape_controls(entry, _HOST_LIMIT)!r}, {expected}")
    return HostPattern(host=host, has_wildcard=has_wildcard, port=port)


# one exchange ---------------------------------------------------------------------------------------------------------


async def _follow(
    session: aiohttp.ClientSession, method: str, url: URL, limit: int, arguments: dict[str, Any]
) -> HttpAnswer:
    """Send the request, and follow redirects to the same origin."""
    for _ in range(REDIRECT_LIMIT + 1):
        async with session.request(
            method,
            url,
            allow_redirects=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            **arguments,
        ) as response:
            location = response.headers.get("Location", "") if response.status in _REDIRECTS else ""
            if not location:
                return await _receive(response, limit)
            url = _next(method, response, location)
        arguments = {**arguments, "params": None}  # the new address has its own query
    raise RefusedRedirect(f"the server redirects more than {REDIRECT_LIMIT} times: configure the final address")


def _next(method: str, response: aiohttp.ClientResponse, location: str) -> URL:
    """Return the target of a redirect. Raises RefusedRedirect unless the same request can go there."""
    try:
        target = response.url.join(URL(location)).with_user(None).with_fragment(None)
        origin = target.origin()
    except ValueError:
        raise RefusedRedirect("the server redirects to an invalid address: configure the final address") from None
    if not is_same_origin(target, response.url):
        raise RefusedRedirect(
            f"the server redirects to another origin, {escape_controls(str(origin), _HOST_LIMIT)}: "
            "credentials do not follow, so configure the final address"
        )
    if method not in {"GET", "HEAD"} and response.status not in _KEEPING_METHOD:
        raise RefusedRedirect(
            f"the server redirects a {method} with status {response.status}, which loses its body: "
            "configure the final address"
        )
    return target


async def _receive(response: aiohttp.ClientResponse, limit: int) -> HttpAnswer:
    body, is_truncated = await _read(response, limit)
    content_type = response.headers.get("Content-Type", "").lower()
    kind, _, parameters = content_type.partition(";")
    return HttpAnswer(
        status=response.status,
        text=body.decode(_charset(parameters), errors="replace"),
        is_textual=_is_textual(kind.strip()),
        is_truncated=is_truncated,
    )


async def _read(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """Return the body and whether it was longer than the limit; close the connection then."""
    decoder = _decoder(response.headers.get("Content-Encoding", ""))
    body, size = bytearray(), 0
    async for chunk in response.content.iter_chunked(_CHUNK):
        size += len(chunk)  # a compressed body may go on for ever without content
        body += decoder.decode(chunk, limit + 1 - len(body))
        if len(body) > limit or size > limit + _CHUNK:
            response.close()
            return bytes(body[:limit]), True
    if size:
        decoder.check_end()
    return bytes(body), False


class _Identity:
    """A decoder of a body without an encoding."""

    def decode(self, data: bytes, limit: int) -> bytes:
        return data[:limit]

    def check_end(self) -> None:
        """Accept any end."""


class _Inflater:
    """A decoder of gzip and deflate that inflates no more than the limit."""

    def __init__(self) -> None:
        self._stream: Any = None

    def decode(self, data: bytes, limit: int) -> bytes:
        """Return at most `limit` bytes, and drop the rest of `data`: the caller stops there."""
        output = bytearray()
        while data and len(output) < limit:
            stream = self._stream
            if stream is None or stream.eof:
                stream = self._stream = self._begin(data)
            output += stream.decompress(data, limit - len(output))
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
        return bytes(output)

    def check_end(self) -> None:
        """Raise MalformedAnswer when the body breaks off."""
        if self._stream is None or not self._stream.eof:
            raise MalformedAnswer("the compressed body breaks off")

    def _begin(self, data: bytes) -> Any:
        """Open a stream of the format that the first byte shows: some servers send deflate without its wrapper."""
        is_gzip = data[0] == _GZIP
        if self._stream is not None and not is_gzip:
            raise MalformedAnswer("the compressed body goes on after its end")
        is_wrapped = is_gzip or data[0] & 0x0F == zlib.DEFLATED
        return zlib.decompressobj(zlib.MAX_WBITS | _EITHER_FORMAT if is_wrapped else -zlib.MAX_WBITS)


def _decoder(encoding: str) -> _Identity | _Inflater:
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return _Identity()
    if name in {"gzip", "x-gzip", "deflate"}:
        return _Inflater()
    raise MalformedAnswer(
        f"the body is encoded as {escape_controls(encoding, 40)!r}: expected {ENCODINGS} or no encoding"
    )


def _with_encodings(headers: Mapping[str, str] | Iterable[tuple[str, str]] | None) -> list[tuple[str, str]]:
    """Return the headers, with the supported encodings in place of any others. Raises InvalidRequest."""
    pairs = [*(headers.items() if isinstance(headers, Mapping) else headers or ())]
    if any(char in part for pair in pairs for part in pair for char in "\r\n\0"):
        raise InvalidRequest("the request cannot be sent: a header has a line break or a null character")
    return [*((name, value) for name, value in pairs if name.lower() != "accept-encoding"), _ACCEPT_ENCODING]


def _charset(parameters: str) -> str:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "charset":
            return _CHARSETS.get(value.strip(" \"'"), "utf-8")
    return "utf-8"


def _is_textual(kind: str) -> bool:
    return kind.startswith("text/") or kind in _TEXTUAL or kind.endswith("+json")


def _phrase(status: int) -> str:
    """Return the phrase of a status in Flagger's words; empty for an unknown status."""
    try:
        return _PHRASES_OF_GO.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return ""


_PHRASES_OF_GO = {
    413: "Request Entity Too Large",
    414: "Request URI Too Long",
    416: "Requested Range Not Satisfiable",
    422: "Unprocessable Entity",
}
"""The phrases of Go that differ from Python's. Python renamed these four in 3.13; Flagger's messages have Go's."""


def _exchange_error(error: Exception) -> ExchangeError:
    """Return what an error of the HTTP library means, without the address that it names."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return FailedConnection(f"the proxy answered with status {error.status}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):  # one of the next kind too, but without its os_error
        return _failed_connection(error.host, error.port, error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _failed_connection(error.host, error.port, error.os_error)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return FailedConnection("the server hung up without an answer")
    if isinstance(error, OSError):
        return FailedConnection(f"the connection failed: {_reason(error)}")
    if isinstance(error, aiohttp.ClientPayloadError):
        return MalformedAnswer("the body breaks off or is wrongly encoded")
    if isinstance(error, aiohttp.ClientResponseError):
        return MalformedAnswer("the answer is not valid HTTP")
    if isinstance(error, zlib.error):
        return MalformedAnswer("the compressed body is broken")
    if isinstance(error, (ValueError, TypeError, aiohttp.NonHttpUrlClientError)):
        return InvalidRequest("the request cannot be sent: its address or one of its headers is not valid")
    return MalformedAnswer(f"the exchange failed with {type(error).__name__}")


def _failed_connection(host: str, port: int | None, error: Exception) -> FailedConnection:
    return FailedConnection(f"cannot connect to {escape_controls(str(host), _HOST_LIMIT)}:{port}: {_reason(error)}")


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return escape_controls(str(text), EXCERPT_LIMIT) or type(error).__name__
