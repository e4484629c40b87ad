"""An API server in memory, for tests of speed and scale: `objects` over HTTP.

    with faked() as server:              # in a thread
        Api(server.access) …
    python -m tests.controlplane.in_memory.server    # in a process of its own: prints its address, ends with its input

It answers get, list (paged), watch (resumed by version, with bookmarks, 410 where history ends), create, update, JSON
merge patch, server-side apply and delete, for objects of any kind, without a check of the user. Deployments and
DaemonSets are ready as soon as they are written, definitions of kinds established. StatefulSets have pods of two
revisions (`stateful_sets`). Each Service with a selector has an EndpointSlice of the ready pods that it selects.
`/counts` returns the number of requests by verb and resource, as the audit log of a real server.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web
from attrs import define, field, frozen

from canarycore_planes.background import in_background
from canarycore_planes.control_plane.api import Access, Json
from canarycore_runtime.mesh import Kind
from tests.controlplane.in_memory.endpoints import EndpointSlices
from tests.controlplane.in_memory.objects import (
    Change,
    Controller,
    Key,
    Objects,
    Refusal,
    Resource,
    Test,
    line,
    only_metadata,
    selection,
)
from tests.controlplane.in_memory.stateful_sets import StatefulSets
from tests.controlplane.verdicts import VERDICTS

BOOKMARK = 60.0
"""Seconds between bookmarks."""

_PATH = re.compile(
    r"^/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<part>[^/]+))?)?$"
)
_GROUP = re.compile(r"^/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))$")
_DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")

_BUILT_IN = {
    "": {
        "Namespace": "namespaces", "Service": "services", "ConfigMap": "configmaps", "Secret": "secrets",
        "Event": "events", "ServiceAccount": "serviceaccounts", "Pod": "pods", "Node": "nodes",
    },
    "apps": {
        "Deployment": "deployments", "DaemonSet": "daemonsets", "StatefulSet": "statefulsets",
        "ReplicaSet": "replicasets", "ControllerRevision": "controllerrevisions",
    },
    "discovery.k8s.io": {"EndpointSlice": "endpointslices"},
    "autoscaling": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    "coordination.k8s.io": {"Lease": "leases"},
    "networking.k8s.io": {"Ingress": "ingresses"},
    "apiextensions.k8s.io": {"CustomResourceDefinition": "customresourcedefinitions"},
}  # fmt: skip
_OF_THE_CLUSTER = {"namespaces", "nodes", "customresourcedefinitions"}


@frozen(kw_only=True)
class _Asked:
    """A parsed request."""

    resource: Resource
    api_version: str
    namespace: str
    name: str
    part: str
    metadata_only: bool
    selected: Test

    @property
    def key(self) -> Key:
        return self.namespace, self.name


@define
class Fake:
    """A running server. Its objects may be read and changed from its own thread only.

    kinds: those that it has without a definition. tokens: who asked, in order.
    """

    objects: Objects
    bookmark: float = BOOKMARK
    kinds: tuple[Kind, ...] = ()
    url: str = ""
    stateful_sets: StatefulSets = field(kw_only=True)
    refuse: Callable[[str, str, str, Json], Refusal | None] = field(default=lambda *_: None, init=False)
    """Return the refusal of a request: by verb, plural, name and body."""
    tokens: list[str] = field(factory=list, init=False)
    counts: Counter[tuple[str, str]] = field(factory=Counter, init=False)

    @property
    def access(self) -> Access:
        return Access(self.url, "anybody")

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[None]:
        """Serve in the event loop of the caller."""
        runner = web.ServerRunner(
            web.Server(self._handle, access_log=None, handler_cancellation=True), shutdown_timeout=0.1
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        host, found = runner.addresses[0][:2]
        self.url = f"http://{host}:{found}"
        try:
            yield
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except Refusal as refusal:
            return _json(_status(refusal), refusal.status)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if (about := _ABOUT.get(request.path)) is not None:
            return _json(about(self))
        if found := _GROUP.match(request.path):
            return _json(self._discovered(found["group"] or "", found["core"] or found["version"]))
        asked = _asked(request)
        if not self._serves(asked.resource):
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        verb = _verb(request, asked)
        self._count(verb, asked)
        self.tokens.append(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if verb == "watch" and (refusal := self.refuse(verb, asked.resource[1], "", {})) is not None:
            raise refusal
        if verb == "watch":
            return await self._watch(request, asked)
        body = await _body(request) if request.can_read_body else {}
        name = asked.name or body.get("metadata", {}).get("name", "")
        if (refusal := self.refuse(verb, asked.resource[1], name, body)) is not None:
            raise refusal
        return _ANSWERS[verb](self, request, asked, body)

    def _serves(self, resource: Resource) -> bool:
        """Check whether the server has the kind: built in, defined, or with an object that has no definition."""
        group, plural = resource
        built_in = plural in _BUILT_IN.get(group, {}).values()
        given = any((one.group, one.plural) == resource for one in self.kinds)
        defined = ("", f"{plural}.{group}") in self.objects.table(_DEFINITIONS).objects
        return built_in or given or defined or bool(self.objects.table(resource).objects)

    def _count(self, verb: str, asked: _Asked) -> None:
        group, plural = asked.resource
        kind = f"{plural}.{group}" if group else plural
        self.counts[verb, f"{kind}/{asked.part}" if asked.part else kind] += 1

    def _discovered(self, group: str, version: str) -> Json:
        found = {kind: (plural, plural not in _OF_THE_CLUSTER) for kind, plural in _BUILT_IN.get(group, {}).items()}
        found |= {kind.kind: (kind.plural, kind.namespaced) for kind in self.kinds if kind.group == group}
        for body in self.objects.table(_DEFINITIONS).objects.values():
            spec = body["spec"]
            if spec["group"] == group:
                found[spec["names"]["kind"]] = spec["names"]["plural"], spec["scope"] == "Namespaced"
        resources = [{"name": name, "kind": kind, "namespaced": inside} for kind, (name, inside) in found.items()]
        return {"kind": "APIResourceList", "groupVersion": f"{group}/{version}".lstrip("/"), "resources": resources}

    # one verb each ----------------------------------------------------------------------------------------------

    def _get(self, _: web.BaseRequest, asked: _Asked, __: Json) -> web.Response:
        found = self.objects.get(asked.resource, asked.key)
        return _json(only_metadata(found) if asked.metadata_only else found)

    def _list(self, request: web.BaseRequest, asked: _Asked, _: Json) -> web.Response:
        """A later page is of now, with the version of the first: what happened meanwhile is told to whoever watches."""
        version, after = _resumed(request.query.get("continue", "")) or (self.objects.version, None)
        limit = int(request.query.get("limit", 0))
        page = self.objects.page(asked.resource, asked.namespace, asked.selected, limit, after)
        meta: Json = {"resourceVersion": str(version)}
        if page.following is not None:
            meta |= {"continue": _token(version, page.following), "remainingItemCount": page.left}
        items = [only_metadata(body) for body in page.items] if asked.metadata_only else page.items
        return _json({"kind": "List", "apiVersion": asked.api_version, "metadata": meta, "items": items})

    def _create(self, _: web.BaseRequest, asked: _Asked, body: Json) -> web.Response:
        if asked.part == "eviction":
            uid = body.get("deleteOptions", {}).get("preconditions", {}).get("uid", "")
            self.objects.delete(asked.resource, asked.key, uid)
            return _json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, 201)
        return _json(self.objects.create(asked.resource, asked.namespace, body), 201)

    def _update(self, _: web.BaseRequest, asked: _Asked, body: Json) -> web.Response:
        return _json(self.objects.replace(asked.resource, asked.key, body, asked.part))

    def _patch(self, request: web.BaseRequest, asked: _Asked, body: Json) -> web.Response:
        if request.content_type == "application/apply-patch+yaml":
            manager = request.query.get("fieldManager", "")
            objects = self.objects.copy() if request.query.get("dryRun") == "All" else self.objects
            return _json(objects.apply(asked.resource, asked.key, body, manager, asked.part))
        if request.content_type != "application/merge-patch+json":
            raise Refusal(
                415, "UnsupportedMediaType", f"found {request.content_type}, expected a merge patch or an apply"
            )
        return _json(self.objects.merge(asked.resource, asked.key, body, asked.part))

    def _delete(self, _: web.BaseRequest, asked: _Asked, body: Json) -> web.Response:
        conditions = body.get("preconditions", {})
        wanted = conditions.get("uid", ""), conditions.get("resourceVersion", "")
        gone = self.objects.delete(asked.resource, asked.key, *wanted)
        if asked.resource == _DEFINITIONS:  # the deletion includes the objects
            defined = gone["spec"]["group"], gone["spec"]["names"]["plural"]
            for key in tuple(self.objects.table(defined).objects):
                self.objects.delete(defined, key)
        return _json(gone)

    async def _watch(self, request: web.BaseRequest, asked: _Asked) -> web.StreamResponse:
        """Stream the changes since a version, then new ones; without a version, first all objects."""
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        version = request.query.get("resourceVersion", "")
        waiting: asyncio.Queue[bytes] = asyncio.Queue()

        def tell(change: Change) -> None:
            if event := _event(change, asked):
                waiting.put_nowait(change.line(event, metadata_only=asked.metadata_only))

        try:
            changes = self.objects.since(asked.resource, int(version)) if version not in {"", "0"} else ()
        except Refusal as refusal:  # an event, as on a real server
            await answer.prepare(request)
            await answer.write(line("ERROR", _status(refusal)))
            return answer
        table = self.objects.table(asked.resource)
        if version in {"", "0"}:
            for body in table.objects.values():
                tell(Change(self.objects.version, None, body))
        for change in changes:
            tell(change)
        table.watchers.add(tell)
        try:
            await answer.prepare(request)
            await self._stream(request, answer, waiting, asked)
        finally:
            table.watchers.discard(tell)
        return answer

    async def _stream(
        self, request: web.BaseRequest, answer: web.StreamResponse, waiting: asyncio.Queue[bytes], asked: _Asked
    ) -> None:
        """Send events until the client goes or its time is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + float(request.query.get("timeoutSeconds", "inf"))
        marks = request.query.get("allowWatchBookmarks") == "true"
        while (left := end - loop.time()) > 0:
            version = self.objects.version
            try:
                lines = [await asyncio.wait_for(waiting.get(), min(left, self.bookmark))]
            except TimeoutError:
                lines = [line("BOOKMARK", _mark(asked, version))] if marks and waiting.empty() else []
            while not waiting.empty():
                lines.append(waiting.get_nowait())
            await answer.write(b"".join(lines))


