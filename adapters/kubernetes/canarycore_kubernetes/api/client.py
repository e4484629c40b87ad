"""A client of the API server's REST interface that speaks raw JSON.

    async with connect(kubeconfig) as client:
        deployment = await client.get(DEPLOYMENT, "default", "podinfo")

kubernetes-asyncio does the transport and the authentication. The client does not use its generated models, because they
take most of the time of a request: an object is the `dict` from the wire.

The client retries only harmless requests: reads that failed, and requests that the server rejected before it handled
them (429, with its Retry-After, or a failed connection). It does not retry a write that the server may have carried
out: the caller observes the cluster again first.

Each error is a `WorldError` with the server's message. A conflict is also a `Conflict`; a request that the server will
never accept is also a `Refused`.
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

from canarycore.errors import Conflict, Refused, WorldError
from canarycore.foreign import get_mapping
from canarycore_kubernetes.api.budget import (
    LONGEST_ANSWER,
    Oversized,
    decode,
    mark_unreadable,
    read_beginning,
    read_within,
)
from canarycore_kubernetes.api.kinds import POD, by_object
from canarycore_kubernetes.lazy_packages import KUBERNETES, lazy_packages
from canarycore_runtime.http import origin_of

with lazy_packages(KUBERNETES):
    from kubernetes_asyncio import config
    from kubernetes_asyncio.client import ApiClient, Configuration

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from canarycore_runtime.mesh import Json, Kind

MANAGER = "canarycore"
"""Name of this controller as a field manager."""

PAGE_SIZE = 500
"""Objects in one page of a list."""

LONGEST_SILENCE = 150.0
"""Seconds without a byte after which a watch fails; a live server sends a bookmark every minute."""

UNUSED_VERSION = "1"
"""A resourceVersion that no object ever has."""

REQUEST_TIMEOUT = 10.0
"""Longest time for one request, in seconds."""

CONNECTIONS = 512
"""Open connections at most. Each watch has one, and the runner bounds the cycles: no cycle waits for another's."""

READ_AHEAD = 2**18
"""Bytes of an answer that the transport buffers."""

LARGE_AT_ONCE = 4
"""Large answers that the client reads and decodes at once: every user with write access can create large objects."""

PAGE_BYTES = 2**22
"""Approximate size of a page, in bytes: pages of large objects have fewer objects."""

LONGEST_ERROR = 2**16
"""Bytes of an error answer that are read."""

LONGEST_MESSAGE = 2048
"""Characters of the server's message in an error; the message may repeat the request."""

LONGEST_RETRY_AFTER = 600.0
"""Longest Retry-After that the client honours, in seconds."""

REQUEST_ATTEMPTS = 4
"""Attempts of one request."""

RETRY_TIMEOUT = 20.0
"""Longest time for all attempts of one request, in seconds."""

RENEWAL_INTERVAL = 60.0
"""Seconds between renewals of the credentials."""

AGENT = "canarycore"
_REVIEWS = "authorization.k8s.io/v1"
_IDENTITIES = "authentication.k8s.io/v1"
_PLACE = (
    *("host", "ssl_ca_cert", "verify_ssl", "tls_server_name", "disable_strict_ssl_verification"),
    *("proxy", "proxy_headers"),
)
"""The fields of a configuration that say where the server is, and nothing about the account."""
JSON = "application/json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"  # JSON is YAML
METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"


class ApiError(WorldError):
    """The server answered with an error.

    `status` is the HTTP status. `retry_after` is the server's Retry-After in seconds, or None. `request` is the method
    and the path, `answer` the server's own message.
    """

    def __init__(
        self, message: str, *, status: int, retry_after: float | None = None, request: str = "", answer: str = ""
    ) -> None:
        self.status: int = status
        self.request: str = request
        self.answer: str = answer or message
        self.retry_after: float | None = retry_after
        super().__init__(message)


class NotFound(ApiError):
    """The object or its kind does not exist."""


class KindMissing(NotFound, Refused):
    """The server does not have the kind: its definition is not installed."""


