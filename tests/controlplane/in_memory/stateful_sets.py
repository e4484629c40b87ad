"""The StatefulSet controller of the API server in memory: pods by their ordinals, two revisions and the partition.

It works as the one of Kubernetes does, without its delays: the pod of the highest ordinal is replaced first, one after
the other, and only while each pod above is ready. A pod below the partition keeps its revision until it is deleted; its
successor has the current one. A revision becomes the current one when all pods have it and are ready. A pod is ready at
once, unless `is_ready` says otherwise about its image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field

from canarycore_planes.control_plane.api import Json

if TYPE_CHECKING:
    from tests.controlplane.in_memory.objects import Key, Objects, Resource

SETS, PODS = ("apps", "statefulsets"), ("", "pods")
REVISION = "controller-revision-hash"


@define(eq=False)
class StatefulSets:
    """The controller of all StatefulSets. Give `follow` to the objects as a follower."""

    objects: Objects
    is_ready: Callable[[str], bool] = field(default=lambda _: True)
    """Whether a pod of an image gets ready."""
    _templates: dict[str, Json] = field(factory=dict)
    """The pod templates by their revisions."""
    _waiting: list[Key] = field(factory=list)
    _is_busy: bool = False

    def follow(self, resource: Resource, key: Key, body: Json | None) -> None:
        """Take up a change of a StatefulSet or of a pod."""
        if resource == SETS and body is not None:
            self._waiting.append(key)
        elif resource == PODS and body is None:
            self._waiting.append((key[0], key[1].rpartition("-")[0]))
        if self._is_busy:
            return  # a write of this controller itself
        self._is_busy = True
        try:
            while self._waiting:
                self._run(self._waiting.pop())
        finally:
            self._is_busy = False

    def _run(self, key: Key) -> None:
        while (body := self.objects.table(SETS).objects.get(key)) is not None and self._step(key, body):
            pass

    def _step(self, key: Key, body: Json) -> bool:
        """Take one step, and return whether there may be another."""
        spec, status = body["spec"], body.get("status", {})
        update = self._revision(key, spec["template"])
        current = status.get("currentRevision") or update
        replicas = spec.get("replicas", 1)
        partition = spec.get("updateStrategy", {}).get("rollingUpdate", {}).get("partition", 0)
        pods = [self.objects.table(PODS).objects.get((key[0], f"{key[1]}-{ordinal}")) for ordinal in range(replicas)]
        found = [pod for pod in pods if pod is not None]
        ready = [pod for pod in found if self._serves(pod)]
        if len(ready) == replicas and all(_revision_of(pod) == update for pod in found):
            current = update
        written = {
            "observedGeneration": body["metadata"]["generation"],
            "currentRevision": current,
            "updateRevision": update,
            "replicas": len(found),
            "readyReplicas": len(ready),
            "availableReplicas": len(ready),
            "currentReplicas": sum(_revision_of(pod) == current for pod in found),
            "updatedReplicas": sum(_revision_of(pod) == update for pod in found),
        }
        if written != status:
            self.objects.merge(SETS, key, {"status": written}, "status")
        return self._create(key, body, pods, partition, current, update) or self._replace(pods, partition, update)

    def _create(self, key: Key, body: Json, pods: list[Json | None], partition: int, current: str, update: str) -> bool:
        """Create the first missing pod, and wait for the pods before it."""
        for ordinal, pod in enumerate(pods):
            if pod is None:
                self._create_pod(key, body, ordinal, current if ordinal < partition else update)
                return True
            if not self._serves(pod):
                return False
        last = (key[0], f"{key[1]}-{len(pods)}")
        if last not in self.objects.table(PODS).objects:
            return False
        self.objects.delete(PODS, last)
        return True

    def _create_pod(self, key: Key, body: Json, ordinal: int, revision: str) -> None:
        template = self._templates[revision]
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": key[1], "uid": body["metadata"]["uid"]}
        name = f"{key[1]}-{ordinal}"
        labels = template["metadata"]["labels"] | {REVISION: revision, "statefulset.kubernetes.io/pod-name": name}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels, "ownerReferences": [{**owner, "controller": True}]},
            "spec": template["spec"],
        }
        self.objects.create(PODS, key[0], pod)
        ready = "True" if self.is_ready(template["spec"]["containers"][0]["image"]) else "False"
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
        self.objects.merge(PODS, (key[0], name), {"status": status}, "status")

    def _replace(self, pods: list[Json | None], partition: int, update: str) -> bool:
        """Delete the next pod above the partition that has another revision."""
        for pod in reversed(pods[partition:]):
            assert pod is not None, "missing pods are created first"
            if _revision_of(pod) != update:
                self.objects.delete(PODS, (pod["metadata"]["namespace"], pod["metadata"]["name"]))
                return True
        return False

    def _revision(self, key: Key, template: Json) -> str:
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
        revision = f"{key[1]}-{digest}"
        self._templates[revision] = template
        return revision

    def _serves(self, pod: Json) -> bool:
        conditions = pod.get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _revision_of(pod: Json) -> str:
    return str(pod["metadata"]["labels"][REVISION])