_Answer = Callable[[Fake, web.BaseRequest, _Asked, Json], web.Response]
_ANSWERS: dict[str, _Answer] = {
    "get": Fake._get,
    "list": Fake._list,
    "create": Fake._create,
    "update": Fake._update,
    "patch": Fake._patch,
    "delete": Fake._delete,
}
_ABOUT: dict[str, Callable[[Fake], Json]] = {
    "/version": lambda _: {"major": "1", "minor": "34", "gitVersion": "v1.34.4"},
    "/counts": lambda fake: {"counts": [[*asked, count] for asked, count in fake.counts.items()]},
}


def fake(kinds: Iterable[Kind] = (), *, bookmark: float = BOOKMARK, remembered: int | None = None) -> Fake:
    """Return a server that does not serve yet. `kinds` are further kinds without a definition."""
    objects = Objects(dict(CONTROLLERS))  # a test may replace one
    stateful_sets = StatefulSets(objects)
    objects.followers += [stateful_sets.follow, EndpointSlices(objects).follow]
    if remembered is not None:
        objects.remembered = remembered
    return Fake(objects, bookmark, tuple(kinds), stateful_sets=stateful_sets)


@contextmanager
def faked(kinds: Iterable[Kind] = (), *, bookmark: float = BOOKMARK, remembered: int | None = None) -> Iterator[Fake]:
    """Run a server in a thread of its own."""
    server = fake(kinds, bookmark=bookmark, remembered=remembered)
    with in_background(server.serving):
        yield server


