"""Faults between a client and the API server, as data.

    with proxied(plane.api.access) as proxy:
        proxy.inject(Fault(Harm.ANSWER, status=409, methods=("PATCH",), path="/canaries/.*/status$", skip=2))
        Api(proxy.access) …
        assert proxy.harmed() == 1

A fault skips its first `skip` requests, harms the next `times`, and is over. At most one fault harms a request: the
first that matches. Before and after each write the proxy calls back, in its own thread, while the
client waits: the place to kill a controller. The client speaks plain HTTP with its own token; the proxy adds nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from typing import Any

import aiohttp
from aiohttp import web
from attrs import define, evolve, field, frozen

from canarycore_planes.background import in_background
from canarycore_planes.control_plane.api import Access

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_REVIEWS = re.compile(r"reviews$|/token$")  # questions in the shape of writes
_HOP = {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "upgrade", "te", "trailer"}
_REASONS = {404: "NotFound", 409: "Conflict", 410: "Expired", 429: "TooManyRequests", 503: "ServiceUnavailable"}


class Harm(StrEnum):
    """A kind of fault."""

    ANSWER = "answer"
    """The proxy answers with `status` (and Retry-After) and does not forward the request."""

    LOSE = "lose"
    """The proxy does not forward the request; after `seconds` it closes the connection without an answer."""

    LOSE_ANSWER = "lose answer"
    """The API server carries out the request; after `seconds` the proxy closes the connection without an answer."""

    CUT = "cut"
    """A watch ends in the middle, after `events` events."""

    EXPIRE = "expire"
    """A watch gets the event that its version is too old."""

    STALE = "stale"
    """The answer is the first list of the same path that passed the proxy."""


_ON_WATCHES = frozenset({Harm.CUT, Harm.EXPIRE})


@frozen
class Fault:
    """A harm and the requests that it affects. `path` is a regular expression for a part of the path and query."""

    harm: Harm
    path: str = ""
    methods: tuple[str, ...] = ()
    skip: int = 0
    times: int = 1
    status: int = 500
    retry_after: int | None = None
    seconds: float = 0
    events: int = 0


@frozen(kw_only=True)
class Passage:
    """A request that reached the proxy. `number` counts the writes from 1; it is 0 for a read."""

    method: str
    path: str
    query: str
    number: int
    body: bytes = b""
    harm: Harm | None = None
    status: int | None = None
    """The status of the API server; None if the proxy did not forward the request or has no answer yet."""

    version: int = 0
    """The resourceVersion of the object in the answer to a write."""


Callback = Callable[[Passage], None]


@define
class Proxy:
    """A running proxy. `log` has the requests in the order of their answers."""

    upstream: Access
    url: str = ""
    before_write: Callback | None = None
    after_write: Callback | None = None
    log: list[Passage] = field(factory=list, init=False)
    _faults: list[Fault] = field(factory=list, init=False)
    _writes: int = field(default=0, init=False)
    _first: dict[str, str | None] = field(factory=dict, init=False)

    @property
    def access(self) -> Access:
        """The access of the same user through the proxy."""
        return self.through(self.upstream)

    def through(self, access: Access) -> Access:
        """Return the access of another user through the proxy."""
        return evolve(access, server=self.url, authority="")

    def inject(self, *faults: Fault) -> None:
        """Replace the remaining faults by these."""
        self._faults = list(faults)

    @property
    def writes(self) -> int:
        """The number of writes so far."""
        return self._writes

    def harmed(self) -> int:
        """Return the number of requests that a fault harmed."""
        return sum(passage.harm is not None for passage in self.log)

    @property
    def pending(self) -> tuple[Fault, ...]:
        """The faults that have harmed fewer requests than planned."""
        return tuple(self._faults)

    # ----------------------------------------------------------------------------------------------- in its thread

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[None]:
        secure = ssl.create_default_context(cafile=self.upstream.authority) if self.upstream.authority else True
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=secure, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        ) as session:

            async def handle(request: web.BaseRequest) -> web.StreamResponse:
                return await self._handle(request, session)

            runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)  # 0 would be for ever
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            try:
                yield
            finally:
                await runner.cleanup()

    async def _handle(self, request: web.BaseRequest, session: aiohttp.ClientSession) -> web.StreamResponse:
        passage = await self._passage(request)
        fault = self._fault(request)
        if fault is not None:
            passage = evolve(passage, harm=fault.harm)
        if passage.number and self.before_write is not None:
            await asyncio.to_thread(self.before_write, passage)
        match fault:
            case Fault(harm=Harm.ANSWER):
                self.log.append(passage)
                return _refusal(fault)
            case Fault(harm=Harm.LOSE):
                self.log.append(passage)
                return await _hang_up(request, fault)
            case Fault(harm=Harm.EXPIRE):
                self.log.append(passage)
                return _expired()
        url = f"{self.upstream.server}{request.path_qs}"
        if fault is not None and fault.harm is Harm.STALE:
            url = _as_of(url, self._first.get(request.path))
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP}
        async with session.request(request.method, url, headers=headers, data=passage.body or None) as found:
            passage = evolve(passage, status=found.status)
            if _watches(request):
                self.log.append(passage)
                return await _stream(request, found, fault)
            content = await found.read()
            self._remember(request, content)
            if passage.number and found.status < 300:
                passage = evolve(passage, version=_version(content))
            if passage.number and self.after_write is not None:
                await asyncio.to_thread(self.after_write, passage)
            self.log.append(passage)
            if fault is not None and fault.harm is Harm.LOSE_ANSWER:
                return await _hang_up(request, fault)
            return web.Response(status=found.status, body=content, headers=_passed_on(found))

    async def _passage(self, request: web.BaseRequest) -> Passage:
        writes = request.method in WRITES and not _REVIEWS.search(request.path)
        self._writes += writes
        return Passage(
            method=request.method,
            path=request.path,
            query=request.query_string,
            number=self._writes if writes else 0,
            body=await request.read(),
        )

    def _fault(self, request: web.BaseRequest) -> Fault | None:
        """Return the fault that harms this request; count the request for each matching fault that skips it."""
        faults = []
        chosen = None
        for fault in self._faults:
            if chosen is not None or not _fits(fault, request):
                faults.append(fault)
            elif fault.skip:
                faults.append(evolve(fault, skip=fault.skip - 1))
            else:
                chosen = fault
                if fault.times > 1:
                    faults.append(evolve(fault, times=fault.times - 1))
        self._faults = faults
        return chosen

    def _remember(self, request: web.BaseRequest, content: bytes) -> None:
        if request.method == "GET" and request.path not in self._first and b'List","' in content[:100]:
            self._first[request.path] = json.loads(content).get("metadata", {}).get("resourceVersion")


@contextmanager
def proxied(upstream: Access) -> Iterator[Proxy]:
    """Run a proxy in a thread of its own."""
    proxy = Proxy(upstream)
    with in_background(proxy._serve):
        yield proxy


# ---------------------------------------------------------------------------------------------------------- helpers


def _fits(fault: Fault, request: web.BaseRequest) -> bool:
    return (
        (not fault.methods or request.method in fault.methods)
        and re.search(fault.path, request.path_qs) is not None
        and (fault.harm not in _ON_WATCHES or _watches(request))
        and (fault.harm is not Harm.STALE or (request.method == "GET" and not _watches(request)))
    )


def _watches(request: web.BaseRequest) -> bool:
    return request.query.get("watch", "").lower() in {"1", "true"}


def _version(content: bytes) -> int:
    return int(json.loads(content).get("metadata", {}).get("resourceVersion") or 0)


def _status(code: int) -> dict[str, Any]:
    reason = _REASONS.get(code, "InternalError")
    message = f"the fault proxy answers {code}"
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }


def _refusal(fault: Fault) -> web.Response:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return web.json_response(_status(fault.status), status=fault.status, headers=headers)


def _expired() -> web.Response:
    return web.json_response({"type": "ERROR", "object": _status(410)})


async def _hang_up(request: web.BaseRequest, fault: Fault) -> web.Response:
    await asyncio.sleep(fault.seconds)
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # the client has gone


def _as_of(url: str, version: str | None) -> str:
    if version is None:
        return url
    return f"{url}{'&' if '?' in url else '?'}resourceVersion={version}&resourceVersionMatch=Exact"


def _passed_on(found: aiohttp.ClientResponse) -> dict[str, str]:
    return {key: value for key, value in found.headers.items() if key.lower() not in _HOP}


async def _stream(request: web.BaseRequest, found: aiohttp.ClientResponse, fault: Fault | None) -> web.StreamResponse:
    """Forward event by event. `cut` breaks the connection in place of an end of the stream."""
    answer = web.StreamResponse(status=found.status, headers=_passed_on(found))
    await answer.prepare(request)
    left = fault.events if fault is not None and fault.harm is Harm.CUT else None
    with suppress(ConnectionResetError):  # the client has gone
        async for line in _lines(found):
            if left == 0:
                break
            left = None if left is None else left - 1
            await answer.write(line)
        if left is not None and request.transport is not None:
            request.transport.abort()
        else:
            await answer.write_eof()
    return answer


async def _lines(found: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in found.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
