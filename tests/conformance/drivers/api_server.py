"""The driver for a real API server: a trace's objects, the controller's own adapters, and scripted servers around them.

Everything is real but time and what answers over HTTP: the API server, the workloads' controllers, the adapters of the
controller. Time is ours, so that an interval passes at once; the platform's own times (since when pods are missing)
are taken for the moment at which they were first seen. Pods get ready as the trace's rules say.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack, suppress
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from aiohttp import web
from attrs import define, evolve, field, fields

from canarycore import HookType, Phase, RouteRefusal, Verdict, judge
from canarycore._goal import explain_unready
from canarycore.phases import ACTIVE, FINISHED
from canarycore_cli.console import split_names
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.controller import make_canaries, open_adapters
from canarycore_kubernetes.deploy.objects import ROUTING_RIGHTS
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.resources.canaries import Canaries, InvalidCanary
from canarycore_planes.control_plane.api import RequestError, eventually
from canarycore_planes.control_plane.kubelet import PodRule
from canarycore_runtime._calls import Limits
from canarycore_runtime._driver import Driver, GoneError, LookAgainError
from canarycore_runtime._slots import RunnerCapacity
from tests.conformance.drivers.scripts import Hooks, Prometheus, as_list, in_turn
from tests.conformance.objects import CANARY
from tests.conformance.story import Called, Checked, Stand, Step, Told, plain
from tests.conformance.trace import (
    ONLINE,
    PASSES,
    Json,
    Trace,
    alerted,
    created,
    kinds_of,
    status_of,
    url_tail,
)
from tests.controlplane import endpoints
from tests.controlplane.rights import installed
from tests.servers import read_query, serving, vector

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from canarycore.errors import Problem
    from canarycore_planes.control_plane.api import Access
    from canarycore_planes.control_plane.plane import Plane
    from tests.conformance.drivers.port import Done

T = TypeVar("T")

FAKES = "http://fakes"
"""The addresses of the scripted servers in traces."""

MOMENT = 1.3
BUSY = 60
"""Cycles at one moment that are too many; a world that does not follow is looked at again at the next tick."""

SETTLING = 20.0
"""Seconds within which the platform follows what is asked of it."""

PATIENCE = 60.0
"""Seconds (of the wall clock) within which one look or action is over; then the stage says what it waits for."""

DRAINED = 2
"""Intervals after which no capacity is kept any more for requests on their way."""

API_GROUP = "/apis/flagger.app/v1beta1"


class ClusterDriver:
    """The controller of one trace's canary, on a plane that it has for itself."""

    def __init__(self, trace: Trace, plane: Plane) -> None:
        self._runner = asyncio.Runner()
        self._stage = Stage(trace, plane)
        try:
            self.refused: tuple[Problem, ...] = self._within(self._stage.begin())
        except BaseException:
            self.close()
            raise

    @property
    def stand(self) -> Stand:
        return self._stage.stand

    def tick(self, done: Done) -> bool:
        return self._within(self._stage.tick(done))

    def settle(self) -> None:
        self._within(self._stage.now_until(lambda: False))
        for _ in range(DRAINED):  # the primary drains before a deletion is over
            if self.stand.phase == Phase.TERMINATING.value:
                self.tick(lambda: self.stand.phase != Phase.TERMINATING.value)

    def act(self, action: Json) -> tuple[Problem, ...]:
        return self._within(self._stage.act(action))

    def take(self) -> list[Step]:
        steps, self._stage.steps = self._stage.steps, []
        return steps

    def left(self) -> dict[str, Json | None]:
        """Return the objects of the recording's end on this plane, after all effects of the last phase."""
        if Phase(self.stand.phase) in FINISHED:
            for _ in range(DRAINED):
                self.tick(lambda: False)
        api, trace = self._stage.plane.api, self._stage.trace
        return {name: api.get(api.path(body, trace.namespace)) for name, body in trace.final.items()}

    def close(self) -> None:
        self._within(self._stage.end())
        self._runner.close()

    def _within(self, work: Coroutine[Any, Any, T]) -> T:
        """Nothing hangs: what is not over in time fails, and says what it was at."""
        try:
            return self._runner.run(asyncio.wait_for(work, PATIENCE))
        except TimeoutError:
            told = "; ".join(map(str, self._stage.steps[-3:])) or "nothing"
            raise AssertionError(
                f"{self._stage.trace.name} is {self._stage.doing} for {PATIENCE:g} s, at {self.stand}, after {told}"
            ) from None


