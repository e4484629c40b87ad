"""Hostile objects of one tenant do not stop the controller or the rollouts of another tenant."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from functools import partial

from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.resources.canaries import COMMAND
from tests.cluster.patience import until
from tests.cluster.rollouts import hastened

HONEST, HOSTILE = "honest", "hostile"
PROMPT = 5.0
"""Seconds within which /healthz answers, on a machine that others use too."""


def target(namespace, name="podinfo", **spec):
    labels = {"app": name}
    pods = {"containers": [{"name": "app", "image": "app:1", "ports": [{"containerPort": 80}]}]}
    template = {"metadata": {"labels": labels}, "spec": pods}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


def canary(namespace, name="podinfo", *, analysis=None, metadata=None, status=None, **spec):
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    policy = {"interval": "1s", "threshold": 2, "iterations": 2, **(analysis or {})}
    body = {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": name, "namespace": namespace, **(metadata or {})},
        "spec": {
            "provider": "kubernetes",
            "targetRef": reference,
            "service": {"port": 80},
            "analysis": policy,
            **spec,
        },
    }
    return body | ({} if status is None else {"status": status})


def nested(levels=300):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def query(text):
    return {"metrics": [{"name": "x", "interval": "1m", "query": text, "thresholdRange": {"min": 1}}]}


BROKEN = {
    "digits": {"analysis": {"interval": "9" * 20_000 + "s"}},
    "long-duration": {"analysis": {"interval": "1ns" * 300_000}},
    "unknown-fields": {f"f{number}": 1 for number in range(60_000)},
    "nested": {"x": nested()},
    "labels": {"metadata": {"labels": {f"l{number}": "x" for number in range(60_000)}}},
    "label-of-lists": {"metadata": {"labels": {"a": [1]}}},
    "annotations": {"metadata": {"annotations": [1]}},
    "annotation": {"metadata": {"annotations": {"a": {"b": nested()}}}},
    "phase": {"status": {"phase": "Foo"}},
    "conditions": {"status": {"phase": "Succeeded", "conditions": "x"}},
    "iterations": {"analysis": {"iterations": 10**9}},
    "blanks": {"analysis": query(" " * 32_000)},
    "braces": {"analysis": query("{{" * 16_000)},
    "memory": {"status": {"phase": "Succeeded", "conditions": [{"type": "Canarycore", "message": "x"}]}},
}
ODD = {
    "command": {"metadata": {"annotations": {COMMAND: "skip-to " + "9" * 5_000 + " x"}}},
    "escapes": {"analysis": {"metrics": [{"name": "\x1b[2J\nx", "interval": "1m", "query": "up"}]}},
}
"""Objects that are valid or not: none costs the others anything."""


def hostile_objects():
    for name, parts in (BROKEN | ODD).items():
        yield canary(HOSTILE, name, **parts)
    yield target(HOSTILE, "garbage", template={"metadata": 7, "spec": [1]})
    yield target(HOSTILE, "selector", selector=7)
    yield canary(HOSTILE, "garbage")
    metadata = {"name": "garbage", "namespace": HOSTILE}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata | {"managedFields": 7}, "spec": nested()}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata | {"annotations": 7}, "data": [1]}
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": 7, "type": {}}


def canaries(namespace, name=""):
    return f"/apis/flagger.app/v1beta1/namespaces/{namespace}/canaries" + (f"/{name}" if name else "")


def phase(api, name="podinfo"):
    return (api.get(canaries(HONEST, name)) or {}).get("status", {}).get("phase")


async def asked_health(port, late):
    """How late /healthz answers, each few moments."""
    while True:
        began = time.monotonic()
        await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/healthz", timeout=60)
        late.append(time.monotonic() - began)
        await asyncio.sleep(0.1)


async def test_honest_canaries_roll_out_beside_hostile_objects(client, api):
    for body in (*hostile_objects(), target(HONEST), canary(HONEST)):
        api.create(body)
        if "status" in body:  # which a create does not store
            api.patch(canaries(HOSTILE, body["metadata"]["name"]) + "/status", {"status": body["status"]})
    ports, late = [], []
    options = Options(listen="127.0.0.1", port=0, mesh_provider="kubernetes")
    with hastened():
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run_controller(client, options, version="0", listening=ports.append))
            await until(lambda: ports)
            asking = group.create_task(asked_health(ports[0], late))
            await until(lambda: phase(api) == "Initialized", 60)
            image = {"spec": {"template": target(HONEST)["spec"]["template"]}}
            image["spec"]["template"]["spec"]["containers"][0]["image"] = "app:2"
            api.patch(f"/apis/apps/v1/namespaces/{HONEST}/deployments/podinfo", image)
            await until(lambda: phase(api) == "Succeeded", 60)
            await until(partial(all_are_told, api), 30)
            running.cancel()
            asking.cancel()
    assert max(late) < PROMPT
    messages = [event["message"] for event in api.list(f"/api/v1/namespaces/{HOSTILE}/events")]
    assert any(message.startswith(f"{COMMAND} is 'skip-to 99999") for message in messages)
    assert any("service garbage.hostile cannot be read" in message for message in messages)
    assert not [message for message in messages if not message.isprintable() or len(message.encode()) > 1024]


def all_are_told(api):
    """Whether each Canary that cannot be used says so, once, and by a condition where those can be read."""
    events = api.list(f"/api/v1/namespaces/{HOSTILE}/events")
    told = [event["involvedObject"]["name"] for event in events if event["message"].startswith("The canary is invalid")]
    assert len(told) == len(set(told)), "each is told once"
    found = {name: (api.get(canaries(HOSTILE, name))["status"] or {}).get("conditions") for name in told}
    says_so = [name for name, conditions in found.items() if '"Valid"' in json.dumps(conditions)]
    return set(BROKEN) == set(told) and set(BROKEN) - {"conditions"} == set(says_so)
