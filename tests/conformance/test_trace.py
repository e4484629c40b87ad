"""A trace is read whole: a key that no driver understands is refused by its name."""

from __future__ import annotations

import copy
import json

import pytest

from canarycore import Phase
from tests.conformance.drivers.api_server import ClusterDriver
from tests.conformance.drivers.port import replay
from tests.conformance.drivers.simulated import WorldDriver
from tests.conformance.trace import UnknownKey, read

TARGET = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "podinfo"},
    "spec": {
        "selector": {"matchLabels": {"app": "podinfo"}},
        "template": {
            "metadata": {"labels": {"app": "podinfo"}},
            "spec": {"containers": [{"name": "app", "image": "podinfo:1"}]},
        },
    },
}
CANARY = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "Canary",
    "metadata": {"name": "podinfo", "namespace": "created-by-an-action"},
    "spec": {
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
        "service": {"port": 80},
        "analysis": {"interval": "10s", "threshold": 2, "stepWeight": 50, "maxWeight": 50},
    },
}


@pytest.fixture
def written(tmp_path):
    """Write a trace with these actions and changes, and read it."""

    def write(*actions, change=lambda trace: None, objects=(TARGET,)):
        trace = {
            "scenario": "one", "about": "", "flags": ["-mesh-provider=istio"],
            "input": {"objects": list(objects), "canary": CANARY, "actions": list(actions)},
            "timeline": [{"tick": number, "steps": []} for number in range(40)],
        }  # fmt: skip
        change(trace)
        (tmp_path / "trace.json").write_text(json.dumps(trace))
        return read(tmp_path)

    return write


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("extra", lambda trace: trace.update(extra=1)),
        ("input.objectz", lambda trace: trace["input"].update(objectz=[])),
        ("input.actions[0].scale", lambda trace: trace["input"]["actions"][0].update(scale=3)),
        ("input.actions[0].wait.weight", lambda trace: trace["input"]["actions"][0]["wait"].update(weight=3)),
        ("input.actions[0].cluster[0].pods", lambda trace: trace["input"]["actions"][0].update(cluster=[{"pods": 1}])),
        ("input.prom[0].query", lambda trace: trace["input"].update(prom=[{"query": "up", "answers": []}])),
        ("timeline[0].late", lambda trace: trace["timeline"][0].update(late=True)),
        ("timeline[1].steps[0].log", lambda trace: trace["timeline"][1]["steps"].append({"log": "x"})),
    ],
)
def test_an_unknown_key_is_refused_by_its_path(written, path, change):
    with pytest.raises(UnknownKey, match=path.replace("[", r"\[").replace("]", r"\]")):
        written({"wait": {"ticks": 1}}, change=change)


def test_a_timeout_of_a_wait_is_no_condition(written):
    trace = written({"wait": {"phase": "Initialized", "timeout": 60}})
    assert replay(trace, WorldDriver(trace)).unmet == ()


def test_a_target_that_an_action_creates_is_found(written):
    trace = written({"wait": {"ticks": 3}, "create": [TARGET]}, {"wait": {"phase": "Initialized"}}, objects=())
    driver = WorldDriver(trace)
    assert replay(trace, driver).unmet == ()
    assert driver.world.phase is Phase.INITIALIZED


def test_a_canary_that_an_action_creates_again_begins_anew(written):
    again = copy.deepcopy(CANARY)
    again["spec"]["analysis"]["interval"] = "20s"
    trace = written(
        {"wait": {"phase": "Initialized"}, "delete": {"kind": "Canary", "metadata": {"name": "podinfo"}}},
        {"wait": {"ticks": 2}, "create": again},
        {"wait": {"phase": "Initialized"}},
    )
    driver = WorldDriver(trace)
    assert replay(trace, driver).unmet == ()
    assert driver.world.state.rollout.interval == 20.0


@pytest.mark.cluster
def test_a_target_that_an_action_creates_is_found_on_a_cluster(written, plane):
    trace = written({"wait": {"ticks": 2}, "create": [TARGET]}, {"wait": {"phase": "Initialized"}}, objects=())
    driver = ClusterDriver(trace, plane)
    try:
        assert replay(trace, driver).unmet == ()
        assert driver.stand.phase == "Initialized"
    finally:
        driver.close()
