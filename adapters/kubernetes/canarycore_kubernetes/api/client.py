"""The API server's REST interface, as raw JSON.

    async with connect(kubeconfig) as client:
        deployment = await client.get(DEPLOYMENT, "default", "podinfo")

Transport and authentication are kubernetes-asyncio's; its generated models are not used, as they cost most of the time
that a request takes. An object is the `dict` that came over the wire.

What is tried again here is what cannot do harm: reads that failed, and anything that the server threw out before it
looked at it (429, with its Retry-After; a connection that never came about). A write that may have been carried out is
not repeated here: whoever wanted it looks at the world again first.

Errors: each is a `WorldError`, in the server's own words. A conflict is a `Conflict`, what the server will never take
is a `Refused`.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from copy import copy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import stamina
from attrs import frozen
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient, Configuration

from canarycore.errors import Conflict, Refused, WorldError
from canarycore_kubernetes.api.budget import (
    LONGEST_ANSWER,
    Oversized,
    decode,
    mark_unreadable,
    read_beginning,
    read_within,
)
from canarycore_kubernetes.api.kinds import by_object

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from canarycore_runtime.mesh import Json, Kind

MANAGER = "canarycore"
"""Our name as a field manager."""

PAGE = 500
"""Objects in one page of a list."""

QUIET = 150.0
"""Seconds without a byte after which a watch is given up; a server that lives sends a bookmark each minute."""

UNBORN = "1"
"""A resourceVersion that no object has."""

TIMEOUT = 10.0
"""Seconds that one request may take."""

READ_AHEAD = 2**18
"""Bytes of an answer that are read before somebody wants them."""

LARGE_AT_ONCE = 4
"""Large answers that are read and decoded at once: everybody who may write an object can make it a large one."""

PAGE_BYTES = 2**22
"""Bytes of a page of a list, about: the pages of a kind with large objects have fewer of them."""

LONGEST_ERROR = 2**16
"""Bytes of an answer that says what is wrong."""

LONGEST_MESSAGE = 2048
"""Characters of what the server says is wrong; it repeats what it was sent."""

LONGEST_RETRY_AFTER = 600.0
"""Seconds of a wait that the server asks for."""

READ_ATTEMPTS = 4
RETRY_PATIENCE = 20.0
"""Attempts and seconds that a request may take with all its repeats."""

RENEWAL = 60.0
"""Seconds between looks for newer credentials."""

AGENT = "canarycore"
JSON = "application/json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"  # JSON is YAML
METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"


class ApiError(WorldError):
    """The server said no. `status` is HTTP's; `retry_after` (seconds) is when it wants to be asked again."""

    def __init__(self, message: str, *, status: int, retry_after: float | None = None) -> None:
        self.status: int = status
        self.retry_after: float | None = retry_after
        super().__init__(message)


class NotFound(ApiError):
    """There is no such object, or no such kind."""


class Gone(ApiError):
    """The server no longer knows what happened since this version: list again."""


class Outdated(ApiError, Conflict):
    """Somebody else wrote first."""


class AlreadyExists(Outdated):
    """There is an object of this name already. A create may also be Outdated for other reasons: by a quota, say."""


class Rejected(ApiError, Refused):
    """The server will not take this, however often it is sent: it is invalid, or not allowed."""


class Unreachable(WorldError):
    """There was no answer. `sent` tells whether the server may have seen the request."""

    def __init__(self, message: str, *, sent: bool) -> None:
        self.sent: bool = sent
        super().__init__(message)


_ERRORS: dict[int, type[ApiError]] = {
    400: Rejected,
    403: Rejected,
    404: NotFound,
    405: Rejected,
    409: Outdated,
    410: Gone,
    413: Rejected,
    415: Rejected,
    422: Rejected,
}


def _unfenced() -> None:
    """Everybody may write."""


@asynccontextmanager
async def connect(
    kubeconfig: str = "", *, context: str = "", server: str = "", limit: AbstractAsyncContextManager[None] | None = None
) -> AsyncGenerator[Client, None]:
    """A client, while the context is open.

    kubeconfig: a file, with its `context` (the current one if empty); without a file it is the service account of the
    pod that this runs in, or else the user's own kubeconfig. server: an address that is used instead of theirs.
    limit: entered before each request that is no watch, to bound how many there are a second.
    Raises Unreachable when there is nothing to connect with.
    """
    configuration = Configuration()
    try:
        await _authenticate(configuration, kubeconfig, context)
    except Exception as error:  # the loader fails in as many ways as a file may be wrong
        raise Unreachable(f"no way to reach a cluster: {error}. Give a kubeconfig.", sent=False) from error
    if server:
        configuration.host = server.rstrip("/")
    configuration.proxy = configuration.proxy or _proxy_of_environment(str(configuration.host))
    async with ApiClient(configuration) as api:
        _ask_no_environment(api)
        yield Client(api, limit=limit)


