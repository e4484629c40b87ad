"""The API server records when a template, a config and a command were written, which a takeover relies on."""

from __future__ import annotations

import time

import pytest

from canarycore import CommandKind
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import CANARY, DEPLOYMENT
from canarycore_kubernetes.resources.canaries import Canaries, send_command
from canarycore_kubernetes.workloads.port import ClusterWorkloads
from tests.cluster.controller.test_controller import canary, target
from tests.cluster.patience import until

SKEW = 2.0
"""Seconds: the server records whole ones."""


@pytest.fixture
async def opened(plane, installed, namespace):
    path = plane.kubeconfig(installed("istio"), "controller")
    async with connect(str(path)) as client, Cluster(client, namespace=namespace) as cluster:
        yield cluster, Canaries(cluster)


async def test_a_new_template_and_a_command_have_the_time_of_their_writing(opened, api, namespace):
    cluster, canaries = opened
    workloads, key = ClusterWorkloads(cluster, canaries), f"{namespace}/podinfo"
    for body in (target(namespace), canary(namespace)):
        api.create(body)
    began = time.time()
    api.patch(DEPLOYMENT.path(namespace, "podinfo"), target(namespace, "podinfo:6.0.1"))
    await send_command(cluster.client, namespace, "podinfo", CommandKind.ABORT)

    async def look():
        stored = await canaries.load(key)
        if stored is None or stored.command is None:
            return None
        revised_at = (await workloads.observe(stored.rollout)).target.revised_at
        return revised_at if revised_at is not None and revised_at >= began - SKEW else None

    assert await until(look) <= time.time() + SKEW
    commanded_at = canaries.require((await canaries.load(key)).rollout).commanded_at
    assert began - SKEW <= commanded_at <= time.time() + SKEW
    api.patch(CANARY.path(namespace, "podinfo"), {"metadata": {"labels": {"edited": "true"}}})
    await until(lambda: canaries.get(key).manifest.metadata.labels)
    assert canaries.get(key).commanded_at == commanded_at
