"""A replay of Flagger: it repeats the recorded writes tick by tick and serves the recorded metrics.

    peer = Peer(recording("01-istio-canary-promote"), namespace, api)
    peer.begin()
    for frame in peer.frames:
        peer.play(frame)

Pods are the platform's own: after each tick one waits until it has followed.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from attrs import define, field

from canarycore.questions import MetricAnswer
from canarycore_planes.control_plane.api import eventually
from tests.controlplane import endpoints
from tests.manifest.samples import shared

AUTHOR = "flagger"


def recording(name):
    return json.loads((shared("golden") / name / "trace.json").read_text())


class Peer:
    def __init__(self, trace, namespace, api):
        recorded = next(flag for flag in trace["flags"] if "-namespace=" in flag).partition("=")[2]
        self.trace = json.loads(re.sub(rf"(?<![a-z0-9]){recorded}(?![a-z0-9])", namespace, json.dumps(trace)))
        flags = (flag.partition("=") for flag in trace["flags"])
        self.provider = next((value for name, _, value in flags if name == "-mesh-provider"), "istio")
        self.namespace, self.api = namespace, api
        self.frames = self.trace["timeline"]
        self.metrics = Metrics()
        self.moves = 0
        self.now = self.base = datetime.now(UTC).timestamp()
        self._paths, self._stand, self._since = {}, None, ""

    @property
    def name(self):
        return self.trace["input"]["canary"]["metadata"]["name"]

    @property
    def key(self):
        return f"{self.namespace}/{self.name}"

    def begin(self):
        """Create the objects that exist before Flagger starts."""
        for body in self.trace["input"]["objects"]:
            self._create(body)
        self.canary = self._create(self.trace["input"]["canary"])

    def play(self, frame):
        """Repeat one tick, or an action between ticks. The recorded clock is never behind the API server's."""
        elapsed = frame.get("t", self.now - self.base)
        self.base = max(self.base, datetime.now(UTC).timestamp() - elapsed)
        self.now = self.base + elapsed
        steps = frame.get("steps", ())
        asked = [step["query"]["answer"] for step in steps if "query" in step and _asks(step["query"])]
        self.metrics.answers = asked or self.metrics.answers
        for step in steps:
            if "write" in step and step.get("code", 200) < 300:
                self._write(step)
        action = frame.get("action", {})
        if "patch" in action:
            kind = "json-patch" if isinstance(action["patch"], list) else "merge-patch"
            path = self.api.path({**action, "metadata": {"name": action["name"]}}, self.namespace)
            self.api.request("PATCH", path, action["patch"], content=f"application/{kind}+json")
        eventually(self._has_followed)

    def _write(self, step):
        verb, _, place = step["write"].partition(" ")
        if verb == "create":
            self._create(step["object"])
        elif place.startswith("canaries/status/"):
            self._move(step["status"])
        elif changes := step.get("diff") or step.get("patch"):
            self.api.patch(self._paths[place], changes)

    def _create(self, body):
        for owner in body["metadata"].get("ownerReferences", ()):
            owner["uid"] = self.canary["metadata"]["uid"]
        path = self.api.path(body, self.namespace)
        self._paths["/".join(path.split("/")[-2:])] = path
        return self.api.request("POST", path.rpartition("/")[0], body, fieldManager=AUTHOR)

    def _move(self, status):
        stand = tuple(status.get(name) for name in ("phase", "canaryWeight", "iterations", "failedChecks"))
        self.moves += stand != self._stand
        if self._stand is None or stand[0] != self._stand[0]:
            self._since = datetime.fromtimestamp(self.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._stand = stand
        path = f"{self._paths[f'canaries/{self.name}']}/status"
        self.api.patch(path, {"status": {**status, "lastTransitionTime": self._since}})

    def _has_followed(self):
        found = self.api.list(f"/apis/apps/v1/namespaces/{self.namespace}/deployments")
        slices = endpoints.list_slices(self.api, self.namespace)
        return all(map(_follows, found)) and endpoints.have_followed(self.api, self.namespace, slices)

    def versions(self):
        """Return the versions that the caches must reach, by the kind and name of workloads and endpoints."""
        found = self.api.list(f"/apis/apps/v1/namespaces/{self.namespace}/deployments")
        bodies = [*({"kind": "Deployment", **body} for body in found), *endpoints.list_slices(self.api, self.namespace)]
        return {(body["kind"], body["metadata"]["name"]): int(body["metadata"]["resourceVersion"]) for body in bodies}


@define
class Metrics:
    """The port MetricSource: the last recorded answers, in the order of the checks."""

    answers: list = field(factory=list)

    async def query(self, rollout, question):
        place = rollout.checks.index(question.check)
        answer = self.answers[place] if place < len(self.answers) else None
        if isinstance(answer, dict):
            return MetricAnswer(error=str(answer))
        return MetricAnswer(value=None if answer in (None, "empty") else float(answer))

    async def online(self, rollout):
        return ""


def _asks(query):
    """Check whether a query is about a canary, and not a probe of the server."""
    return query["q"] != "vector(1)"


def _follows(body):
    status, wanted = body.get("status", {}), body["spec"]["replicas"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return status.get("observedGeneration", 0) >= body["metadata"]["generation"] and counts == [wanted] * 3