# ------------------------------------------------------------------------------------------------------ controllers


def deployment_status(body: Json) -> Json:
    """Return the status of a Deployment with all replicas ready."""
    count = body["spec"].get("replicas", 1)
    names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    available = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}
    progressing = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
    return {
        "observedGeneration": body["metadata"]["generation"],
        **dict.fromkeys(names, count or None),
        "conditions": [available, progressing],
    }


def daemon_set_status(body: Json) -> Json:
    """Return the status of a DaemonSet on one node without labels: one with a node selector has no pod."""
    count = 0 if body["spec"]["template"]["spec"].get("nodeSelector") else 1
    names = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "updatedNumberScheduled",
        "numberReady",
        "numberAvailable",
    )
    return {
        "observedGeneration": body["metadata"]["generation"],
        "numberMisscheduled": 0,
        **dict.fromkeys(names, count),
    }


def _definition_status(_: Json) -> Json:
    return {"conditions": [{"type": "Established", "status": "True"}]}


CONTROLLERS: dict[Resource, Controller] = {
    ("apps", "deployments"): deployment_status,
    ("apps", "daemonsets"): daemon_set_status,
    _DEFINITIONS: _definition_status,
    **VERDICTS,
}


# ---------------------------------------------------------------------------------------------------------- helpers


