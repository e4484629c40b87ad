"""Pods without containers that get ready by rules, on one node. It also schedules them.

    kubelet.rules(PodRule(name="podinfo", image="6.0.1", mode="never"))
    kubelet.rules(PodRule(name="podinfo", mode="ready", after=5))

The first rule that matches a pod applies to it; a pod without a rule is ready at once. New rules apply to existing
pods too. A deletion of a pod takes effect at once.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal

import aiohttp
from attrs import define, field, frozen

from canarycore_planes.background import in_background
from canarycore_planes.control_plane.api import Access, Json

NODE = "node-1"

_PODS = "/api/v1/pods"
_NODES = "/api/v1/nodes"
_PATCH = "application/strategic-merge-patch+json"
_AT_ONCE = 32
_MANAGED = ("pod-template-hash", "controller-revision-hash")

Mode = Literal["ready", "never", "crash"]


@frozen(kw_only=True)
class PodRule:
    """A rule for the pods of a workload: ready after some seconds, crashing again and again, or never ready.

    `name` is the workload's, `image` a part of the image of any container; empty matches all.
    """

    namespace: str = ""
    name: str = ""
    image: str = ""
    mode: Mode = "ready"
    after: float = 0


AT_ONCE = PodRule()


@frozen(kw_only=True)
class _Pod:
    """The projection of a pod."""

    namespace: str
    name: str
    uid: str
    workload: str
    images: tuple[str, ...]
    containers: tuple[str, ...]
    gates: tuple[str, ...]
    bound: bool
    leaving: bool

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"


@define
class Kubelet:
    """The kubelet of the only node."""

    access: Access
    _rules: tuple[PodRule, ...] = field(default=(), init=False)
    _pods: dict[str, _Pod] = field(factory=dict, init=False)
    _tasks: dict[str, asyncio.Task[None]] = field(factory=dict, init=False)
    _said: dict[str, Mode] = field(factory=dict, init=False)
    _addresses: dict[str, str] = field(factory=dict, init=False)
    _free: Iterator[IPv4Address] = field(factory=lambda: IPv4Network("10.0.0.0/11").hosts(), init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _session: aiohttp.ClientSession | None = field(default=None, init=False)

    def rules(self, *rules: PodRule) -> None:
        """Replace the rules. Without rules all pods are ready at once."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._change, rules)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run in a thread of its own."""
        with in_background(self._serve) as loop:
            self._loop = loop
            yield

    # ----------------------------------------------------------------------------------------------- in its thread

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[None]:
        context = ssl.create_default_context(cafile=self.access.authority) if self.access.authority else True
        headers = {"Authorization": f"Bearer {self.access.token}"}
        limits = aiohttp.TCPConnector(ssl=context, limit=_AT_ONCE)
        whole = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            self.access.server, connector=limits, headers=headers, timeout=whole
        ) as session:
            self._session = session
            await self._ask("POST", _NODES, _node())
            await self._ask("PATCH", f"{_NODES}/{NODE}", {"spec": {"taints": None}}, _PATCH)  # a new node is not ready
            watching = asyncio.create_task(self._watch())
            try:
                yield
            finally:
                tasks = [watching, *self._tasks.values()]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                answer = await self._ask("GET", _PODS)
                if answer is not None:
                    self._pods.clear()
                    for body in answer["items"]:
                        self._see(body)
                    await self._follow(answer["metadata"]["resourceVersion"])
            await asyncio.sleep(0.2)

    async def _follow(self, version: str) -> None:
        assert self._session is not None
        query = {"watch": "true", "resourceVersion": version}
        async with self._session.get(_PODS, params=query) as answer:
            buffer = b""
            async for chunk in answer.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in filter(None, lines):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        return
                    if event["type"] == "DELETED":
                        self._forget(event["object"]["metadata"]["uid"])
                    else:
                        self._see(event["object"])

    def _see(self, body: Json) -> None:
        pod = _known(body)
        before = self._pods.get(pod.uid)
        self._pods[pod.uid] = pod
        if before is None or before.leaving != pod.leaving:
            self._take_up(pod.uid)

    def _forget(self, uid: str) -> None:
        for known in (self._pods, self._said, self._addresses):
            known.pop(uid, None)
        if task := self._tasks.pop(uid, None):
            task.cancel()

    def _change(self, rules: tuple[PodRule, ...]) -> None:
        before = {uid: self._rule(pod) for uid, pod in self._pods.items()}
        self._rules = rules
        for uid, pod in self._pods.items():
            if self._rule(pod) != before[uid]:
                self._take_up(uid)

    def _take_up(self, uid: str) -> None:
        if task := self._tasks.pop(uid, None):
            task.cancel()
        self._tasks[uid] = asyncio.create_task(self._care(uid))

    async def _care(self, uid: str) -> None:
        """Bring one pod to the state of its rule."""
        pod = self._pods[uid]
        if pod.leaving:
            await self._ask("DELETE", pod.path, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})
            return
        rule = self._rule(pod)
        if not pod.bound:
            await self._ask("POST", f"{pod.path}/binding", _binding(pod))
        if rule.after and self._said.get(uid) != rule.mode:
            await self._say(pod, "never")
            await asyncio.sleep(rule.after)
        await self._say(pod, rule.mode)

    async def _say(self, pod: _Pod, mode: Mode) -> None:
        if self._said.get(pod.uid) == mode:
            return
        if pod.uid not in self._addresses:
            self._addresses[pod.uid] = str(next(self._free))
        body = {"metadata": {"uid": pod.uid}, "status": _status(pod, mode, self._addresses[pod.uid])}
        if await self._ask("PATCH", f"{pod.path}/status", body, _PATCH):
            self._said[pod.uid] = mode

    def _rule(self, pod: _Pod) -> PodRule:
        return next((rule for rule in self._rules if _matches(rule, pod)), AT_ONCE)

    async def _ask(
        self, method: str, path: str, body: Json | None = None, content: str = "application/json"
    ) -> Json | None:
        """Send a request; return None if it fails, because the watch reports deleted or changed objects."""
        assert self._session is not None
        data = None if body is None else json.dumps(body).encode()
        async with self._session.request(method, path, data=data, headers={"Content-Type": content}) as answer:
            found: Json = json.loads(await answer.read())
            return found if answer.status < 400 else None


