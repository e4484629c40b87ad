"""Rollouts by steps on a bench, and their ways back: with holds, approvals, background checks, bakes and capacity.

Each function plays one scenario and returns its `Story`, as in `tests/planes/scenarios.py`.
"""

from __future__ import annotations

import time
import uuid

from canarycore_kubernetes.resources.canaries import COMMAND, COMMAND_MANAGER
from canarycore_planes.bench import INTERVAL, TARGET, URL, App, Bench
from canarycore_planes.clients import requests
from canarycore_planes.control_plane.api import Json, eventually
from tests.planes.scenarios import SETTLED, Scenario, Story, finish, open_story

HOLD = 25
"""Seconds for which a step holds."""

LONG = "10m"
"""A hold or a bake that no story waits for."""

WAIT = 2 * INTERVAL
"""Seconds that show that a rollout waits: longer than an analysis, and than a step of a return."""

PODS = 5
"""Pods of the app without a mesh: fifths can be expressed."""

_CHECK = {"interval": "15s", "thresholdRange": {"min": 99}, "name": "request-success-rate"}
_BY_STEPS = {"stepWeight": None, "maxWeight": None}


def held(bench: Bench) -> Story:
    """A step holds for a time, and the next one until a human approves it."""
    steps = [{"weight": 20, "hold": f"{HOLD}s"}, {"weight": 40, "approval": True}]
    with open_story(bench.app("held"), analysis={**_BY_STEPS, "steps": steps}) as story:
        story.app.deploy("v2")
        story.app.at_weight(40)
        _command_later(story, "approve")
        finish(story)
    return story


def ended_between_steps(bench: Bench) -> Story:
    """A check in the background that no version meets ends a rollout while a step holds."""
    steps = [{"weight": 20, "hold": LONG}, {"weight": 40}]
    analysis = {**_BY_STEPS, "steps": steps, "metrics": [_CHECK, _impossible(from_weight=20)]}
    with open_story(bench.app("background"), analysis=analysis) as story:
        story.app.deploy("v2")
        finish(story)
    return story


def aborted_bake(bench: Bench) -> Story:
    """An operator aborts a rollout while the new version has all requests."""
    analysis = {**_BY_STEPS, "stepWeights": [50], "bake": LONG}
    with open_story(bench.app("baked"), analysis=analysis) as story:
        story.app.deploy("v2")
        story.app.at_weight(100)
        _command_later(story, "abort")
        finish(story)
    return story


def failed_bake(bench: Bench) -> Story:
    """A check that begins with the bake fails."""
    analysis = {**_BY_STEPS, "stepWeights": [50], "bake": LONG, "metrics": [_CHECK, _impossible(from_weight=100)]}
    with open_story(bench.app("unbaked"), analysis=analysis) as story:
        story.app.deploy("v2")
        story.app.at_weight(100)
        finish(story)
    return story


def slow_primary(bench: Bench) -> Story:
    """The primary lost a pod while the canary had the traffic, and gets it back long after an abort."""
    rollback = {"stepWeight": 30, "interval": "5s", "deadline": "3m", "follow": "capacity"}
    analysis = {**_BY_STEPS, "steps": [{"weight": 60, "hold": LONG}], "rollback": rollback}
    with open_story(bench.app("gradual"), analysis=analysis) as story:
        app = story.app
        app.deploy("v2")
        app.at_weight(60)
        _scale_primary(app, 1)
        _command_later(story, "abort")
        app.ends("Failed")
        time.sleep(WAIT)
        story.mark("scaled")
        _scale_primary(app, 2)
        app.at_weight(0)
        story.mark("returned")
        finish(story)
    return story


def without_a_mesh(bench: Bench) -> Story:
    """The numbers of pods behind one Service split the requests."""
    app = bench.app("replicas")
    app.pre_stop = bench.data_plane.pre_stop
    deployment = app.deployment()
    deployment["spec"]["replicas"] = PODS
    deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/part-of"] = TARGET
    steps = [{"weight": weight, "hold": f"{HOLD}s"} for weight in (20, 40, 60)]
    app.create(*bench.data_plane.used(app), deployment)
    app.is_reachable()
    story = Story(app)
    with requests(URL, app.host) as story.log:
        app.create(app.canary(provider="replicas", analysis={**_BY_STEPS, "steps": steps}))
        app.ends("Initialized")
        time.sleep(SETTLED)
        app.deploy("v2")
        finish(story)
    return story


def _impossible(*, from_weight: int) -> Json:
    bounds = {"min": 3_600_000}  # ms; a maximum may be met, as a fast answer of Skipper's takes 0 whole milliseconds
    return {"name": "request-duration", "interval": "15s", "fromWeight": from_weight, "thresholdRange": bounds}


def _command_later(story: Story, kind: str) -> None:
    """Send a command after a wait, and mark the moment by its name."""
    time.sleep(WAIT)
    story.mark(kind)
    app = story.app
    annotations = {COMMAND: f"{kind} {uuid.uuid4().hex}"}
    app.bench.api.patch(f"{app.path}?fieldManager={COMMAND_MANAGER}", {"metadata": {"annotations": annotations}})


def _scale_primary(app: App, pods: int) -> None:
    """Scale the primary as its autoscaler does, and wait until it has so many ready pods."""
    path = f"/apis/apps/v1/namespaces/{app.name}/deployments/{TARGET}-primary"
    app.bench.api.patch(path, {"spec": {"replicas": pods}})
    eventually(lambda: (app.bench.api.get(path) or {}).get("status", {}).get("readyReplicas") == pods)


SIDE_BY_SIDE: tuple[Scenario, ...] = (
    without_a_mesh, slow_primary, held, aborted_bake, failed_bake, ended_between_steps,
)  # fmt: skip
