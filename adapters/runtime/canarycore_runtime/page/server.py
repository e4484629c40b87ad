"""The requests of the web page.

    GET  /                              the list              ?q=, ?state=, ?page=
    GET  /canary/NAMESPACE/NAME         one rollout
    POST /canary/NAMESPACE/NAME/command promote, abort, pause, resume or retry, with the viewer's rights
    GET  /sign-in, POST /sign-in, POST /sign-out
    GET  /style.css, /script.js, /icon.svg

A GET changes nothing. A POST needs the page's own origin and the token of the form. Tenants write the texts on the
page, so the page escapes them all, and its policy lets the browser load and run nothing but its own files. The number
of requests at once is bounded, and all viewers share one reading of the list.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
import time
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING, Protocol

from canarycore import CommandKind
from canarycore.errors import CanaryError
from canarycore_runtime.page.protection import FormTokens, Sessions, is_known_host, is_same_origin, make_visitor_id
from canarycore_runtime.page.rendering import (
    LONGEST_QUERY,
    PAGE_COMMANDS,
    render_error,
    render_list,
    render_rollout,
    render_sign_in,
)
from canarycore_runtime.page.views import StateFilter, Visitor

try:
    from aiohttp import web
except ImportError as _missing:
    raise ImportError(f"{_missing}: pip install canarycore-runtime[http]") from _missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

    from canarycore_runtime.page.views import RolloutDetails, RolloutRow

MOST_REQUESTS = 32
"""Requests that the page answers at once; it refuses further ones."""

LARGEST_FORM = 2**15
"""Bytes of a form; a token of a service account has about a thousand."""

FORM_TIMEOUT = 10.0
"""Seconds in which a form must arrive."""

LIST_AGE = 1.0
"""Seconds for which all viewers share one reading of the list."""

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy: only the page's own files, no frame, and no script or style within the HTML."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, forms would come from no origin
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}

_ASSETS = {"style.css": "text/css", "script.js": "text/javascript", "icon.svg": "image/svg+xml"}
_VISITOR = web.RequestKey("visitor", str)
"""The id that belongs to the forms of a page, in its request."""

_log = logging.getLogger("canarycore.page")


class SignInRefused(CanaryError):
    """The door does not accept a secret."""


class Viewer(Protocol):
    """A person who has signed in, with rights of its own."""

    name: str
    """The name to show."""

    async def may_command(self, key: str) -> bool:
        """Return whether this viewer may send commands to a rollout."""

    async def send_command(self, key: str, kind: CommandKind) -> None:
        """Send a command to a rollout with this viewer's rights. Raise CanaryError if the rights do not suffice."""


class Door(Protocol):
    """The way to sign in."""

    prompt: str
    """The name of the secret."""

    help_text: str
    """A sentence about where the secret comes from."""

    async def admit(self, secret: str) -> Viewer:
        """Return the viewer with this secret. Raise SignInRefused."""


class PageSource(Protocol):
    """The rollouts that the page shows."""

    title: str
    """The title of the list."""

    async def read_rows(self) -> Sequence[RolloutRow]:
        """Return all rollouts."""

    async def read_details(self, key: str, viewer: Viewer | None) -> RolloutDetails | None:
        """Return one rollout; None if it does not exist. A viewer may see more, such as events."""


