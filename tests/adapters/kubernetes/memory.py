"""An API server in memory: as much of one as a client, caches and stores can tell from a real one.

    with serving() as server:
        Api(server.access).create(…)

Versions rise with every write and are shared by all kinds; watches resume from a version and get bookmarks; lists come
in pages; there are merge patches, server-side applies that take back what they no longer name, a status subresource,
optimistic locks, finalizers, uids. It admits nearly anything: what a real server would refuse is for tests on one. The
tests on a real server run on this one too, which keeps it true.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from copy import deepcopy

from aiohttp import web
from attrs import Factory, define, field

from canarycore_kubernetes.kinds import KINDS
from canarycore_runtime.mesh import Json, Kind
from tests.controlplane.api import Access
from tests.controlplane.background import in_background

_PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?"
)
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
_OTHERS = (
    Kind("", "v1", "Namespace", "namespaces"),
    Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"),
)
_VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}
_BOOKMARK = 0.5
"""Seconds between bookmarks."""

Ref = tuple[str, str, str, str]
"""Group, plural, namespace and name."""


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


@define
class Server:
    """All objects, and all that happened to them.

    asked: how often what was asked for, as the audit log counts it. tokens: who asked, in order.
    """

    objects: dict[Ref, Json] = Factory(dict)
    kinds: dict[tuple[str, str], Kind] = field(init=False)
    history: list[tuple[int, str, Ref, Json]] = Factory(list)
    asked: Counter[tuple[str, str]] = Factory(Counter)
    tokens: list[str] = Factory(list)
    url: str = ""
    _applied: dict[tuple[Ref, str], Json] = Factory(dict)
    _versions: Iterator[int] = Factory(lambda: itertools.count(1))
    _news: asyncio.Condition = Factory(asyncio.Condition)

    @kinds.default
    def _all_kinds(self) -> dict[tuple[str, str], Kind]:
        return {(kind.group, kind.plural): kind for kind in (*KINDS, *_OTHERS)}

    @property
    def access(self) -> Access:
        return Access(self.url, "secret-of-the-tests")

    @property
    def version(self) -> int:
        return self.history[-1][0] if self.history else 0

    # HTTP -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.01)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        found = _PATH.fullmatch(request.path)
        self.tokens.append(request.headers.get("Authorization", "").removeprefix("Bearer "))
        try:
            if found is None:
                return web.json_response(self._discovered(request.path))
            part = found.groupdict(default="")
            kind = self._kind(part["group"], part["plural"])
            ref = (kind.group, kind.plural, part["namespace"], part["name"])
            self._count(request, kind, part["sub"])
            if request.query.get("watch") == "true":
                return await self._watch(request, kind, ref)
            answer = await self._answer(request, kind, ref, part["sub"])
            return web.json_response(answer, status=201 if request.method == "POST" else 200)
        except Refusal as refusal:
            body = _status(refusal.status, refusal.reason, str(refusal))
            return web.json_response(body, status=refusal.status)

    def _kind(self, group: str, plural: str) -> Kind:
        if (group, plural) not in self.kinds:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        return self.kinds[group, plural]

    def _count(self, request: web.Request, kind: Kind, sub: str) -> None:
        verb = _VERBS[request.method]
        if verb == "get" and request.path.endswith(kind.plural):
            verb = "watch" if request.query.get("watch") == "true" else "list"
        name = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
        self.asked[verb, f"{name}/{sub}" if sub else name] += 1

    async def _answer(self, request: web.Request, kind: Kind, ref: Ref, sub: str) -> Json:
        if request.method == "GET":
            return self._get(ref) if ref[3] else self._list(request, kind, ref)
        body = json.loads(await request.read() or b"null")
        if request.method == "POST":
            return await self._create(kind, ref, body)
        if request.method == "DELETE":
            return await self._delete(ref, body or {})
        return await self._patch(request, kind, ref, body, sub)

    def _discovered(self, path: str) -> Json:
        if path.startswith("/version"):
            return {"major": "1"}
        group = "" if path == "/api/v1" else path.split("/")[2]
        kinds = [kind for kind in self.kinds.values() if kind.group == group]
        resources = [{"name": kind.plural, "kind": kind.kind, "namespaced": kind not in _OTHERS} for kind in kinds]
        return {"resources": resources}

    # reading ----------------------------------------------------------------------------------------------------

    def _get(self, ref: Ref) -> Json:
        if ref not in self.objects:
            raise Refusal(404, "NotFound", f'{ref[1]} "{ref[3]}" not found')
        return self.objects[ref]

    def _list(self, request: web.Request, kind: Kind, ref: Ref) -> Json:
        query = request.query
        begin, _, version = query.get("continue", "").rpartition("@")
        wanted = _Wanted(ref, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        at = int(version or query.get("resourceVersion") or self.version)
        there = self.objects if at >= self.version else self._as_of(at)
        names = sorted(key for key, body in there.items() if wanted.fits(key, body) and "/".join(key) > begin)
        page = names[: int(query.get("limit", len(names) or 1))]
        metadata = {"resourceVersion": str(at)}
        if len(page) < len(names):
            metadata["continue"] = f"{'/'.join(page[-1])}@{at}"
        items = [_seen(there[key], request) for key in page]
        return {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata, "items": items}

    def _as_of(self, version: int) -> dict[Ref, Json]:
        there: dict[Ref, Json] = {}
        for at, event, ref, body in self.history:
            if at > version:
                break
            if event == "DELETED":
                there.pop(ref, None)
            else:
                there[ref] = body
        return there

    async def _watch(self, request: web.Request, kind: Kind, ref: Ref) -> web.StreamResponse:
        query = request.query
        wanted = _Wanted(ref, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        answer = web.StreamResponse()
        await answer.prepare(request)
        place = next((i for i, entry in enumerate(self.history) if entry[0] > int(query["resourceVersion"])), None)
        place = len(self.history) if place is None else place
        while True:
            while place < len(self.history):
                _, event, key, body = self.history[place]
                place += 1
                if wanted.fits(key, body):
                    await answer.write(_line(event, _seen(body, request)))
            try:
                async with asyncio.timeout(_BOOKMARK), self._news:
                    await self._news.wait()
            except TimeoutError:
                metadata = {"resourceVersion": str(self.version)}
                bookmark = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
                await answer.write(_line("BOOKMARK", bookmark))

    # writing ----------------------------------------------------------------------------------------------------

    async def _create(self, kind: Kind, ref: Ref, body: Json) -> Json:
        metadata = body["metadata"]
        ref = (*ref[:3], metadata["name"])
        if not _NAME.fullmatch(metadata["name"]):
            raise Refusal(422, "Invalid", f"{metadata['name']!r}: a lowercase RFC 1123 subdomain must consist of …")
        if ref in self.objects:
            raise Refusal(409, "AlreadyExists", f'{ref[1]} "{ref[3]}" already exists')
        return await self._born(kind, ref, body)

    async def _born(self, kind: Kind, ref: Ref, body: Json) -> Json:
        made = deepcopy(body) | {"apiVersion": kind.api_version, "kind": kind.kind}
        made["metadata"] |= {"uid": str(uuid.uuid4()), "generation": 1}
        if ref[2]:
            made["metadata"]["namespace"] = ref[2]
        if kind.plural == "customresourcedefinitions":
            self._defined(made)
        return await self._keep("ADDED", ref, made)

    def _defined(self, body: Json) -> None:
        spec = body["spec"]
        names = spec["names"]
        kind = Kind(spec["group"], spec["versions"][0]["name"], names["kind"], names["plural"])
        self.kinds[kind.group, kind.plural] = kind
        body["status"] = {"conditions": [{"type": "Established", "status": "True"}]}

    async def _patch(self, request: web.Request, kind: Kind, ref: Ref, body: Json, sub: str) -> Json:
        applies = request.content_type == "application/apply-patch+yaml"
        if ref not in self.objects:
            if not applies:
                raise Refusal(404, "NotFound", f'{ref[1]} "{ref[3]}" not found')
            self._applied[ref, request.query["fieldManager"]] = body
            return await self._born(kind, ref, body)
        before = self.objects[ref]
        lock = body.get("metadata", {}).get("resourceVersion")
        if lock and lock != before["metadata"]["resourceVersion"]:
            raise Refusal(409, "Conflict", f'{ref[1]} "{ref[3]}": the object has been modified')
        after = deepcopy(before)
        if applies:
            manager = (ref, request.query["fieldManager"])
            _take_back(after, self._applied.get(manager, {}), body)
            self._applied[manager] = body
        _merge(after, body)
        after["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
        theirs, ours = ("status", "spec") if sub == "status" else ("spec", "status")
        if ours in before or ours in after:
            after.pop(ours, None)
            after |= {ours: before[ours]} if ours in before else {}
        if sub == "status":
            after["metadata"] = before["metadata"]
        if after == before:
            return before
        if after.get(theirs) != before.get(theirs) and theirs == "spec":
            after["metadata"]["generation"] += 1
        if "deletionTimestamp" in after["metadata"] and not after["metadata"].get("finalizers"):
            await self._keep("DELETED", ref, after)
            return after
        return await self._keep("MODIFIED", ref, after)

    async def _delete(self, ref: Ref, options: Json) -> Json:
        body = self._get(ref)
        uid = options.get("preconditions", {}).get("uid")
        if uid and uid != body["metadata"]["uid"]:
            raise Refusal(409, "Conflict", "the uid in the precondition does not match")
        if body["metadata"].get("finalizers"):
            metadata = body["metadata"] | {"deletionTimestamp": "2024-01-01T00:00:00Z"}
            return await self._keep("MODIFIED", ref, body | {"metadata": metadata})
        if ref[1] == "customresourcedefinitions":
            plural, _, group = ref[3].partition(".")
            del self.kinds[group, plural]
            for other in [key for key in self.objects if key[:2] == (group, plural)]:
                await self._keep("DELETED", other, self.objects[other])
        return await self._keep("DELETED", ref, body)

    async def _keep(self, event: str, ref: Ref, body: Json) -> Json:
        version = next(self._versions)
        body = body | {"metadata": body["metadata"] | {"resourceVersion": str(version)}}
        if event == "DELETED":
            del self.objects[ref]
        else:
            self.objects[ref] = body
        self.history.append((version, event, ref, body))
        async with self._news:
            self._news.notify_all()
        return body


@contextmanager
def serving() -> Iterator[Server]:
    """A server in a thread of its own."""
    server = Server()
    with in_background(server.serve):
        yield server


@define
class _Wanted:
    """Objects of a collection that selectors choose: `a=b` and `a!=b`, of labels, and of metadata.name."""

    ref: Ref
    labels: str
    fields: str

    def fits(self, ref: Ref, body: Json) -> bool:
        if ref[:2] != self.ref[:2] or (self.ref[2] and ref[2] != self.ref[2]):
            return False
        labels = body["metadata"].get("labels", {})
        return _chosen(self.labels, labels) and _chosen(self.fields, {"metadata.name": ref[3]})


def _chosen(selector: str, values: Json) -> bool:
    for term in filter(None, selector.split(",")):
        name, operator, value = re.split(r"(!=|=)", term)
        if (values.get(name) == value) is (operator == "!="):
            return False
    return True


def _seen(body: Json, request: web.Request) -> Json:
    if "PartialObjectMetadata" not in request.headers.get("Accept", ""):
        return body
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": body["metadata"]}


def _line(event: str, body: Json) -> bytes:
    return json.dumps({"type": event, "object": body}).encode() + b"\n"


def _status(code: int, reason: str, message: str) -> Json:
    return {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message}


def _merge(into: Json, patch: Json) -> None:
    """RFC 7386."""
    for name, value in patch.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, dict):
            if not isinstance(into.get(name), dict):
                into[name] = {}
            _merge(into[name], value)
        else:
            into[name] = value


def _take_back(body: Json, before: Json, now: Json) -> None:
    """Remove what an earlier apply named, and this one does not."""
    for name, value in before.items():
        if isinstance(value, dict):
            _take_back(body.get(name, {}), value, now.get(name, {}))
        elif name not in now:
            body.pop(name, None)