# ---------------------------------------------------------------------------------------------------------- helpers


def _matches(rule: PodRule, pod: _Pod) -> bool:
    return (
        rule.namespace in {"", pod.namespace}
        and rule.name in {"", pod.workload}
        and any(rule.image in image for image in pod.images)
    )


def _known(body: Json) -> _Pod:
    meta, spec = body["metadata"], body["spec"]
    return _Pod(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        workload=_workload(meta),
        images=tuple(container["image"] for container in spec["containers"]),
        containers=tuple(container["name"] for container in spec["containers"]),
        gates=tuple(gate["conditionType"] for gate in spec.get("readinessGates", [])),
        bound=bool(spec.get("nodeName")),
        leaving="deletionTimestamp" in meta,
    )


def _workload(meta: Json) -> str:
    """Return the name of the owner; for a ReplicaSet, that of its Deployment."""
    owner = next((owner["name"] for owner in meta.get("ownerReferences", []) if owner.get("controller")), meta["name"])
    template = meta.get("labels", {}).get("pod-template-hash")
    return str(owner).removesuffix(f"-{template}") if template else str(owner)


def _binding(pod: _Pod) -> Json:
    target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
    return {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name, "uid": pod.uid}, "target": target}


def _status(pod: _Pod, mode: Mode, address: str) -> Json:
    """Return the status as a kubelet reports it."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = mode == "ready"
    truth = "True" if ready else "False"
    running: Json = {"running": {"startedAt": now}}
    crashing: Json = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
    conditions = {"PodScheduled": "True", "Initialized": "True", "ContainersReady": truth, "Ready": truth}
    conditions |= dict.fromkeys(pod.gates, truth)
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "conditions": [{"type": key, "status": value, "lastTransitionTime": now} for key, value in conditions.items()],
        "containerStatuses": [
            {
                "name": name,
                "image": image,
                "imageID": "",
                "ready": ready,
                "started": mode != "crash",
                "restartCount": 3 if mode == "crash" else 0,
                "state": crashing if mode == "crash" else running,
            }
            for name, image in zip(pod.containers, pod.images, strict=True)
        ],
    }


def _node() -> Json:
    labels = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}
    capacity = {"cpu": "1000", "memory": "1000Gi", "pods": "100000"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    status: dict[str, Any] = {"capacity": capacity, "allocatable": capacity, "conditions": [ready]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}, "status": status}
