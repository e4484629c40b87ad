"""An observer beside Flagger: it reports only differences with a row, and writes nothing."""

from __future__ import annotations

import asyncio
import copy
import json
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
from attrs import evolve

from canarycore import Phase
from canarycore.errors import Refused
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.kinds import DEPLOYMENT
from canarycore_kubernetes.controller import open_adapters
from canarycore_kubernetes.observer.observer import Observer, read_only_cluster
from canarycore_kubernetes.observer.report import ComparisonReport
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_planes.control_plane.api import eventually
from tests.cluster.patience import until
from tests.cluster.recorded_flagger import Peer, recording
from tests.controlplane.rights import OBSERVER, account, observing

READS = {"get", "list", "watch"}


class RecordingReport(ComparisonReport):
    """Keeps what is told, too."""

    def __init__(self):
        super().__init__(version="test", provider="istio")
        self.agreements, self.differences, self.adoptions, self.troubles = [], [], [], []

    def report_adoption(self, key, **found):
        self.adoptions.append(found)
        super().report_adoption(key, **found)

    def report_agreement(self, key, explanation, *, assumed):
        self.agreements.append((explanation, assumed))
        super().report_agreement(key, explanation, assumed=assumed)

    def report_difference(self, key, found):
        self.differences.append(found)
        super().report_difference(key, found)

    def report_error(self, key, error):
        self.troubles.append(error)
        super().report_error(key, error)

    @property
    def rows(self):
        return [found.row for found in self.differences]

    @property
    def compared(self):
        return len(self.agreements) + len(self.differences)


@asynccontextmanager
async def looking_on(peer, plane):
    """An observer beside the peer, under an observer's rights."""
    kubeconfig = plane.kubeconfig(observing(plane.api, peer.namespace, [peer.provider]), "observer")
    options = Options(namespace=peer.namespace, mesh_provider=peer.provider)
    report = RecordingReport()
    async with connect(str(kubeconfig)) as client, read_only_cluster(client, options) as cluster:
        canaries = Canaries(cluster, provider=options.mesh_provider)
        async with (
            open_adapters(cluster, canaries, options, clock=lambda: peer.now) as parts,
            Observer(evolve(parts, metrics=peer.metrics), canaries, report, grace=1.0),
        ):
            yield report, cluster


async def watched(peer, plane):
    """Run an observer through a whole recording."""
    async with looking_on(peer, plane) as (report, cluster):
        await asyncio.to_thread(peer.begin)
        await until(lambda: report.adoptions)
        for frame in peer.frames:
            await asyncio.to_thread(peer.play, frame)
            await until(lambda: report.compared >= peer.moves)
            await _heard(peer, cluster)
        assert report.compared == peer.moves
        assert not report.troubles
    return report


async def _heard(peer, cluster):
    versions = await asyncio.to_thread(peer.versions)

    def have_come():
        caches = {kind.kind: cache for kind, cache in cluster._caches.items()}
        return all(
            int(caches[kind].version(peer.namespace, name) or 0) >= seen
            for (kind, name), seen in versions.items()
            if kind in caches
        )

    await until(have_come)
    await asyncio.sleep(0.05)  # the observer has its turn


def read_only(plane, mark, namespace):
    """Whether the observer asked for anything, and only looked."""
    requests = plane.audit.since(mark, user=account(namespace, OBSERVER))
    return bool(requests) and {verb for verb, _ in requests} <= READS


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("01-istio-canary-promote", []),
        ("02-istio-rollback", ["D02"]),
        ("05-istio-ab", []),
        ("07-istio-mirror", []),
        ("08-istio-session-affinity", []),
        ("10-istio-new-revision-promoting", []),
        ("11-istio-skip-analysis", []),  # D14 is hidden: Flagger changes the primary before it reports the promotion
        ("13-istio-gates", ["D15"]),
        ("24-kubernetes-bluegreen", []),
        ("28-gatewayapi-canary", []),
        ("39-istio-peer-restart", ["D12"]),
    ],
)
async def test_beside_flagger_it_differs_by_what_has_a_row_and_writes_nothing(name, rows, plane, namespace, api):
    peer = Peer(recording(name), namespace, api)
    mark = plane.audit.mark()
    report = await watched(peer, plane)
    assert report.rows == rows
    assert all(found["adoptable"] for found in report.adoptions)
    assert read_only(plane, mark, namespace)


