"""The endpoints of the load tester. Paths, statuses and texts are Flagger's.

    POST /                               run a task
    /gate/approve, /gate/halt            always open, always closed
    /gate/check, /gate/open, /gate/close            the gate of a Canary
    /rollback/check, /rollback/open, /rollback/close    its rollback
    /healthz, /metrics

As in Flagger, the method does not matter, and any other path is one more name of `/`.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from canarycore_loadtester.gates import LONGEST_NAME, Gate, GateKind, Gates, TooManyGates
from canarycore_loadtester.payload import LARGEST_PAYLOAD, InvalidPayload, Payload, parse_payload
from canarycore_loadtester.runner import Busy, TaskRunner
from canarycore_loadtester.tasks import InvalidTask, parse_task
from canarycore_loadtester.telemetry import LoadtesterMetrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from canarycore_loadtester.options import LoadtesterOptions

_log = logging.getLogger("canarycore.loadtester")

OPEN_PATHS = {"/healthz", "/metrics"}
"""The paths that need no token."""

BODY_TIMEOUT = 10.0
"""Seconds in which the body of a request must arrive."""

SHUTDOWN_TIMEOUT = 20.0
"""Seconds that callers get to see the end of their tasks after a signal to stop."""

LONGEST_TOKEN = 4096


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status: HTTPStatus = status
        self.text: str = text


class LoadtesterServer:
    """The endpoints."""

    def __init__(
        self, options: LoadtesterOptions, runner: TaskRunner, gates: Gates, metrics: LoadtesterMetrics
    ) -> None:
        self._options, self._runner, self._gates, self._metrics = options, runner, gates, metrics

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=LARGEST_PAYLOAD, middlewares=[self._guard])
        routes = {"/healthz": _answer(HTTPStatus.OK, "OK"), "/metrics": self._export}
        routes |= {"/gate/approve": _answer(HTTPStatus.OK, "OK")}
        routes |= {"/gate/halt": _answer(HTTPStatus.FORBIDDEN, "Forbidden")}
        for folder, kind in (("gate", GateKind.APPROVAL), ("rollback", GateKind.ROLLBACK)):
            routes |= {f"/{folder}/{verb}": self._gate(kind, verb) for verb in ("check", "open", "close")}
        app.add_routes([web.route("*", path, handler) for path, handler in routes.items()])
        app.add_routes([web.route("*", "/{path:.*}", self._run_task)])
        return app

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Check a request, and answer refusals."""
        try:
            if request.path not in OPEN_PATHS:
                _check_origin(request)
                await self._check_token(request)
            return await handler(request)
        except Refusal as refusal:
            self._metrics.refused.labels(str(int(refusal.status))).inc()
            headers = {"WWW-Authenticate": "Bearer"} if refusal.status is HTTPStatus.UNAUTHORIZED else None
            return web.Response(status=refusal.status, text=refusal.text, headers=headers)

    async def _check_token(self, request: web.Request) -> None:
        if self._options.token_file is None:
            return
        token = await asyncio.to_thread(_read_token, self._options)
        if not token:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the file with the token is missing or empty")
        scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(presented.strip().encode(), token):
            raise Refusal(HTTPStatus.UNAUTHORIZED, "Unauthorized")

    async def _run_task(self, request: web.Request) -> web.Response:
        payload = await self._payload(request)
        try:
            task = parse_task(payload, self._options)
            if task.is_background:
                self._runner.start(task)
                return web.Response(status=HTTPStatus.ACCEPTED)
            result = await self._runner.run(task)
        except InvalidTask as error:
            _log.warning("%s: %s", payload.canary, error)
            raise Refusal(error.status, str(error)) from None
        except Busy as error:
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, str(error)) from None
        if not result.is_success:
            return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR, text=result.error)
        return web.Response(text=result.output if task.returns_output else "")

    def _gate(self, kind: GateKind, verb: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def check(request: web.Request) -> web.Response:
            payload, gate = await self._gate_of(request, kind)
            is_open = self._gates.is_open(gate)
            _log.info("%s: %s checked, it is %s", payload.canary, kind.value, "open" if is_open else "closed")
            return web.Response(text="Approved") if is_open else web.Response(status=403, text="Forbidden")

        async def change(request: web.Request) -> web.Response:
            payload, gate = await self._gate_of(request, kind)
            try:
                await (self._gates.open(gate) if verb == "open" else self._gates.close(gate))
            except TooManyGates as error:
                raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, str(error)) from None
            except OSError as error:
                _log.exception("%s: %s not changed", payload.canary, kind.value)
                return web.Response(status=500, text=f"the gate was not changed: {error.strerror}")
            _log.info("%s: %s changed: %s", payload.canary, kind.value, verb)
            return web.Response(status=HTTPStatus.ACCEPTED)

        return check if verb == "check" else change

    async def _gate_of(self, request: web.Request, kind: GateKind) -> tuple[Payload, Gate]:
        payload = await self._payload(request)
        if len(payload.name) > LONGEST_NAME or len(payload.namespace) > LONGEST_NAME:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"expected names of at most {LONGEST_NAME} characters")
        return payload, Gate(kind.value, payload.namespace, payload.name)

    async def _payload(self, request: web.Request) -> Payload:
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                payload = parse_payload(await request.read())
        except InvalidPayload as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"decoding the request body failed: {error}") from None
        except TimeoutError:
            raise Refusal(HTTPStatus.REQUEST_TIMEOUT, f"found no whole body within {BODY_TIMEOUT:g} s") from None
        pattern = self._options.namespaces
        if pattern is not None and pattern.search(payload.namespace) is None:
            raise Refusal(HTTPStatus.FORBIDDEN, "Forbidden")
        return payload

    async def _export(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


@asynccontextmanager
async def serve(options: LoadtesterOptions) -> AsyncIterator[int]:
    """Serve the endpoints while the context is open, and yield the port. Raises InvalidState and OSError."""
    metrics, gates = LoadtesterMetrics(), Gates(options.state_file)
    metrics.observe("open_gates", "Gates that are open.", lambda: len(gates))
    async with TaskRunner(options, metrics) as runner:
        app = LoadtesterServer(options, runner, gates, metrics).app()
        app_runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT)
        await app_runner.setup()
        try:
            await web.TCPSite(app_runner, options.listen or None, options.port).start()
            address = app_runner.addresses[0]
            yield int(address[1])
        finally:
            await app_runner.cleanup()


def _answer(status: HTTPStatus, text: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    return handler


def _check_origin(request: web.Request) -> None:
    """Raise Refusal for a page in a browser, which could reach a load tester on its user's machine."""
    if "Origin" in request.headers or "Sec-Fetch-Site" in request.headers:
        raise Refusal(HTTPStatus.FORBIDDEN, "found a request of a browser, expected one of a program")


def _read_token(options: LoadtesterOptions) -> bytes:
    assert options.token_file is not None
    try:
        with options.token_file.open("rb") as stream:
            return stream.read(LONGEST_TOKEN).strip()
    except OSError:
        return b""
