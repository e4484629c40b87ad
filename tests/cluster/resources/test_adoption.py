"""The controller takes over the recorded final states of Flagger, each in a namespace of its own.

It stores each adopted status, and writes nothing else.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from pathlib import Path

import pytest
from attrs import define

from canarycore.phases import FINISHED, Rule
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import CANARY
from canarycore_kubernetes.controller import open_adapters
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_planes.control_plane.api import Access
from canarycore_runtime import Runner
from tests.cluster.patience import until
from tests.conformance.conftest import SHARED, traces
from tests.controlplane.rights import installed

BUT_FOR = {"08-istio-session-affinity": re.compile(r"Cookie|generation")}
"""The expected writes: the value of the reverted cookie is the revision, so it changes."""


FINISHED_NAMES = {phase.value for phase in FINISHED}


def is_finished(folder: Path) -> bool:
    """Whether the recording ends with nothing under way, on a platform that is there: Knative's own state is not."""
    content = json.loads((folder / "trace.json").read_text())
    statuses = content["statuses"]
    return bool(statuses) and statuses[-1]["phase"] in FINISHED_NAMES and "knative" not in content["scenario"]


FOLDERS = [pytest.param(folder, id=folder.name) for folder in traces(SHARED) if is_finished(folder)]


@define
class Left:
    """A final state in a namespace of its own."""

    namespace: str
    canary: str
    provider: str
    bodies: list

    @classmethod
    def of(cls, folder: Path):
        content = json.loads((folder / "trace.json").read_text())
        recorded = next(flag for flag in content["flags"] if "-namespace=" in flag).partition("=")[2]
        namespace = f"left-{uuid.uuid4().hex[:8]}"
        here = json.loads(re.sub(rf"(?<![a-z0-9]){recorded}(?![a-z0-9])", namespace, json.dumps(content)))
        final = here["final"]
        bodies = final if isinstance(final, list) else list(final.values())
        status = {name: value for name, value in here["statuses"][-1].items() if name != "tick"}
        canary = next(body for body in bodies if body["kind"] == "Canary")
        canary["status"] = status | {"lastTransitionTime": "2024-01-01T00:00:00Z"}
        provider = next((flag for flag in here["flags"] if "mesh-provider" in flag), "=istio").partition("=")[2]
        return cls(namespace, canary["metadata"]["name"], provider, bodies)

    @property
    def key(self):
        return f"{self.namespace}/{self.canary}"

    def put(self, api):
        """As Flagger left it: the Canary first, as it owns the others."""
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        bodies = sorted(self.bodies, key=lambda body: body["kind"] != "Canary")
        uid = ""
        for body in bodies:
            for owner in body["metadata"].get("ownerReferences", []):
                owner["uid"] = uid
            made = api.request("POST", api.path(body, self.namespace, named=False), body, fieldManager="flagger")
            if body["kind"] == "Canary":
                uid = made["metadata"]["uid"]
                path = CANARY.path(self.namespace, self.canary)
                api.patch(f"{path}/status", {"status": body["status"]})

    def versions(self, api):
        """Each object's generation and what it says, but for what the platform's own controllers tell."""
        found = {
            f"{body['kind']} {body['metadata']['name']}": _owners(api.get(api.path(body, self.namespace)))
            for body in self.bodies
        }
        return dict(_leaves(found, ""))


def _owners(found):
    metadata = {key: found["metadata"].get(key) for key in ("generation", "labels", "annotations")}
    (metadata["annotations"] or {}).pop("deployment.kubernetes.io/revision", None)
    return {
        "metadata": metadata,
        **{key: value for key, value in found.items() if key not in ("metadata", "status")},
        **({"phase": found.get("status", {}).get("phase")} if found["kind"] == "Canary" else {}),
    }


def _leaves(value, path):
    """(path, value) of all that has no parts."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not parts:
        yield path, value
    for name, part in parts:
        yield from _leaves(part, f"{path} {name}")


def changed(before, after):
    """Return the old and new values of the fields that differ."""
    paths = {**before, **after}
    return {path: (before.get(path), after.get(path)) for path in paths if before.get(path) != after.get(path)}


async def looked_at(left: Left, access: Access, plane):
    """The last look of a controller that has come to rest on what is left."""
    reports = []
    path = plane.kubeconfig(access, left.namespace)
    options = Options(namespace=left.namespace, mesh_provider=left.provider, metrics_server="http://127.0.0.1:9")
    async with connect(str(path)) as client, Cluster(client, namespace=left.namespace) as cluster:
        canaries = Canaries(cluster, provider=left.provider)
        async with (
            open_adapters(cluster, canaries, options, clock=time.time) as parts,
            Runner(parts, on_cycle=reports.append),
        ):
            await until(lambda: reports and not reports[-1].result.effects and reports[-1].result.decision)
            count = len(reports)
            await asyncio.sleep(0.5)
            assert len(reports) <= count + 2, "it does not come to rest"
    return reports


@pytest.mark.parametrize("folder", FOLDERS)
async def test_a_final_state_of_flagger_is_adopted_without_a_write_beyond_its_status(folder, plane, api):
    left = Left.of(folder)
    left.put(api)
    try:
        before = left.versions(api)
        reports = await looked_at(left, installed(api, left.namespace, [left.provider]), plane)
        assert [report.result.errors for report in reports if report.result.errors] == []
        assert reports[-1].result.decision.explanation.rule is Rule.IDLE
        written = changed(before, left.versions(api))
        allowed = BUT_FOR.get(folder.name)
        assert {path: values for path, values in written.items() if not (allowed and allowed.search(path))} == {}
    finally:
        api.delete(f"/api/v1/namespaces/{left.namespace}")


def test_the_recordings_end_at_rest_often_enough():
    assert len(FOLDERS) > 30 or not SHARED.exists()
