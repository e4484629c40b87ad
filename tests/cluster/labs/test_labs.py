"""Each lab, as a new user follows its page: every command, in order, with the events that the page shows.

The API server, kubectl, `canary`, the controller and the load tester are real; conftest.py says what is not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

import pytest

from canarycore_kubernetes.api.leader_election import LEASE_NAME
from canarycore_planes.control_plane.api import Json, eventually
from canarycore_planes.control_plane.kubelet import PodRule
from tests.cluster.labs import pages
from tests.cluster.labs.conftest import Reader
from tests.conformance import test_seeds


def deployed(reader: Reader, namespace: str) -> set[str]:
    """Return the objects of a namespace that belong to a Canary, as KIND/NAME."""
    paths = (
        "/apis/apps/v1/{}/deployments", "/apis/autoscaling/v2/{}/horizontalpodautoscalers", "/api/v1/{}/services",
        "/apis/gateway.networking.k8s.io/v1/{}/httproutes",
    )  # fmt: skip
    found: set[str] = set()
    for path in paths:
        bodies = reader.plane.api.list(path.format(f"namespaces/{namespace}"))
        plural = path.rpartition("/")[2]
        found |= {f"{plural}/{body['metadata']['name']}" for body in bodies}
    return {name for name in found if "loadtester" not in name}


def weights(reader: Reader, namespace: str, name: str) -> dict[str, int]:
    """Return the weight of each backend in the last rule of a route."""
    path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes/{name}"
    route: Json = reader.plane.api.get(path) or {}
    return {backend["name"]: backend["weight"] for backend in route["spec"]["rules"][-1]["backendRefs"]}


def versions(output: str) -> list[str]:
    """Return the versions of the pods that answered, in order."""
    return re.findall(r'"version": "([^"]+)"', output)


INITIALIZED = "New Deployment detected, initialization completed."
DETECTED = "New revision detected, progressing canary analysis."
PROMOTED = "Canary analysis completed successfully, promotion finished."
LATE = "Progress deadline exceeded"
FAILED = "Failed checks threshold reached 10"


def assert_chat_has(reader: Reader, *messages: str) -> None:
    """The chat has these messages, or longer ones that begin so, and no others."""
    texts = eventually(lambda: _texts(reader) if len(reader.bench.messages) >= len(messages) else None, 20)
    pairs = zip(texts, messages, strict=True)
    assert [text for text, message in pairs if not text.startswith(message)] == []


def _texts(reader: Reader) -> list[str]:
    return [message["attachments"][0]["text"] for message in reader.bench.messages]


def test_the_setup_of_the_labs(prepared: Reader):
    """The fixture has run the commands; the controller that they install leads."""
    lease = f"/apis/coordination.k8s.io/v1/namespaces/canarycore/leases/{LEASE_NAME}"
    prepared.plane.api.eventually(lease, lambda body: body["spec"].get("holderIdentity"))


def test_the_guide(reader: Reader):
    reader.open("guide.md")
    reader.follow("Deploy")
    assert versions(reader.follow("Initialise")) == ["3.1.0"]
    objects = {
        "deployments/podinfo", "deployments/podinfo-primary",
        "horizontalpodautoscalers/podinfo", "horizontalpodautoscalers/podinfo-primary",
        "services/podinfo", "services/podinfo-canary", "services/podinfo-primary", "httproutes/podinfo",
    }  # fmt: skip
    eventually(lambda: deployed(reader, "test") == objects, 20)
    assert "Succeeded" in reader.follow("Release a version")
    calls = reader.bench.requests["podinfo-canary.test:9898"]
    assert {"/token", "/"} <= {*calls}, "the acceptance test and the load test reach the new pods"
    output = reader.follow("Roll back a bad version")
    assert {"/status/500", "/delay/1"} <= {*calls}
    assert "request-duration" in output
    assert weights(reader, "test", "podinfo") == {"podinfo-primary": 100, "podinfo-canary": 0}
    assert versions(reader.follow("Test with insiders")) == ["3.1.3", "3.1.1", "3.1.4"]
    backends = reader.follow("Backends")
    assert '"virtualServiceRef":{"name":"backend1"}' in backends
    assert "virtualService/backend2" in backends
    reader.follow("Clean up")
    assert reader.is_done


def test_the_configmap_lab(reader: Reader):
    reader.open("configmap.md")
    assert "account-primary" in reader.follow("Deploy")
    reader.plane.kubelet.rules(PodRule(namespace="shop", name="account", mode="crash"))
    output = reader.follow("Change the ConfigMap")
    reader.plane.kubelet.rules()
    assert "//mariadb-shop:" in output, "the copy of the primary has the right name"
    reader.follow("Fail by a strict threshold")
    reader.follow("Lower the threshold", good={"rate": 99.6, "duration": 0.1})
    assert_chat_has(reader, INITIALIZED, DETECTED, LATE, DETECTED, FAILED, DETECTED, PROMOTED)
    reader.follow("Clean up")
    assert reader.is_done


def test_the_user_agent_lab(reader: Reader):
    reader.open("useragent.md")
    assert versions(reader.follow("Deploy")) == ["5.0.0"]
    assert versions(reader.follow("Release in steps")) == ["5.0.1"]
    assert versions(reader.follow("Test with Firefox and curl")) == ["5.0.2", "5.0.1", "5.0.1"]
    assert "/status/500" in reader.bench.requests["podinfo-canary.apps:9898"]
    reader.follow("Clean up")
    assert reader.is_done


def test_the_overlays_lab(reader: Reader):
    reader.open("overlays.md")
    reader.follow("Deploy the base")
    reader.follow("Release by an overlay")
    reader.follow("Roll back")
    output = reader.follow("Add an A/B test")
    assert output.startswith("refused")
    assert versions(output) == ["3.1.3", "3.1.1"]
    reader.follow("Add acceptance tests")
    assert {"/token", "/headers"} <= {*reader.bench.requests["podinfo-canary.demo:9898"]}
    reader.follow("Clean up")
    assert reader.is_done


def test_the_metrics_lab(reader: Reader):
    reader.open("metrics.md")
    reader.follow("Give the controller a chat")
    reader.follow("Deploy")
    output = reader.follow("Test with Firefox or a cookie")
    assert versions(output) == ["3.1.1", "3.1.1", "3.1.0"]
    assert re.search(r"prod +frontend +Progressing +0 ", output)
    reader.follow("Write the metrics", good={"rate": 0.0, "duration": 1.0})
    reader.follow("Roll back by your metrics", good={"rate": 0.0, "duration": 1.0})
    assert_chat_has(reader, INITIALIZED, DETECTED, PROMOTED, DETECTED, FAILED)
    reader.follow("Clean up")
    assert reader.is_done


SEEDS = {
    "guide.md": ("flagger-appmesh-guide", ("podinfo.test canary weight 45", "success rate 69.17%", "iteration 10/10")),
    "configmap.md": ("eks-appmesh-korean", ("success rate 99.74%", "5m54s (x3 over 68m)")),
    "useragent.md": ("eks-gitops-appmesh", ("Copying podinfo.apps template spec", "success rate 98.82%")),
    "overlays.md": ("appmesh-kustomize", ("Pre-rollout check acceptance-test-token passed",)),
    "metrics.md": ("gitops-istio", ("canary iteration 10/10", "error-rate 31 > 1")),
}
"""The guide behind each page, and a text in each log that the guide shows."""


@pytest.mark.parametrize("page", SEEDS)
def test_a_page_shows_the_logs_of_its_guide(page: str):
    """All lines of a log, in its order, are the events of one section: in today's words, as `log` has them."""
    if not test_seeds.SEEDS.is_dir():
        assert not os.environ.get("CI"), f"{test_seeds.SEEDS} is missing"
        pytest.skip(f"{test_seeds.SEEDS} is missing")
    guide, marks = SEEDS[page]
    sections = [section.events for section in pages.read(page) if section.events]
    logs = [test_seeds.log(guide, mark) for mark in marks]
    missing = [log for log in logs if not any(_contains(events, log) for events in sections)]
    assert missing == []


def _contains(events: Iterable[str], log: list[str]) -> bool:
    remaining = iter(events)
    return all(line in remaining for line in log)