class Gone(ApiError):
    """The server no longer has the changes since this version: list again."""


class Outdated(ApiError, Conflict):
    """Another client wrote the object first."""


class AlreadyExists(Outdated):
    """An object of this name exists already. A create may be Outdated for other reasons, such as a quota."""


class Rejected(ApiError, Refused):
    """The server will never accept the request: it is invalid or forbidden."""


class Unreachable(WorldError):
    """The server did not answer. `sent` is whether it may have received the request."""

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


@frozen(kw_only=True)
class RequestReport:
    """The report of one attempt of a request."""

    method: str
    """The HTTP method; WATCH for the beginning of a watch."""
    path: str
    seconds: float
    error: str = ""
    """The HTTP status of a refusal; UNREACHABLE if there was no answer; empty after a success."""


UNREACHABLE = "unreachable"
"""The error of a request that got no readable answer."""


def _unfenced() -> None:
    """Allow every write."""


def _unreported(_: RequestReport) -> None:
    """Ignore a request."""


@asynccontextmanager
async def connect(
    kubeconfig: str = "", *, context: str = "", server: str = "", limit: AbstractAsyncContextManager[None] | None = None
) -> AsyncGenerator[Client, None]:
    """Yield a client. Raise Unreachable if there are no credentials to connect with.

    Args:
        kubeconfig: A file. If empty: the service account of this pod, or else the user's own kubeconfig.
        context: The context of the kubeconfig; the current one if empty.
        server: An address that replaces the one of the kubeconfig.
        limit: A context that the client enters before each request except watches, to limit the rate.
    """
    configuration = Configuration()
    try:
        await _authenticate(configuration, kubeconfig, context)
    except Exception as error:  # the loader documents no errors
        source = f" in {kubeconfig}" if kubeconfig else ""
        raise Unreachable(
            f"found no way to connect to a cluster{source}: {error}. Give a kubeconfig.", sent=False
        ) from error
    if server:
        configuration.host = server.rstrip("/")
    configuration.connection_pool_maxsize = CONNECTIONS
    configuration.proxy = configuration.proxy or _proxy_of_environment(str(configuration.host))
    async with ApiClient(configuration) as api:
        _ignore_environment(api)
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


def _ignore_environment(api: ApiClient) -> None:
    """Replace the session: the default one searches the environment for proxies and passwords on each request."""
    rest = api.rest_client
    session = aiohttp.ClientSession(connector=rest.pool_manager.connector, read_bufsize=READ_AHEAD)
    rest.pool_manager.detach()
    rest.pool_manager = session