async def _authenticate(configuration: Configuration, kubeconfig: str, context: str) -> None:
    if not kubeconfig:
        with suppress(config.ConfigException):
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            return
    loader = await config.load_kube_config(kubeconfig or None, context or None, configuration)
    configuration.refresh_api_key_hook = _Renewal(loader)


def _proxy_of_environment(host: str) -> str | None:
    address = urlsplit(host)
    return None if proxy_bypass(address.netloc) else getproxies().get(address.scheme)


def _ask_no_environment(api: ApiClient) -> None:
    """The transport's session would look for proxies and passwords in the environment, in a thread, at each request."""
    rest = api.rest_client
    session = aiohttp.ClientSession(connector=rest.pool_manager.connector, read_bufsize=READ_AHEAD)
    rest.pool_manager.detach()
    rest.pool_manager = session


class _Renewal:
    """Asks the loader for credentials again once a minute: tokens of exec plugins, OIDC and files run out."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._due = time.monotonic() + RENEWAL

    async def __call__(self, configuration: Configuration) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + RENEWAL
            try:
                await self._loader.load_and_set(configuration)
            except Exception as error:
                raise Unreachable(f"credentials cannot be renewed: {error}", sent=False) from error


class Client:
    """Reads and writes objects. `connect` makes one.

    limit: entered before each request that is no watch. timeout: of one such request (seconds).
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        limit: AbstractAsyncContextManager[None] | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._api = api
        self._limit = limit or nullcontext()
        self._timeout = timeout
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._fence: Callable[[], None] = _unfenced

    def fenced(self, fence: Callable[[], None]) -> Client:
        """The same client, for somebody who may not always write.

        `fence` is asked right before each write is sent; it raises WorldError to keep it from happening.
        """
        other = copy(self)
        other._fence = fence  # noqa: SLF001 - it is one of us
        return other

    # reading ----------------------------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """The object, as it is at this moment; None if there is none."""
        try:
            return await self._read("GET", kind.path(namespace, name))
        except NotFound:
            return None

    async def list(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        selector: str = "",
        fields: str = "",
        limit: int = PAGE,
        metadata_only: bool = False,
    ) -> AsyncGenerator[Json, None]:
        """All objects of a kind, page by page: each page is a List with `items` and `metadata.resourceVersion`.

        selector and fields: a label and a field selector. metadata_only: the objects come without spec and status.
        limit: objects of a page; a page has fewer where the objects are large. An object that cannot be read is marked
        (see `budget`).
        Raises NotFound when the server has no such kind, Gone when it took too long to read all pages.
        """
        query, path, many = _selected(selector, fields), kind.path(namespace), limit
        accept = METADATA.format("List") if metadata_only else JSON
        while True:
            query["limit"] = str(many)
            try:
                answer = await self._tried(_READING, "GET", path, query=query, accept=accept)
            except Oversized as error:
                if many > 1:
                    many = max(1, many // 16)
                    continue
                answer = await self._only_identified(path, query, str(error))
            page = _list(path, answer.body)
            for item in page["items"]:  # in a List these go without saying
                item["apiVersion"], item["kind"] = kind.api_version, kind.kind
            yield page
            following = page["metadata"].get("continue")
            if not following:
                return
            query["continue"] = following
            many = max(1, min(limit, 2 * many, many * PAGE_BYTES // max(1, answer.size)))

    async def _only_identified(self, path: str, query: dict[str, str], why: str) -> _Answer:
        """A page whose object is too large to be read: marked, so that the others are not lost with it."""
        answer = await self._tried(_READING, "GET", path, query=query, accept=METADATA.format("List"))
        for item in _list(path, answer.body)["items"]:
            mark_unreadable(item, why)
        return answer

    @asynccontextmanager
    async def watch(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        version: str,
        selector: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> AsyncGenerator[AsyncIterator[tuple[str, Json]], None]:
        """What happens after `version`: (`ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`, the object), as it happens.

        The iterator ends when the server ends the watch, which is no error. Entering the context and iterating raise
        Gone when the server does not remember `version` or sends what is too long, and WorldError when the connection
        fails. An object that cannot be read is marked (see `budget`).
        """
        query = _selected(selector, fields) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
        }
        accept = METADATA.format("") if metadata_only else JSON
        patience = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=QUIET)
        what = f"watch of {kind.path(namespace)}"
        response = await self._send("GET", kind.path(namespace), query=query, accept=accept, within=patience)
        async with response:
            await _complain(what, response)
            yield _events(what, response)

    # writing ----------------------------------------------------------------------------------------------------

    async def create(self, body: Json) -> Json:
        """Make this object; returns it is now. Raises AlreadyExists if there is one of this name."""
        kind, namespace = by_object(body), body["metadata"].get("namespace", "")
        return await self._write("POST", kind.path(namespace), body=body, query={"fieldManager": MANAGER})

    async def apply(self, body: Json, *, subresource: str = "", force: bool = True) -> Json:
        """Make the fields of `body` so, and leave those of others alone (server-side apply).

        Fields that an earlier apply of ours named, and this one does not, are removed. With a
        `metadata.resourceVersion` it is done only while that is the version; otherwise Outdated is raised. Where there
        is no object it is made, whatever the version: so under UNBORN it is made, or Outdated is raised.
        """
        path = by_object(body).path(body["metadata"].get("namespace", ""), body["metadata"]["name"])
        query = {"fieldManager": MANAGER, "force": "true" if force else "false"}
        return await self._write("PATCH", _sub(path, subresource), body=body, query=query, content=APPLY)

    async def merge(
        self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], *, subresource: str = ""
    ) -> Json:
        """Change the fields that `patch` names; None removes one (JSON merge patch).

        With a `metadata.resourceVersion` it is done only while that is the version; otherwise Outdated is raised.
        """
        path = _sub(kind.path(namespace, name), subresource)
        return await self._write("PATCH", path, body=patch, query={"fieldManager": MANAGER}, content=MERGE)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", version: str = "") -> bool:
        """Delete the object (of that uid, if given); False when it was gone already.

        With a `version` it is done only while that is its resourceVersion; otherwise Outdated is raised.
        """
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        conditions = {name: value for name, value in (("uid", uid), ("resourceVersion", version)) if value}
        if conditions:
            body["preconditions"] = conditions
        try:
            await self._write("DELETE", kind.path(namespace, name), body=body)
        except NotFound:
            return False
        except Outdated:
            if version:
                raise
            return False
        return True

    # one request ------------------------------------------------------------------------------------------------

    async def _read(self, method: str, path: str, *, query: dict[str, str] | None = None, accept: str = JSON) -> Json:
        return (await self._tried(_READING, method, path, query=query, accept=accept)).body

    async def _write(self, method: str, path: str, **request: Any) -> Json:
        return (await self._tried(_WRITING, method, path, **request)).body

    async def _tried(self, retrying: stamina.BoundAsyncRetryingCaller, *place: str, **request: Any) -> _Answer:
        """Who tries again costs half as much as a request, and is told only of a first attempt that has failed."""
        try:
            return await self._exchange(*place, **request)
        except WorldError as error:
            failures = [error]

        async def attempt() -> _Answer:
            if failures:
                raise failures.pop()
            return await self._exchange(*place, **request)

        return await retrying(attempt)

    async def _exchange(self, method: str, path: str, **request: Any) -> _Answer:
        what = f"{method} {path}"
        within = aiohttp.ClientTimeout(total=self._timeout)
        async with self._limit:
            response = await self._send(method, path, within=within, **request)
            async with response:
                await _complain(what, response)
                with _reaching(what):
                    return await self._decoded(response)

    async def _decoded(self, response: aiohttp.ClientResponse) -> _Answer:
        """The answer's body. A few large ones are read at once: each takes three times its size while it is decoded."""
        async with AsyncExitStack() as stack:
            text = await read_within(response, LONGEST_ANSWER, lambda: stack.enter_async_context(self._large))
            return _Answer(await decode(text), len(text))

    async def _send(
        self,
        method: str,
        path: str,
        *,
        within: aiohttp.ClientTimeout,
        query: dict[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        accept: str = JSON,
        content: str = JSON,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": accept, "Content-Type": content, "User-Agent": AGENT}
        with _reaching(f"{method} {path}"):
            await self._api.update_params_for_auth(headers, [], ["BearerToken"])
            if method != "GET":
                self._fence()  # now, as the wait for its turn may have been long
            response: aiohttp.ClientResponse = await self._api.rest_client.request(
                method,
                f"{self._api.configuration.host}{path}",
                query_params=query,
                headers=headers,
                body=body,
                _preload_content=False,
                _request_timeout=within,
            )
        return response


@frozen
class _Answer:
    """An answer of the server, and its size in bytes."""

    body: Json
    size: int


def _selected(selector: str, fields: str) -> dict[str, str]:
    given = {"labelSelector": selector, "fieldSelector": fields}
    return {name: value for name, value in given.items() if value}


def _sub(path: str, subresource: str) -> str:
    return f"{path}/{subresource}" if subresource else path


def _list(path: str, page: Any) -> Json:
    """A page of a list. Raises Unreachable where the answer is none."""
    if not isinstance(page, dict) or not isinstance(page.get("metadata"), dict):
        raise Unreachable(f"GET {path}: the answer is no list", sent=True)
    page["items"] = [item for item in page.get("items") or () if isinstance(item, dict)]
    return page


async def _events(what: str, response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Json]]:
    with _reaching(what):
        async for line in _lines(what, response):
            event = await decode(line)
            if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
                raise Unreachable(f"{what}: an event without an object", sent=True)
            body = event["object"]
            if event.get("type") == "ERROR":
                raise _error(what, body, body.get("code", 500))
            yield str(event.get("type")), body


async def _lines(what: str, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The lines of an answer. Raises Gone for one that is too long: a list says more of its object."""
    begun, size = list[bytes](), 0
    async for part in response.content.iter_any():
        for number, piece in enumerate(part.split(b"\n")):
            if number:
                yield b"".join(begun)
                begun, size = [], 0
            begun.append(piece)
            size += len(piece)
            if size > LONGEST_ANSWER:
                raise Gone(f"{what}: an event has more than {LONGEST_ANSWER:,} bytes", status=410)
    if size:
        yield b"".join(begun)


# errors -------------------------------------------------------------------------------------------------------------


@contextmanager
def _reaching(what: str) -> Iterator[None]:
    """Whatever goes wrong on the way to the server and back is an Unreachable."""
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise Unreachable(f"{what}: the API server cannot be reached: {error}", sent=False) from error
    except TimeoutError as error:
        raise Unreachable(f"{what}: the API server did not answer in time", sent=True) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unreachable(f"{what}: no answer that can be read: {type(error).__name__}: {error}", sent=True) from error


async def _complain(what: str, response: aiohttp.ClientResponse) -> None:
    if response.status < 300:
        return
    with _reaching(what):
        text = await read_beginning(response, LONGEST_ERROR)
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = {"message": text.decode(errors="replace").strip()[:500]}
    after = response.headers.get("Retry-After", "")
    seconds = min(float(after), LONGEST_RETRY_AFTER) if after.isdecimal() else None
    raise _error(what, said, response.status, seconds)


def _error(what: str, said: Any, status: int, retry_after: float | None = None) -> ApiError:
    """`said` is the server's Status object, or whatever it sent instead."""
    told = (said.get("message") or said.get("reason")) if isinstance(said, dict) else ""
    told = str(told or "without a word")[:LONGEST_MESSAGE]
    exists = status == 409 and isinstance(said, dict) and said.get("reason") == "AlreadyExists"
    return (AlreadyExists if exists else _ERRORS.get(status, ApiError))(
        f"{what}: {status} {told}", status=status, retry_after=retry_after
    )


def _was_not_looked_at(error: Exception) -> bool | float:
    """Whether the server has certainly not carried the request out, and may yet; seconds, where it says when."""
    if isinstance(error, ApiError):
        return error.status == 429 and (error.retry_after or True)
    return isinstance(error, Unreachable) and not error.sent


def _may_read_again(error: Exception) -> bool | float:
    if isinstance(error, ApiError):
        return (error.status == 429 or error.status >= 500) and (error.retry_after or True)
    return isinstance(error, Unreachable)


_READING = stamina.AsyncRetryingCaller(attempts=READ_ATTEMPTS, timeout=RETRY_PATIENCE).on(_may_read_again)
_WRITING = stamina.AsyncRetryingCaller(attempts=READ_ATTEMPTS, timeout=RETRY_PATIENCE).on(_was_not_looked_at)