def _asked(request: web.BaseRequest) -> _Asked:
    found = _PATH.match(request.path)
    if found is None:
        raise Refusal(404, "NotFound", "the server could not find the requested resource")
    group, version = found["group"] or "", found["core"] or found["version"]
    query = request.query
    return _Asked(
        resource=(group, found["plural"]),
        api_version=f"{group}/{version}".lstrip("/"),
        namespace=found["namespace"] or "",
        name=found["name"] or "",
        part=found["part"] or "",
        metadata_only="as=PartialObjectMetadata" in request.headers.get("Accept", ""),
        selected=selection(query.get("labelSelector", ""), query.get("fieldSelector", "")),
    )


_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


async def _body(request: web.BaseRequest) -> Json:
    try:
        body: Json = await request.json()
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "BadRequest", f"the body of the request cannot be read: {error}") from error
    return body


def _verb(request: web.BaseRequest, asked: _Asked) -> str:
    if request.method != "GET":
        return _VERBS[request.method]
    if asked.name:
        return "get"
    return "watch" if request.query.get("watch") in {"1", "true"} else "list"


def _event(change: Change, asked: _Asked) -> str:
    body = change.after if change.after is not None else change.before
    assert body is not None
    if asked.namespace and body["metadata"].get("namespace") != asked.namespace:
        return ""
    return change.event(asked.selected)


def _mark(asked: _Asked, version: int) -> Json:
    return {"apiVersion": asked.api_version, "kind": "Bookmark", "metadata": {"resourceVersion": str(version)}}


def _token(version: int, key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps([version, *key]).encode()).decode()


def _resumed(token: str) -> tuple[int, Key] | None:
    if not token:
        return None
    version, namespace, name = json.loads(base64.urlsafe_b64decode(token))
    return version, (namespace, name)


def _status(refusal: Refusal) -> Json:
    about = {"reason": refusal.reason, "message": str(refusal), "code": refusal.status}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", **about}


def _json(body: Json, status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(body).encode(), status=status, content_type="application/json")


async def _until_the_owner_goes() -> None:
    server = fake()
    async with server.serving():
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_until_the_owner_goes())