class _Renewal:
    """Renews the credentials once a minute, because tokens of exec plugins, OIDC and files expire."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._due = time.monotonic() + RENEWAL_INTERVAL

    async def __call__(self, configuration: Configuration) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + RENEWAL_INTERVAL
            try:
                await self._loader.load_and_set(configuration)
            except Exception as error:
                raise Unreachable(f"cannot renew the credentials: {error}", sent=False) from error


class Client:
    """A client that reads and writes objects. `connect` makes one.

    It enters the context `limit` before each request except watches; `timeout` limits each such request (seconds).
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        limit: AbstractAsyncContextManager[None] | None = None,
        timeout: float = REQUEST_TIMEOUT,
    ) -> None:
        self._api = api
        self._limit = limit or nullcontext()
        self._timeout = timeout
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._fence: Callable[[], None] = _unfenced
        self._report: Callable[[RequestReport], None] = _unreported
        self._token = ""

    def fenced(self, fence: Callable[[], None]) -> Client:
        """Return a copy that calls `fence` right before it sends a write; `fence` raises WorldError to prevent it."""
        other = copy(self)
        other._fence = fence  # noqa: SLF001 - an instance of this class
        return other

    def read_only(self, reader: str) -> Client:
        """Return a copy that raises Refused for each write, also for warnings of the adapters that it serves.

        reader: the part that writes nothing, in the words of the refusal.
        """

        def refuse() -> None:
            raise Refused(f"{reader} writes nothing")

        return self.fenced(refuse)

    @property
    def server(self) -> str:
        """The address of the API server, without a path or credentials."""
        return origin_of(str(self._api.configuration.host))

    def reporting(self, report: Callable[[RequestReport], None]) -> Client:
        """Return a copy that calls `report` after each attempt of a request, and after the beginning of a watch."""
        other = copy(self)
        other._report = report  # noqa: SLF001 - an instance of this class
        return other

    @asynccontextmanager
    async def without_credentials(self) -> AsyncGenerator[Client, None]:
        """Yield a client of the same server that has no credentials, no client certificate and no fence of this one."""
        configuration = Configuration()
        for name in _PLACE:
            setattr(configuration, name, getattr(self._api.configuration, name))
        async with ApiClient(configuration) as api:
            _ignore_environment(api)
            yield Client(api, timeout=self._timeout)

    def with_token(self, token: str) -> Client:
        """Return a copy that authenticates by a bearer token. Use it on a client `without_credentials`."""
        other = copy(self)
        other._token = token  # noqa: SLF001 - an instance of this class
        return other

    # reading ----------------------------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """Return an object from the server; None if it does not exist."""
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
        limit: int = PAGE_SIZE,
        metadata_only: bool = False,
    ) -> AsyncGenerator[Json, None]:
        """Yield all objects of a kind, page by page. A page is a List with `items` and `metadata.resourceVersion`.

        Unreadable objects are marked (see `budget`). Raise NotFound if the server lacks the kind, and Gone if reading
        all pages took too long.

        Args:
            kind: The kind of the objects.
            namespace: Their namespace; all if empty.
            selector: A label selector.
            fields: A field selector.
            limit: Objects per page; pages of large objects have fewer.
            metadata_only: Whether the objects come without spec and status.
        """
        query, path, many = _selected(selector, fields), kind.path(namespace), limit
        accept = METADATA.format("List") if metadata_only else JSON
        while True:
            query["limit"] = str(many)
            try:
                answer = await self._request(_READING, "GET", path, query=query, accept=accept)
            except Oversized as error:
                if many > 1:
                    many = max(1, many // 16)
                    continue
                answer = await self._only_identified(path, query, str(error))
            page = _list(path, answer.body)
            for item in page["items"]:  # a List leaves these out
                item["apiVersion"], item["kind"] = kind.api_version, kind.kind
            yield page
            following = page["metadata"].get("continue")
            if not following:
                return
            query["continue"] = following
            many = max(1, min(limit, 2 * many, many * PAGE_BYTES // max(1, answer.size)))

    async def _only_identified(self, path: str, query: dict[str, str], why: str) -> _Answer:
        """Return the metadata of a page whose object is too large, with the object marked as unreadable."""
        answer = await self._request(_READING, "GET", path, query=query, accept=METADATA.format("List"))
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
        """Yield an iterator of the changes after `version`: (`ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`, object).

        The iterator ends when the server ends the watch; this is no error. Entering the context and iterating raise
        Gone if the server no longer has `version` or sends too long an event, and WorldError if the connection fails.
        Unreadable objects are marked (see `budget`).
        """
        query = _selected(selector, fields) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
        }
        accept = METADATA.format("") if metadata_only else JSON
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=LONGEST_SILENCE)
        what = f"watch of {kind.path(namespace)}"
        async with AsyncExitStack() as stack:
            with self._reported("WATCH", kind.path(namespace)):
                response = await self._send("GET", kind.path(namespace), query=query, accept=accept, within=timeout)
                await stack.enter_async_context(response)
                stack.callback(_hang_up, response)
                await _raise_for_status(what, response)
            yield _events(what, response)

    # writing ----------------------------------------------------------------------------------------------------

    async def create(self, body: Json) -> Json:
        """Create an object and return it as stored. Raise AlreadyExists if its name is taken."""
        kind, namespace = by_object(body), body["metadata"].get("namespace", "")
        return await self._write("POST", kind.path(namespace), body=body, query={"fieldManager": MANAGER})

    async def apply(self, body: Json, *, subresource: str = "", force: bool = True, dry_run: bool = False) -> Json:
        """Set the fields of `body` and leave the fields of other managers alone (server-side apply).

        The server removes fields that an earlier apply of ours set and this one leaves out. With a
        `metadata.resourceVersion`, raise Outdated unless it is the current version. The server creates a missing object
        whatever the version; so with UNUSED_VERSION it creates the object or raises Outdated. With `dry_run`, it stores
        nothing, and returns the object as it would be.
        """
        path = by_object(body).path(body["metadata"].get("namespace", ""), body["metadata"]["name"])
        query = {
            "fieldManager": MANAGER,
            "force": "true" if force else "false",
            **({"dryRun": "All"} if dry_run else {}),
        }
        return await self._write("PATCH", _sub(path, subresource), body=body, query=query, content=APPLY)

    async def merge(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Mapping[str, Any],
        *,
        subresource: str = "",
        manager: str = MANAGER,
    ) -> Json:
        """Change the fields in `patch`; None removes a field (JSON merge patch). `manager` is the recorded writer.

        With a `metadata.resourceVersion`, raise Outdated unless it is the current version.
        """
        path = _sub(kind.path(namespace, name), subresource)
        return await self._write("PATCH", path, body=patch, query={"fieldManager": manager}, content=MERGE)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", version: str = "") -> bool:
        """Delete an object (only with this `uid`, if given); return False if it was gone already.

        With a `version`, raise Outdated unless it is the current resourceVersion.
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

    async def evict(self, namespace: str, name: str, *, uid: str) -> None:
        """Evict a pod, only with this `uid`. Raise ApiError with status 429 where a PodDisruptionBudget keeps it.

        The client does not repeat a refused eviction: a budget may last.
        """
        body: Json = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        await self._exchange("POST", _sub(POD.path(namespace, name), "eviction"), body=body)

    async def may(self, verb: str, kind: Kind, namespace: str = "") -> bool:
        """Ask whether this account has a right to a kind, in one namespace or in all. True if the server cannot say."""
        attributes = {"group": kind.group, "resource": kind.plural, "verb": verb, "namespace": namespace}
        review = {"apiVersion": _REVIEWS, "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
        try:
            answer = await self._write("POST", f"/apis/{_REVIEWS}/selfsubjectaccessreviews", body=review)
        except ApiError:
            return True
        return get_mapping(answer, "status").get("allowed") is not False

    async def identify(self) -> str:
        """Return the server's name for this account; empty if the server cannot say. Raise ApiError with status 401."""
        review = {"apiVersion": _IDENTITIES, "kind": "SelfSubjectReview"}
        try:
            answer = await self._write("POST", f"/apis/{_IDENTITIES}/selfsubjectreviews", body=review)
        except (NotFound, Rejected):
            return ""
        return str(get_mapping(get_mapping(answer, "status"), "userInfo").get("username") or "")

    # one request ------------------------------------------------------------------------------------------------

    async def _read(self, method: str, path: str, *, query: dict[str, str] | None = None, accept: str = JSON) -> Json:
        return (await self._request(_READING, method, path, query=query, accept=accept)).body

    async def _write(self, method: str, path: str, **request: Any) -> Json:
        return (await self._request(_WRITING, method, path, **request)).body

    async def _request(self, retrying: stamina.BoundAsyncRetryingCaller, *place: str, **request: Any) -> _Answer:
        """Send a request, with retries.

        Build the retry caller only after a first failure: building it costs half a request.
        """
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
            with self._reported(method, path):
                response = await self._send(method, path, within=within, **request)
                async with response:
                    await _raise_for_status(what, response)
                    with _reaching(what):
                        return await self._decoded(response)

    @contextmanager
    def _reported(self, method: str, path: str) -> Iterator[None]:
        """Report a request once the server has answered or failed to; a request that was never sent is no attempt."""
        began = time.perf_counter()

        def report(error: str = "") -> None:
            self._report(RequestReport(method=method, path=path, seconds=time.perf_counter() - began, error=error))

        try:
            yield
        except ApiError as error:
            report(str(error.status))
            raise
        except Unreachable:
            report(UNREACHABLE)
            raise
        report()

    async def _decoded(self, response: aiohttp.ClientResponse) -> _Answer:
        """Read and decode a body. Large bodies take turns: decoding one needs three times its size in memory."""
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
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
            else:
                await self._api.update_params_for_auth(headers, [], ["BearerToken"])
            if method != "GET":
                self._fence()  # only now: the rate limit may have delayed the write
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
    """An answer of the server."""

    body: Json
    """The decoded body."""
    size: int
    """Size of the body in bytes."""


def _selected(selector: str, fields: str) -> dict[str, str]:
    query = {"labelSelector": selector, "fieldSelector": fields}
    return {name: value for name, value in query.items() if value}


def _sub(path: str, subresource: str) -> str:
    return f"{path}/{subresource}" if subresource else path


def _list(path: str, page: Any) -> Json:
    """Return a page of a list. Raise Unreachable if the answer is not a list."""
    if not isinstance(page, dict) or not isinstance(page.get("metadata"), dict):
        raise Unreachable(f"GET {path}: the answer is not a list", sent=True)
    page["items"] = [item for item in page.get("items") or () if isinstance(item, dict)]
    return page


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """End the connection of an answer without an end at once, without TLS's own farewell: nobody waits for that."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()


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
    """Yield the lines of an answer. Raise Gone for too long a line: a list can identify its object."""
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
    """Turn errors of the connection into Unreachable."""
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise Unreachable(f"{what}: cannot reach the API server: {error}", sent=False) from error
    except TimeoutError as error:
        raise Unreachable(f"{what}: the API server did not answer in time", sent=True) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unreachable(f"{what}: unreadable answer: {type(error).__name__}: {error}", sent=True) from error


async def _raise_for_status(what: str, response: aiohttp.ClientResponse) -> None:
    if response.status < 300:
        return
    with _reaching(what):
        text = await read_beginning(response, LONGEST_ERROR)
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = {"message": text.decode(errors="replace").strip()[:500]}
    after = response.headers.get("Retry-After", "")
    seconds = min(float(after), LONGEST_RETRY_AFTER) if after.isdecimal() else None
    raise _error(what, answer, response.status, seconds)


def _error(what: str, answer: Any, status: int, retry_after: float | None = None) -> ApiError:
    """Return the error for an answer: the server's Status object, or anything else."""
    message = (answer.get("message") or answer.get("reason")) if isinstance(answer, dict) else ""
    message = str(message or "without a message")[:LONGEST_MESSAGE]
    kind = _ERRORS.get(status, ApiError)
    if status == 409 and isinstance(answer, dict) and answer.get("reason") == "AlreadyExists":
        kind = AlreadyExists
    elif status == 404 and message == _KIND_MISSING:
        kind = KindMissing
    return kind(f"{what}: {status} {message}", status=status, retry_after=retry_after, request=what, answer=message)


_KIND_MISSING = "the server could not find the requested resource"
"""The server's message about a path of a kind that it does not have."""


def _may_repeat_write(error: Exception) -> bool | float:
    """Return whether the server has certainly not carried out a write; or the seconds to wait, if it gave them."""
    if isinstance(error, ApiError):
        return error.status == 429 and (error.retry_after or True)
    return isinstance(error, Unreachable) and not error.sent


def _may_repeat_read(error: Exception) -> bool | float:
    """Return whether to repeat a read; or the seconds to wait, if the server gave them."""
    if isinstance(error, ApiError):
        return (error.status == 429 or error.status >= 500) and (error.retry_after or True)
    return isinstance(error, Unreachable)


_READING = stamina.AsyncRetryingCaller(attempts=REQUEST_ATTEMPTS, timeout=RETRY_TIMEOUT).on(_may_repeat_read)
_WRITING = stamina.AsyncRetryingCaller(attempts=REQUEST_ATTEMPTS, timeout=RETRY_TIMEOUT).on(_may_repeat_write)