class PageServer:
    """The web page of a source. `hosts` are names besides those of this machine and cluster under which it answers."""

    def __init__(self, source: PageSource, door: Door, *, hosts: Collection[str] = ()) -> None:
        self._source, self._door, self._hosts = source, door, frozenset(host.lower() for host in hosts)
        self._sessions: Sessions[Viewer] = Sessions(time.monotonic)
        self._tokens = FormTokens(secrets.token_bytes(32))
        self._rows: tuple[float, Sequence[RolloutRow]] = (float("-inf"), ())
        self._reading = asyncio.Lock()
        self._requests = 0

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=LARGEST_FORM, middlewares=[self._guard])
        rollout = "/canary/{namespace}/{name}"
        app.add_routes([
            web.get("/", self._list),
            web.get(rollout, self._rollout),
            web.post(f"{rollout}/command", self._command),
            web.get("/sign-in", self._sign_in_form),
            web.post("/sign-in", self._sign_in),
            web.post("/sign-out", self._sign_out),
            *(web.get(f"/{name}", _serve_asset(name, kind)) for name, kind in _ASSETS.items()),
        ])  # fmt: skip
        return app

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Bound the requests, check where they come from, and answer errors as pages."""
        self._requests += 1
        try:
            response = await self._answer(request, handler)
        finally:
            self._requests -= 1
        response.headers.update(HEADERS)
        return response

    async def _answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        root = "../" * (request.path.count("/") - 1) or "./"
        if self._requests > MOST_REQUESTS:
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, "Too many requests at once: try again.", root)
        if not is_known_host(request.host, self._hosts):
            return _error(HTTPStatus.MISDIRECTED_REQUEST, f"The page does not answer as {request.host}.", root)
        try:
            return await handler(request)
        except web.HTTPRedirection as redirection:
            return redirection
        except web.HTTPException as error:
            return _error(HTTPStatus(error.status), error.text or error.reason, root)
        except CanaryError as error:
            return _error(HTTPStatus.BAD_GATEWAY, str(error), root)
        except Exception:  # noqa: BLE001 - the page says so, and the log has the traceback
            _log.exception("%s %s failed", request.method, request.path)
            return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "The page has failed: its log has the reason.", root)

    # reading ----------------------------------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        try:
            state = StateFilter(query.get("state", "all"))
        except ValueError:
            state = StateFilter.ALL
        number = query.get("page", "1")
        text = render_list(
            await self._read_rows(),
            self._visitor(request),
            title=self._source.title,
            text=query.get("q", "")[:LONGEST_QUERY],
            state=state,
            page=int(number) if re.fullmatch(r"[0-9]{1,6}", number) else 1,
        )
        return self._page(request, text)

    async def _read_rows(self) -> Sequence[RolloutRow]:
        async with self._reading:
            read_at, rows = self._rows
            if time.monotonic() - read_at > LIST_AGE:
                rows = await self._source.read_rows()
                self._rows = time.monotonic(), rows
            return rows

    async def _rollout(self, request: web.Request) -> web.Response:
        return self._page(request, await self._render_rollout(request))

    async def _render_rollout(self, request: web.Request, error: str = "") -> str:
        key, viewer = _key(request), self._viewer(request)
        details = await self._source.read_details(key, viewer)
        if details is None:
            raise web.HTTPNotFound(text=f"There is no Canary {key}.")
        may_command = viewer is not None and bool(details.commands) and await viewer.may_command(key)
        return render_rollout(details, self._visitor(request, may_command=may_command), error=error)

    # signing in -------------------------------------------------------------------------------------------------

    async def _sign_in_form(self, request: web.Request) -> web.Response:
        return self._render_sign_in(request)

    async def _sign_in(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        try:
            viewer = await self._door.admit(form.get("secret", "").strip())
        except SignInRefused as error:
            return self._render_sign_in(request, str(error))
        self._sessions.end(_cookie(request))
        session = self._sessions.begin(viewer)  # a new id, so nobody can have set it before
        _log.info("%s signed in", viewer.name)
        return _set_cookie(request, _see_other("./"), session)

    async def _sign_out(self, request: web.Request) -> web.Response:
        await self._form(request)
        self._sessions.end(_cookie(request))
        return _set_cookie(request, _see_other("./"), make_visitor_id())

    def _render_sign_in(self, request: web.Request, error: str = "") -> web.Response:
        text = render_sign_in(
            self._visitor(request), prompt=self._door.prompt, help_text=self._door.help_text, error=error
        )
        return self._page(request, text, HTTPStatus.FORBIDDEN if error else HTTPStatus.OK)

    # commands ---------------------------------------------------------------------------------------------------

    async def _command(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        viewer, key = self._viewer(request), _key(request)
        if viewer is None:
            raise web.HTTPForbidden(text="Sign in to send commands.")
        kind = next((kind for kind in PAGE_COMMANDS if kind.value == form.get("command")), None)
        if kind is None:
            raise web.HTTPBadRequest(text="There is no such command.")
        try:
            await viewer.send_command(key, kind)
        except CanaryError as error:
            _log.warning("%s: %s by %s was refused: %s", key, kind.value, viewer.name, error)
            raise web.HTTPForbidden(text=f"{kind.value} was refused: {error}") from None
        _log.info("%s: %s sent %s", key, viewer.name, kind.value)
        return _see_other(f"../{request.match_info['name']}")

    async def _form(self, request: web.Request) -> dict[str, str]:
        """Return a form. Raise HTTPForbidden unless it comes from this page and has the visitor's token."""
        if not is_same_origin(request.headers, request.host):
            raise web.HTTPForbidden(text="The form comes from another page.")
        if request.content_type != "application/x-www-form-urlencoded":
            raise web.HTTPUnsupportedMediaType
        try:
            async with asyncio.timeout(FORM_TIMEOUT):
                form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        if not self._tokens.matches(_cookie(request), form.get("token", "")):
            raise web.HTTPForbidden(text="The form is out of date: go back, reload the page, and try again.")
        return form

    # visitors ---------------------------------------------------------------------------------------------------

    def _viewer(self, request: web.Request) -> Viewer | None:
        return self._sessions.find(_cookie(request))

    def _visitor(self, request: web.Request, *, may_command: bool = False) -> Visitor:
        viewer = self._viewer(request)
        visitor = request.get(_VISITOR) or _cookie(request) or make_visitor_id()
        request[_VISITOR] = visitor
        return Visitor(
            form_token=self._tokens.make(visitor), name="" if viewer is None else viewer.name, may_command=may_command
        )

    def _page(self, request: web.Request, text: str, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
        """Return a page, or that it has not changed. A first visit sets the cookie that its forms belong to."""
        tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
        response = web.Response(text=text, content_type="text/html", status=status, headers={"ETag": tag})
        visitor = request.get(_VISITOR, "")
        return _set_cookie(request, response, visitor) if visitor != _cookie(request) else response


@asynccontextmanager
async def serve_page(
    source: PageSource, door: Door, *, host: str | None, port: int, hosts: Collection[str] = ()
) -> AsyncIterator[int]:
    """Serve the page while the context is open, and yield the port; port 0 takes a free one. Raise OSError."""
    runner = web.AppRunner(PageServer(source, door, hosts=hosts).app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _serve_asset(name: str, kind: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    body = resources.files(__package__).joinpath(name).read_bytes()

    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8")

    return serve


def _error(status: HTTPStatus, message: str, root: str) -> web.Response:
    return web.Response(text=render_error(status, message, root=root), content_type="text/html", status=status)


def _see_other(address: str) -> web.Response:
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": address})


def _key(request: web.Request) -> str:
    return f"{request.match_info['namespace']}/{request.match_info['name']}"


def _cookie_name(request: web.Request) -> str:
    """Return the name of the cookie: the pages of two ports on one machine do not share it."""
    return f"canarycore-{request.url.port}"


def _cookie(request: web.Request) -> str:
    return request.cookies.get(_cookie_name(request), "")


def _set_cookie(request: web.Request, response: web.Response, value: str) -> web.Response:
    is_secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
    response.set_cookie(_cookie_name(request), value, httponly=True, samesite="Lax", secure=is_secure, path="/")
    return response
