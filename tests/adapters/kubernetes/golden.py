"""The objects that Flagger wrote in the golden traces, each with the objects at that time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from canarycore.manifest import Canary, parse
from canarycore_kubernetes.api.kinds import DAEMON_SET, DEPLOYMENT
from canarycore_kubernetes.api.metadata import owner_reference
from canarycore_kubernetes.workloads.revision import without_defaults
from tests.conformance.conftest import SHARED, traces
from tests.conformance.objects import Objects, patched
from tests.conformance.trace import Trace, read

Json = dict[str, Any]

KINDS = {
    "deployments": "Deployment",
    "daemonsets": "DaemonSet",
    "configmaps": "ConfigMap",
    "secrets": "Secret",
    "horizontalpodautoscalers": "HorizontalPodAutoscaler",
    "scaledobjects": "ScaledObject",
    "services": "Service",
}

OWNER = {key: value for key, value in owner_reference("podinfo", "").items() if key != "uid"}
"""As traces have it: uids are left out."""


@frozen(kw_only=True)
class Writing:
    """A write of Flagger's: the object before it (None: it made it) and after it, and all that was there before."""

    kind: str
    before: Json | None
    after: Json
    there: Objects
    trace: Trace

    @property
    def canary(self) -> Canary:
        found = parse(self.trace.canary)
        assert isinstance(found, Canary)
        return found

    @property
    def name(self) -> str:
        return self.after["metadata"]["name"]

    def original(self) -> Json:
        """Return the original of an object of the primary or of the canary."""
        found = self.there.get(self.kind, self.name.rpartition("-")[0])
        assert found is not None, f"{self.name} is a copy of something"
        return found


def recorded() -> list[Any]:
    """The folders of the traces, as test parameters; where there are none the test is skipped, or fails in CI."""
    found = [pytest.param(folder, id=folder.name) for folder in traces(SHARED)]
    missing = pytest.mark.skipif("CI" not in os.environ, reason="no golden traces beside the repository")
    return found or [pytest.param(SHARED, id="no-golden-traces", marks=missing)]


def writings(folder: Path) -> Iterator[Writing]:
    """All writes of the kinds above that succeeded, but for those of statuses, in order."""
    trace = read(folder)
    there = Objects(_placed(trace, body) for body in trace.objects)
    for frame in trace.timeline:
        action = frame.get("action", {})
        if "patch" in action:
            there.patch(action["kind"], action["name"], action["patch"])
        for step in frame.get("steps", ()):
            verb, _, place = step.get("write", "").partition(" ")
            plural, _, name = place.partition("/")
            if plural not in KINDS or "/" in name or step.get("code", 200) >= 300:
                continue
            before = there.get(KINDS[plural], name)
            change = step.get("object", step.get("diff", step.get("patch")))
            after = patched({} if verb == "create" else before, change)
            yield Writing(kind=KINDS[plural], before=before, after=after, there=there, trace=trace)
            there.put(after)


def _placed(trace: Trace, body: Json) -> Json:
    placed = body | {"metadata": {"namespace": trace.namespace} | body["metadata"]}
    return {"type": "Opaque", **placed} if body["kind"] == "Secret" else placed


# --------------------------------------------------------------------------------------------------------- comparison


def bare(body: Json) -> Json:
    """An object without what the API server fills in, ids, empty mappings, and annotations of ours."""
    found = dict(body)
    if body["kind"] in (DEPLOYMENT.kind, DAEMON_SET.kind):
        spec = {key: value for key, value in body["spec"].items() if _DEFAULTS.get(key) != value}
        spec["template"] = without_defaults(spec["template"])
        spec["template"]["metadata"].setdefault("annotations", {}).pop("flagger-id", None)
        found["spec"] = spec
    if body["kind"] == "Service":
        ports = [{"protocol": "TCP", "targetPort": port["port"]} | port for port in body["spec"].get("ports", ())]
        found["spec"] = {"sessionAffinity": "None"} | body["spec"] | {"ports": ports}
    metadata = dict(body["metadata"])
    annotations = metadata.get("annotations") or {}
    metadata["annotations"] = {key: text for key, text in annotations.items() if not key.startswith(_CLUSTERS_OWN)}
    return _full(found | {"metadata": metadata})


_CLUSTERS_OWN = ("canarycore/", "deprecated.daemonset.template.generation", "deployment.kubernetes.io/revision")

_DEFAULTS = {
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
    "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
    "revisionHistoryLimit": 10,
    "progressDeadlineSeconds": 600,
}


def _full(value: Any) -> Any:
    if isinstance(value, list):
        return [_full(item) for item in value]
    if not isinstance(value, dict):
        return value
    full = {key: _full(item) for key, item in value.items()}
    return {key: item for key, item in full.items() if item not in ({}, [], None)}
