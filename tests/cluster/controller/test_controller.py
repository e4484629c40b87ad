"""The controller as users run it: a process of its own under the installed rights."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.request
from copy import deepcopy

from canarycore_kubernetes.api.leader_election import LEASE_NAME as LEASE
from canarycore_planes.control_plane.api import eventually
from tests.controlplane.rights import account

LABELS = {"app": "podinfo"}
PORTS = [{"name": "http", "containerPort": 9898}]
ANALYSIS = {
    "interval": "10s",
    "threshold": 3,
    "stepWeight": 20,
    "maxWeight": 60,
    "metrics": [
        {"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}},
        {"name": "request-duration", "interval": "30s", "thresholdRange": {"max": 500}},
    ],
}
AT_START = ("selfsubjectaccessreviews.authorization.k8s.io", "customresourcedefinitions.apiextensions.k8s.io")
"""A controller reads these once, in its first seconds: its rights to the kinds of every mesh."""
REPORTS = ("events", "canaries.flagger.app/status")
MOST_REPORTS, MOST_OTHERS = 40, 20
"""Requests that a whole rollout may cost after the start, 245 with Flagger: a slow machine reports more waits."""


def target(namespace, image="podinfo:6.0.0"):
    container = {"name": "podinfod", "image": image, "ports": PORTS}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "podinfo", "namespace": namespace, "labels": LABELS},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}},
        },
    }


def canary(namespace):
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "podinfo", "namespace": namespace},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
            "service": {"port": 9898, "portDiscovery": True},
            "analysis": deepcopy(ANALYSIS),  # tests change it
        },
    }


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def phase(api, namespace, wanted, seconds=90.0):
    path = f"/apis/flagger.app/v1beta1/namespaces/{namespace}/canaries/podinfo"
    return api.eventually(path, lambda body: body.get("status", {}).get("phase") == wanted, seconds)


def scraped(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return answer.read().decode()


def test_a_rollout_is_promoted_for_few_requests_and_idleness_costs_none(plane, api, namespace, access, start):
    user = account(namespace)
    api.create(target(namespace))
    port = free_port()
    controller = start(f"-port={port}")
    eventually(lambda: plane.audit.since(0, user=user)["watch", "canaries.flagger.app"])
    mark = plane.audit.mark()

    api.create(canary(namespace))
    phase(api, namespace, "Initialized")
    api.apply(target(namespace, "podinfo:6.0.1"))
    phase(api, namespace, "Succeeded", 150)
    time.sleep(3)
    asked = plane.audit.since(mark, user=user)
    after = plane.audit.mark()
    time.sleep(21)  # two intervals

    rollout = {
        (verb, resource): count
        for (verb, resource), count in asked.items()
        if verb not in ("list", "watch") and resource not in AT_START
    }
    reports = sum(count for (_, resource), count in rollout.items() if resource in REPORTS)
    assert reports <= MOST_REPORTS, rollout
    assert sum(rollout.values()) - reports <= MOST_OTHERS, rollout
    assert not plane.audit.since(after, user=user)
    metrics = scraped(port)
    assert f'flagger_canary_status{{name="podinfo",namespace="{namespace}"}} 1.0' in metrics
    assert "flagger_canary_successes_total" in metrics
    assert (
        f'canarycore_phase{{name="podinfo",namespace="{namespace}",phase="Succeeded",target="podinfo"}} 1.0' in metrics
    )
    assert 'canarycore_api_request_seconds_count{resource="canaries.flagger.app",verb="patch"}' in metrics
    assert 'canarycore_rollout_seconds_count{deployment_strategy="canary",outcome="succeeded"} 1.0' in metrics
    assert "process_resident_memory_bytes" in metrics
    controller.send_signal(signal.SIGTERM)
    assert controller.wait(20) == 0


def test_of_two_controllers_one_decides_and_the_other_takes_over(plane, api, namespace, start, tmp_path):
    api.create(target(namespace))
    election = ("-enable-leader-election=true", f"-leader-election-namespace={namespace}", "-port=0")
    first = start(*election)
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}"
    holder = api.eventually(lease, lambda body: body["spec"].get("holderIdentity"))["spec"]["holderIdentity"]
    start(*election)
    api.create(canary(namespace))
    phase(api, namespace, "Initialized")

    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 0
    api.eventually(lease, lambda body: body["spec"].get("holderIdentity") not in (holder, None, ""))
    api.apply(target(namespace, "podinfo:6.0.1"))
    phase(api, namespace, "Progressing", 30)

    decided = [
        json.loads(line)
        for line in (tmp_path / "0.log").read_text().splitlines()
        if line.startswith("{") and '"decision"' in line
    ]
    assert {line["phase"] for line in decided} <= {"Initializing", "Initialized"}