@define(eq=False)
class Stage:
    """All that is around the canary. Times are in seconds on the trace's own clock."""

    trace: Trace
    plane: Plane
    steps: list[Step] = field(factory=list)
    stand: Stand = Stand("")
    doing: str = "starting"
    prometheus: Prometheus = field(init=False)
    hooks: Hooks = field(init=False)
    rules: tuple[Json, ...] = field(init=False)
    _now: float = field(factory=time.time)
    _wake: float = inf
    _next: float = 0.0
    _servers: AsyncExitStack = field(factory=AsyncExitStack)
    _process: AsyncExitStack = field(factory=AsyncExitStack)
    _fakes: str = ""
    _interval: float = 10.0
    _round: str = ""
    _failed: bool = False
    _asks: bool = False
    _lock: asyncio.Lock = field(factory=asyncio.Lock)
    _first_seen: dict[Any, float] = field(factory=dict)
    _expected: dict[tuple[tuple[str, str], str, str], int] = field(factory=dict)
    _templates: dict[str, list[str]] = field(factory=dict)
    _missing: dict[str, str] = field(factory=dict)
    _driver: Driver | None = None
    _cluster: Cluster | None = None
    _canaries: Canaries | None = None

    def __attrs_post_init__(self) -> None:
        self.prometheus, self.hooks = Prometheus(self.trace.prom), Hooks(dict(self.trace.hooks))
        self.rules = self.trace.cluster
        self._next = self._now

    # from the start to the end --------------------------------------------------------------------------------------

    async def begin(self) -> tuple[Problem, ...]:
        """Put everything there, and start the controller."""
        api, namespace = self.plane.api, self.trace.namespace
        await self._serve()
        self.doing = "waiting for the last trace's namespace to go"
        await asyncio.to_thread(eventually, lambda: api.get(f"/api/v1/namespaces/{namespace}") is None)
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        await self._pods_as_scripted()
        for body in (*self.trace.objects, self.trace.canary):
            self._saw(api.create(self._ours(body), namespace))
        return await self._start()

    async def end(self) -> None:
        """Nothing is left but the namespace, which is going."""
        self.doing = "ending"
        await self._process.aclose()
        await self._servers.aclose()
        self.plane.kubelet.rules()
        api, path = self.plane.api, f"{API_GROUP}/namespaces/{self.trace.namespace}/canaries"
        with suppress(RequestError):
            api.patch(f"{path}/{self._name}", {"metadata": {"finalizers": None}})
        api.delete(f"/api/v1/namespaces/{self.trace.namespace}")

    async def _start(self) -> tuple[Problem, ...]:
        """A new process of the controller, that knows nothing."""
        self.doing = "starting the controller"
        await self._process.aclose()
        enter = self._process.enter_async_context
        client = await enter(connect(str(self.plane.kubeconfig(self._rights(), "controller"))))
        self._cluster = await enter(Cluster(client, namespace=self.trace.namespace))
        options = self._options()
        self._canaries = make_canaries(self._cluster, options)
        parts = await enter(open_adapters(self._cluster, self._canaries, options, clock=lambda: self._now))
        group = await enter(asyncio.TaskGroup())
        key = f"{self.trace.namespace}/{self._name}"
        limits = Limits(cycles=1)
        seen = evolve(
            parts,
            store=Watched(parts.store, self),
            workload=Timed(parts.workload, self),
            router=Judged(parts.router, self),
            metrics=InOrder(parts.metrics, self),
        )
        self._driver = Driver(key, seen, limits, RunnerCapacity.under(limits), group)
        self._wake = self._now
        await self._settled()
        held = await self._canaries.find(key)
        return held.problems if isinstance(held, InvalidCanary) else ()

    def _rights(self) -> Access:
        """Those of a controller that was installed for the trace's providers."""
        named = {self._options().mesh_provider, self.trace.canary["spec"].get("provider")}
        return installed(
            self.plane.api, self.trace.namespace, [one for one in ROUTING_RIGHTS if one in named] or ROUTING_RIGHTS
        )

    @property
    def _name(self) -> str:
        return str(self.trace.canary["metadata"]["name"])

    def _options(self) -> Options:
        given = {name.replace("-", "_"): value for name, _, value in (f[1:].partition("=") for f in self.trace.flags)}
        readers = {bool: lambda text: text != "false", tuple: split_names, str: self._here}
        known = {one.name: readers.get(type(one.default)) for one in fields(Options)}
        read = {name: known[name](value) for name, value in given.items() if known.get(name)}
        return Options(**{**read, "log_level": "info"})

    def _here(self, text: str) -> str:
        return text.replace(FAKES, self._fakes)

    def _ours(self, body: Json) -> Json:
        return json.loads(self._here(json.dumps(body)))

    # time -----------------------------------------------------------------------------------------------------------

    async def tick(self, done: Done) -> bool:
        if await self.now_until(done):
            return True
        while self._wake < self._next:
            self._now = self._wake
            if await self.now_until(done):
                return True
        self._now = max(self._now, self._next)
        self._wake, self._next = self._now, self._now + self._interval
        return await self.now_until(done)

    async def now_until(self, done: Done) -> bool:
        """Cycle at this moment until the controller wants to rest, or `done` holds."""
        for _ in range(BUSY):
            if self._wake > self._now:
                return False
            await self._cycle()
            if done():
                return True
        self._wake = inf
        return False

    async def _cycle(self) -> None:
        assert self._driver is not None
        await self._settled()
        self._asks = self._flagger_asks_for_rollbacks()
        self.doing = "waiting for a cycle of the controller"
        try:
            rest = await self._driver.drive()
        except LookAgainError:
            return
        except GoneError:
            self._wake = inf
            return
        if self._driver.observed is not None:
            self._interval = self._driver.observed.rollout.interval
        self._wake = inf if rest.wake is None else rest.wake
        if rest.effects:
            self._wake = self._now
        if rest.errors:
            self._wake = inf

    async def _settled(self) -> None:
        """The platform has followed, and the caches know."""
        self.doing = "waiting for workloads and caches"
        await self._pods_as_scripted()
        self._revisions_as_knative_makes_them()
        await asyncio.to_thread(eventually, self._has_followed, SETTLING, lambda: "workloads that do not follow")
        end = time.monotonic() + SETTLING
        while not self._caches_know():
            assert time.monotonic() < end, f"caches do not know of {self._expected}"
            await asyncio.sleep(0.01)

    def _has_followed(self) -> bool:
        for plural in ("deployments", "daemonsets"):
            for body in self.plane.api.list(f"/apis/apps/v1/namespaces/{self.trace.namespace}/{plural}"):
                body["kind"] = {"deployments": "Deployment", "daemonsets": "DaemonSet"}[plural]
                if not self._follows(body):
                    return False
                self._saw({"apiVersion": "apps/v1", **body})
        slices = endpoints.list_slices(self.plane.api, self.trace.namespace)
        self._expected = {place: version for place, version in self._expected.items() if place[0] != endpoints.KIND}
        for body in slices:
            self._saw(body)
        return endpoints.have_followed(self.plane.api, self.trace.namespace, slices)

    def _follows(self, body: Json) -> bool:
        status = body.get("status", {})
        if status.get("observedGeneration", 0) < body["metadata"]["generation"]:
            return False
        if body["kind"] == "DaemonSet":
            wanted = status.get("desiredNumberScheduled", 0)
            made, there = status.get("updatedNumberScheduled", 0), status.get("currentNumberScheduled", 0)
            ready = status.get("numberAvailable", 0)
        else:
            wanted, made = body["spec"]["replicas"], status.get("updatedReplicas", 0)
            there, ready = status.get("replicas", 0), status.get("availableReplicas", 0)
        if self._is_ready(body):
            self._missing.pop(body["metadata"]["name"], None)
            return made == wanted == there == ready
        self._missing[body["metadata"]["name"]] = self._rule_of(body)["mode"]
        return wanted == 0 or (made > 0 and ready <= there - made)

    def _caches_know(self) -> bool:
        assert self._cluster is not None
        caches = {(kind.api_version, kind.kind): cache for kind, cache in self._cluster._caches.items()}
        for (version_and_kind, namespace, name), version in self._expected.items():
            cache = caches.get(version_and_kind)
            if cache is not None and (not cache.synced.is_set() or int(cache.version(namespace, name) or 0) < version):
                return False
        return True

    def _saw(self, body: Json) -> None:
        """The object is so: nothing is decided before the caches know."""
        meta = body["metadata"]
        place = (body["apiVersion"], body["kind"]), meta["namespace"], meta["name"]
        self._expected[place] = int(meta["resourceVersion"])

    # pods -----------------------------------------------------------------------------------------------------------

    async def _pods_as_scripted(self) -> None:
        rules = []
        for rule in self.rules:
            ready = rule["mode"] == "ready" and self._waited(rule)
            rules.append(
                PodRule(
                    namespace=self.trace.namespace,
                    name=rule["name"],
                    image=rule.get("image", ""),
                    mode="ready" if ready else "never",
                )
            )
        self.plane.kubelet.rules(*rules)

    def _waited(self, rule: Json) -> bool:
        """Whether the time has passed that pods of this rule take, counted from when there first were some."""
        after = float(rule.get("after", 0))
        since = self._first_seen.get(("rule", rule["name"], rule.get("image", "")))
        return not after or (since is not None and self._now >= since + after)

    def _is_ready(self, body: Json) -> bool:
        rule = self._rule_of(body)
        if rule and body["spec"].get("replicas", 1):
            self._first_seen.setdefault(("rule", rule["name"], rule.get("image", "")), self._now)
        return not rule or (rule["mode"] == "ready" and self._waited(rule))

    def _rule_of(self, body: Json) -> Json:
        """The first that fits; {} where there is none."""
        images = " ".join(one.get("image", "") for one in body["spec"]["template"]["spec"]["containers"])
        fits = (one for one in self.rules if one["name"] == body["metadata"]["name"] and one.get("image", "") in images)
        return next(fits, {})

    def _revisions_as_knative_makes_them(self) -> None:
        """A Revision of each template, ready at once."""
        api, root = self.plane.api, f"/apis/serving.knative.dev/v1/namespaces/{self.trace.namespace}"
        for service in api.list(f"{root}/services"):
            name, template = service["metadata"]["name"], json.dumps(service["spec"]["template"], sort_keys=True)
            made = self._templates.setdefault(name, [])
            if made[-1:] == [template]:
                continue
            made.append(template)
            revision = f"{name}-{len(made):05}"
            ready = {"conditions": [{"type": "Ready", "status": "True"}]}
            kind = {"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "metadata": {"name": revision}}
            api.create({**kind, "spec": service["spec"]["template"]["spec"]}, self.trace.namespace)
            self._saw(api.patch(f"{root}/revisions/{revision}/status", {"status": ready}))
            names = {"latestCreatedRevisionName": revision, "latestReadyRevisionName": revision}
            self._saw(api.patch(f"{root}/services/{name}/status", {"status": names}))

    # the scripted servers -------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{server}/{namespace}/{rest:.*}", self._answer)
        app.router.add_route("*", "/{server}/{namespace}", self._answer)
        self._fakes = await self._servers.enter_async_context(serving(app))

    async def _answer(self, request: web.Request) -> web.Response:
        server, rest = request.match_info["server"], unquote(request.match_info.get("rest", ""))
        if server == "prom":
            return self._query(await read_query(request))
        payload = await request.json()
        if server == "alert":
            self.steps.append(alerted({"to": rest, "payload": payload}))
            return web.Response(text="ok")
        metadata = payload.get("metadata") or {}
        if "eventMessage" in metadata:
            self.steps.append(Told(metadata["eventType"], metadata["eventMessage"], payload["phase"]))
            return web.Response()
        return self._hook(rest.rpartition("/")[2] or request.match_info["namespace"], payload)

    def _query(self, query: str) -> web.Response:
        text = " ".join(query.split())
        use_up = text != ONLINE and not self._failed
        rule, answer = self.prometheus.ask(text, use_up=use_up)
        if use_up:
            self.steps.append(Checked(rule, plain(answer)))
        if text == ONLINE and not rule:
            answer = 1
        if isinstance(answer, dict):
            return web.Response(status=status_of(answer), text=str(answer.get("body", "")))
        return vector(None if answer == "empty" else answer)

    def _hook(self, name: str, payload: Json) -> web.Response:
        turn = self.hooks._turns.get(name, 0)
        answer = in_turn(as_list(self.hooks.scripts.get(name, 200)) or [200], turn)
        kinds = {url_tail(hook["url"]): hook.get("type", "") for hook in self._webhooks()}
        if self._asks or kinds.get(name) != HookType.ROLLBACK.value:
            self.hooks.used(name, 1)
        status = status_of(answer)
        told = tuple(sorted((payload.get("metadata") or {}).items()))
        self.steps.append(Called(name, payload["phase"], status <= PASSES, told))
        body = str(answer.get("body", "")) if isinstance(answer, dict) else f"{name} says {status}"
        return web.Response(status=status, text=body)

    def _webhooks(self) -> list[Json]:
        spec = self.trace.canary["spec"]
        return list((spec.get("analysis") or spec.get("canaryAnalysis") or {}).get("webhooks", ()))

    def _flagger_asks_for_rollbacks(self) -> bool:
        """It does so only while it analyses, and only when both sides are ready."""
        seen = self._driver.observed if self._driver is not None else None
        if seen is None or seen.status.phase not in ACTIVE:
            return False
        sides = (
            (seen.observation.primary, seen.rollout.primary_ready),
            (seen.observation.target, seen.rollout.canary_ready),
        )
        return all(side is not None and not explain_unready(side, threshold) for side, threshold in sides)

    # outside writers ------------------------------------------------------------------------------------------------

    async def act(self, action: Json) -> tuple[Problem, ...]:
        if "hooks" in action:
            self.hooks.update(action["hooks"])
        if "prom" in action:
            self.prometheus = Prometheus(tuple(action["prom"]))
        if "cluster" in action:
            self.rules = tuple(action["cluster"])
        if "delete" in action:
            self._delete(action["delete"])
        if "patch" in action:
            self._patch(action)
        for body in created(action):
            self._saw(self.plane.api.create(self._ours(body), self.trace.namespace))
        if action.get("restartPeer") or CANARY in kinds_of(action):
            self._now = min(self._now + MOMENT, self._next)
            self._wake = self._now
        if action.get("restartPeer"):
            return await self._start()
        await self._settled()
        assert self._canaries is not None
        held = await self._canaries.find(f"{self.trace.namespace}/{self._name}")
        return held.problems if isinstance(held, InvalidCanary) else ()

    def _path(self, body: Json) -> str:
        return self.plane.api.path(body, self.trace.namespace)

    def _patch(self, action: Json) -> None:
        path = self._path({**action, "metadata": {"name": action["name"]}})
        kind = "json-patch" if isinstance(action["patch"], list) else "merge-patch"
        patch = self._ours(action["patch"])
        self._saw(self.plane.api.request("PATCH", path, patch, content=f"application/{kind}+json"))

    def _delete(self, body: Json) -> None:
        self._expected.pop(((body["apiVersion"], body["kind"]), self.trace.namespace, body["metadata"]["name"]), None)
        self.plane.api.delete(self._path(body))


# ------------------------------------------------------------------------------------------- the adapters, looked at


@define(eq=False)
class Wrapped:
    """An adapter, all of whose other methods are its own."""

    inner: Any
    stage: Stage

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Watched(Wrapped):
    """The store: what is committed is part of the story."""

    async def commit(self, key: str, status: Any, version: str) -> str:
        committed = await self.inner.commit(key, status, version)
        body = self.stage.plane.api.get(
            f"{API_GROUP}/namespaces/{key.partition('/')[0]}/canaries/{key.partition('/')[2]}"
        )
        written = (body or {}).get("status", {})
        numbers = (written.get(name, 0) for name in ("canaryWeight", "iterations", "failedChecks"))
        self.stage.stand = Stand(written.get("phase", ""), *numbers)
        self.stage.steps.append(self.stage.stand)
        return committed


class Timed(Wrapped):
    """The workloads: the platform's times are taken for ours, and where pods are not ready its status is as scripted.

    A recording's cluster has no old pods beside new ones that are not ready, and gives up when the script says so.
    """

    async def observe(self, rollout: Any) -> Any:
        found, name = await self.inner.observe(rollout), rollout.target.name
        target, primary = self._scripted(name, found.target), self._scripted(f"{name}-primary", found.primary)
        return evolve(found, target=target, primary=primary)

    def _scripted(self, name: str, workload: Any) -> Any:
        if workload is None:
            return None
        mode = self.stage._missing.get(name)
        if mode and workload.desired:
            stuck = f'deployment "{name}" exceeded its progress deadline' if mode == "stuck" else ""
            wanted, since = workload.desired, -inf  # the same at each look, as the time of the first is what counts
            workload = evolve(workload, updated=wanted, total=wanted, ready=0, stuck=stuck, unready_since=since)
        if workload.unready_since is None:
            return workload
        key = (name, workload.revision, workload.unready_since)
        return evolve(workload, unready_since=self.stage._first_seen.setdefault(key, self.stage._now))


class Judged(Wrapped):
    """The routes: a look waits for the verdict of the gateway, which is late on the wall clock and not on ours."""

    async def observe(self, rollout: Any) -> Any:
        end = time.monotonic() + SETTLING
        while isinstance(routes := await self.inner.observe(rollout), RouteRefusal):
            if not routes.is_pending:
                since = self.stage._first_seen.setdefault((rollout.name, routes.since), self.stage._now)
                return evolve(routes, since=since)
            assert time.monotonic() < end, routes.reason
            await asyncio.sleep(0.05)
        return routes


class InOrder(Wrapped):
    """The metric sources: asked one after the other, as Flagger asks, and told which answers it would have used up."""

    async def query(self, rollout: Any, question: Any) -> Any:
        stage = self.stage
        async with stage._lock:
            analysis = question.key.rpartition("/metric/")[0]
            if analysis != stage._round:
                stage._round, stage._failed = analysis, False
            answer = await self.inner.query(rollout, question)
            if judge(question.check, answer, rollout.min_samples).verdict is not Verdict.PASS:
                stage._failed = True
            return answer
