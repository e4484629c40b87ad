"""One HTTP server in place of all that runs in a lab's pods: the app, the Gateway, Prometheus and a chat.

A URL of a page leads to `bench.url/HOST:PORT/…`. The app answers as podinfo does. The Gateway follows the HTTPRoutes of
the API server. Prometheus answers with the figures of the events that a page shows, but not with a bad one before the
app has got the faults that the page's commands send.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web
from attrs import define, field

from canarycore_planes.background import in_background
from canarycore_planes.control_plane.api import Api, Json
from tests.servers import read_query, serving, vector

GOOD: dict[str, float] = {"rate": 100.0, "duration": 0.1}
BAD = (
    (re.compile(r"success rate ([\d.]+)%"), "rate", 1.0),
    (re.compile(r"request duration ([\d.]+)s"), "duration", 1.0),
    (re.compile(r"error-rate ([\d.]+) >"), "rate", 1.0),
    (re.compile(r"latency ([\d.]+) >"), "duration", 1.0),
)
"""The texts of failed checks, which of two figures they are about, and its factor."""

LOAD = ("hey", "canarycore-loadtester")
"""How the user agents of a load test begin."""

FAULTS_WITHIN = 120.0
"""Seconds that an answer waits for the faults, or for a user."""


@define
class Figures:
    """The answers of Prometheus about one namespace, analysis by analysis. The last one is repeated."""

    good: dict[str, float] = field(factory=lambda: GOOD)
    turns: Sequence[dict[str, float]] = (GOOD,)
    faults: asyncio.Event = field(factory=asyncio.Event)
    asked: set[str] = field(factory=set)
    """The figures that the present analysis has asked for."""
    turn: int = 0
    visit: asyncio.Event | None = None
    """The visit of a user at the Gateway that each answer waits for, if it does."""

    def next(self, name: str) -> dict[str, float]:
        """Return the figures of the analysis that asks for this one: a repeated question begins the next analysis."""
        if name in self.asked:
            self.asked.clear()
            self.turn += 1
        self.asked.add(name)
        return self.turns[min(self.turn, len(self.turns) - 1)]


@define
class Bench:
    """The stand-ins of one cluster."""

    api: Api
    url: str = ""
    requests: dict[str, list[str]] = field(factory=dict)
    """The paths that each host of an app has answered, with its port."""
    messages: list[Json] = field(factory=list)
    """The bodies that the chat has got."""
    _figures: dict[str, Figures] = field(factory=dict)
    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def port(self) -> str:
        return self.url.rpartition(":")[2]

    @contextmanager
    def running(self) -> Iterator[None]:
        with in_background(self._serve) as loop:
            self._loop = loop
            yield

    def follow(self, namespace: str, events: Sequence[str], good: dict[str, float] | None = None) -> None:
        """Answer so that these events happen in this namespace."""
        good = GOOD if good is None else good
        advances = [line for line in events if line.startswith("Advance ")][1:]
        halts = [line for line in events if line.startswith("Halt ")]
        turns = [good] * len(advances) + [good | _failed(line) for line in halts] or [good]
        self._figures[namespace] = Figures(good=good, turns=turns)

    def hold(self, namespace: str) -> None:
        """Answer no more before a user has visited the Gateway: a page shows who gets which version meanwhile."""
        self._figures.setdefault(namespace, Figures()).visit = asyncio.Event()

    # ----------------------------------------------------------------------------------------------- in its thread

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_route("*", "/{host}/{path:.*}", self._answer)
        async with serving(app) as self.url:
            yield

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        host, path = request.match_info["host"], request.match_info["path"]
        if host.startswith("prometheus"):
            return await self._measure(request)
        if host == "gateway":
            return await self._route(request)
        if host == "hooks.slack.com":
            self.messages.append(await request.json())
            return web.Response(text="ok")
        return await self._serve_app(request, host, path)

    async def _measure(self, request: web.Request) -> web.Response:
        query = await read_query(request)
        about = re.search(r'namespace="([^"]+)"', query)
        return vector(
            1.0 if about is None else await self._figure(about[1], "duration" if "bucket" in query else "rate")
        )

    async def _figure(self, namespace: str, name: str) -> float:
        figures = self._figures.setdefault(namespace, Figures())
        turn = figures.next(name)
        if figures.visit is not None:
            await asyncio.wait_for(figures.visit.wait(), FAULTS_WITHIN)
        if turn is not figures.good:
            await asyncio.wait_for(figures.faults.wait(), FAULTS_WITHIN)
        return turn[name]

    async def _serve_app(self, request: web.Request, host: str, path: str) -> web.Response:
        """Answer as podinfo does; `host` is a Service in its namespace, such as `podinfo-canary.test:9898`."""
        self.requests.setdefault(host, []).append(f"/{path}")
        service, _, rest = host.partition(".")
        namespace = rest.partition(":")[0]
        kind, _, value = path.partition("/")
        if kind in {"status", "delay"}:
            self._figures.setdefault(namespace, Figures()).faults.set()
        if kind == "status":
            return web.json_response({"status": int(value)}, status=int(value))
        if kind == "delay":
            await asyncio.sleep(float(value))
            return web.json_response({"delay": int(value)})
        if kind == "token":
            return web.json_response({"token": "a.b.c"})
        if kind == "headers":
            return web.json_response(dict(request.headers))
        return web.json_response(await asyncio.to_thread(self._describe_pod, namespace, service))

    def _describe_pod(self, namespace: str, service: str) -> Json:
        """Return what a pod behind a Service says of itself."""
        path = f"/api/v1/namespaces/{namespace}/services/{service}"
        app = (self.api.get(path) or {})["spec"]["selector"]["app"]
        deployment = self.api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{app}") or {}
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        return {"hostname": f"{app}-5cf44b9799-lgq79", "version": container["image"].rpartition(":")[2]}

    async def _route(self, request: web.Request) -> web.Response:
        routes = await asyncio.to_thread(self.api.list, "/apis/gateway.networking.k8s.io/v1/httproutes")
        mine = [route for route in routes if request.host in route["spec"].get("hostnames", [])]
        if not mine:
            return web.Response(status=404, text=f"no route has the host {request.host}")
        rules = [rule for rule in mine[0]["spec"]["rules"] if _matches(rule, request)]
        rule = max(rules, key=_conditions)
        backend = max(rule["backendRefs"], key=lambda each: each.get("weight", 1))
        namespace = mine[0]["metadata"]["namespace"]
        host = f"{backend['name']}.{namespace}:{backend['port']}"
        visit = self._figures.setdefault(namespace, Figures()).visit
        if visit is not None and not request.headers.get("User-Agent", "").startswith(LOAD):
            visit.set()
        return await self._serve_app(request, host, request.match_info["path"])


def _failed(line: str) -> dict[str, float]:
    """Return the figure that a failed check shows."""
    for pattern, name, factor in BAD:
        if found := pattern.search(line):
            return {name: float(found[1]) * factor}
    raise AssertionError(f"found no figure in {line!r}")


def _matches(rule: Json, request: web.Request) -> bool:
    return any(all(_has(request, header) for header in match.get("headers", [])) for match in rule["matches"])


def _has(request: web.Request, header: Json) -> bool:
    value = request.headers.get(header["name"], "")
    if header.get("type") == "RegularExpression":
        return re.fullmatch(header["value"], value) is not None
    return value == header["value"]


def _conditions(rule: Json) -> int:
    return max(len(match.get("headers", [])) for match in rule["matches"])