async def test_hooks_are_not_called_and_their_answers_are_taken_from_what_was_done(plane, namespace, api):
    report = await watched(Peer(recording("14-istio-confirm-traffic-increase"), namespace, api), plane)
    assert report.rows == []
    assumed = [explanation for explanation, was_assumed in report.agreements if was_assumed]
    assert assumed
    assert all("confirm" in explanation or "load" in explanation for explanation in assumed)


async def test_a_difference_without_a_row_is_unexplained(plane, namespace, api):
    """From weight 20 to 60 without a stop at 40; one difference leads to no others."""
    trace = copy.deepcopy(recording("01-istio-canary-promote"))
    at = next(place for place, frame in enumerate(trace["timeline"]) if _weight(frame) == 40)
    del trace["timeline"][at]
    report = await watched(Peer(trace, namespace, api), plane)
    (found,) = report.differences
    assert found.row == ""
    assert found.theirs.rung.weight == 60
    assert found.ours.status.rung.weight == 40
    assert report.tally["unexplained"] == 1


def _weight(frame):
    written = (step["status"] for step in frame.get("steps", ()) if "status" in step)
    return next((status["canaryWeight"] for status in written), None)


@pytest.fixture
async def unheard(namespace, api):
    """A new revision is there, and Flagger does not move."""
    peer = Peer(recording("01-istio-canary-promote"), namespace, api)
    await asyncio.to_thread(peer.begin)
    for frame in peer.frames[:5]:
        await asyncio.to_thread(peer.play, frame)
    image = {"spec": {"template": {"spec": {"containers": [{"name": "podinfod", "image": "podinfo:9"}]}}}}
    path = DEPLOYMENT.path(namespace, "podinfo")
    api.request("PATCH", path, image, content="application/strategic-merge-patch+json")
    return peer


async def test_a_rollout_that_an_adoption_would_begin_is_reported(unheard, plane):
    async with looking_on(unheard, plane) as (report, _):
        await until(lambda: report.adoptions)
    assert report.adoptions == [
        {
            "adoptable": False,
            "explanation": "Initialized → Progressing: the target has a new revision",
            "would_write": (),
        }
    ]


async def test_a_missing_move_of_the_other_is_reported_once(unheard, plane, monkeypatch):
    monkeypatch.setattr("canarycore_kubernetes.observer.followed_canary.SMALLEST_PATROL_WAIT", 0.1)
    monkeypatch.setattr("canarycore_kubernetes.observer.followed_canary.PATROL_INTERVALS", 0)
    async with looking_on(unheard, plane) as (report, _):
        await until(lambda: report.differences)
        looks = len(report.adoptions)
        await until(lambda: len(report.adoptions) > looks + 2)
    (found,) = report.differences
    assert found.theirs is None
    assert found.ours.status.phase is Phase.PROGRESSING


async def test_every_write_of_an_observer_is_refused(client, namespace):
    async with read_only_cluster(client, Options(namespace=namespace)) as cluster:
        with pytest.raises(Refused, match="an observer writes nothing"):
            await cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})


def test_the_command_reports_differences_and_a_summary_at_the_end(plane, namespace, api, tmp_path):
    peer = Peer(recording("01-istio-canary-promote"), namespace, api)
    peer.begin()
    file = plane.kubeconfig(observing(api, namespace, [peer.provider]), "observer")
    command = [sys.executable, "-m", "canarycore_cli", "controller", "--observe", "--port=0", "--listen=127.0.0.1"]
    command += [f"--kubeconfig={file}", f"--namespace={namespace}", f"--mesh-provider={peer.provider}"]
    mark = plane.audit.mark()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)

    def lines():
        text = (tmp_path / "log").read_text().splitlines()
        return {line["event"]: line for line in map(json.loads, text) if line["logger"] == "canarycore.observe"}

    try:
        assert eventually(lambda: "adoption" in lines(), describe=(tmp_path / "log").read_text)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert lines()["adoption"]["canary"] == peer.key
    assert (lines()["summary"]["canaries"], lines()["summary"]["not_adoptable"]) == (1, [])
    assert read_only(plane, mark, namespace)
