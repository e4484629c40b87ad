"""Rollouts of apps that Flux delivers from Git, each with a client that notes every answer.

Flux checks each app for drift every few seconds, all the time. Each function plays one story and returns it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from attrs import define, field

from canarycore_planes.bench import TARGET, URL, App
from canarycore_planes.clients import requests
from canarycore_planes.control_plane.api import Json, eventually
from tests.planes.gitops.flux import Delivery, Flux
from tests.planes.scenarios import DRAINED, SETTLED, Story

REPLICAS = 2
"""The replicas in Git, where a story has them there."""

SPLIT = 4
"""The replicas in Git, where the numbers of pods are the weights."""

PART_OF = "app.kubernetes.io/part-of"
"""A label of both sides' pods."""

OWNER = "example.com/owner"
"""An annotation of the app's Ingress, which somebody changes by hand."""


@define
class GitStory(Story):
    """How a story went."""

    delivery: Delivery = field(kw_only=True)
    found: dict[str, Any] = field(factory=dict)
    """Objects and numbers at some moments."""

    def mark(self, name: str) -> None:
        """Note a moment, and the position in the audit log."""
        super().mark(name)
        self.delivery.mark(name)

    def states(self, begin: str, end: str = "") -> list[tuple[str, int]]:
        """Return the phases and weights between two marks."""
        last = self.marks[end] if end else float("inf")
        return [(phase, weight) for at, phase, weight in self.app.states if self.marks[begin] <= at < last]

    def deployment(self) -> Json:
        """Return the target."""
        return self._get(f"/apis/apps/v1/namespaces/{self.app.name}/deployments/{TARGET}")

    def service(self) -> Json:
        """Return the Service that users call."""
        return self._get(f"/api/v1/namespaces/{self.app.name}/services/{TARGET}")

    @property
    def ingress_path(self) -> str:
        """The path of the Ingress that leads the host to the Service."""
        return f"/apis/networking.k8s.io/v1/namespaces/{self.app.name}/ingresses/{TARGET}"

    def _get(self, path: str) -> Json:
        return self.app.bench.api.get(path) or {}

    def describe(self) -> str:
        """Return what a failure needs."""
        begin = next(iter(self.marks.values()), 0.0)
        parts = [
            f"states: {[f'{at - begin:.1f} {phase} {weight}' for at, phase, weight in self.app.states]}",
            f"marks: {[f'{at - begin:.1f} {name}' for name, at in self.marks.items()]}",
            f"events: {self.app.events()}",
            f"lost: {self.losses()} of {len(self.log.entries)}",
            f"found: {self.found}",
        ]
        return "\n".join(parts)


# ---------------------------------------------------------------------------------------------------- what is in Git


def deployment(app: App, version: str, replicas: int | None = None) -> Json:
    """Return the app's Deployment as Git has it: without replicas, unless a number is given."""
    body = deepcopy(app.deployment(version))
    body["spec"]["template"]["metadata"]["labels"][PART_OF] = app.name
    del body["spec"]["replicas"]
    if replicas is not None:
        body["spec"]["replicas"] = replicas
    return body


def edge(app: App, *kinds: str) -> list[Json]:
    """Return the app's objects of these kinds that lead its host to its Service."""
    bodies = [body for body in app.bench.data_plane.edge(app) if body["kind"] in kinds]
    for body in bodies:
        body["metadata"]["annotations"] = {OWNER: app.name}
    return bodies


@contextmanager
def deliver(flux: Flux, name: str, *, replicas: int | None = None, **more: Any) -> Iterator[GitStory]:
    """Let Flux create an app with its Canary, and send requests from its initialisation on. more: of the Canary."""
    app = flux.bench.app(name)
    app.pre_stop = flux.bench.data_plane.pre_stop
    delivery = flux.deliver(
        app, edge=edge(app, "Ingress"), deployment=deployment(app, "v1", replicas), canary=app.canary(**more)
    )
    story = GitStory(app, delivery=delivery)
    app.ends("Initialized")
    app.is_reachable()
    with requests(URL, app.host) as story.log:
        time.sleep(SETTLED)
        story.mark("begun")
        yield story
        time.sleep(SETTLED)


def _release(story: GitStory, version: str, replicas: int | None = None) -> str:
    return story.delivery.commit(f"Release {version}", deployment=deployment(story.app, version, replicas))


def _finish(story: GitStory) -> None:
    story.end = story.app.ends("Succeeded", "Failed")
    story.mark("ended")
    time.sleep(DRAINED)
    story.mark("drained")


def _is_scaled(story: GitStory, replicas: int) -> None:
    eventually(lambda: story.deployment()["spec"]["replicas"] == replicas, describe=story.deployment)


def _condition(story: GitStory, kind: str) -> Json:
    """Return a condition of the Canary; empty if it has none of this type."""
    conditions = story.app.status().get("conditions", ())
    return next((each for each in conditions if each["type"] == kind), {})


# ------------------------------------------------------------------------------------------------------------- stories


def release(flux: Flux) -> GitStory:
    """A commit changes the image. Afterwards somebody changes an object by hand, and Flux corrects it."""
    with deliver(flux, "release") as story:
        _release(story, "v2")
        story.app.ends("Progressing")
        _finish(story)
        story.delivery.checked()
        story.mark("quiet")
        story.found["target"] = story.deployment()
        story.app.bench.api.patch(story.ingress_path, {"metadata": {"annotations": {OWNER: "somebody"}}})
        story.app.bench.api.eventually(
            story.ingress_path, lambda body: body["metadata"]["annotations"][OWNER] == story.app.name
        )
        story.mark("corrected")
    return story


def revert(flux: Flux) -> GitStory:
    """A revert in Git, in the middle of the rollout."""
    with deliver(flux, "revert") as story:
        _release(story, "v2")
        story.app.at_weight(20)
        time.sleep(SETTLED)
        story.delivery.revert()
        story.mark("reverted")
        _finish(story)
        story.found["ready"] = _condition(story, "Ready")
        story.delivery.checked()
        story.mark("quiet")
        story.found["target"] = story.deployment()
    return story


def suspended(flux: Flux) -> GitStory:
    """The Kustomization is suspended and resumed in the middle of a rollout, and later around another commit."""
    with deliver(flux, "suspended") as story:
        _release(story, "v2")
        story.app.at_weight(20)
        story.delivery.suspend()
        story.mark("suspended")
        story.app.at_weight(40)
        story.delivery.suspend(False)
        story.mark("resumed")
        _finish(story)
        story.delivery.suspend()
        revision = _release(story, "v3")
        story.mark("withheld")
        time.sleep(DRAINED)
        story.delivery.suspend(False)
        story.mark("released")
        story.delivery.applies(revision)
        story.app.ends("Progressing")
        story.end = story.app.ends("Succeeded", "Failed")
        time.sleep(DRAINED)
    return story


def service_in_git(flux: Flux) -> GitStory:
    """The Service that users call is in Git. The app in use gets its Canary by a commit, and loses it by another."""
    app = flux.bench.app("service")
    app.pre_stop = flux.bench.data_plane.pre_stop
    delivery = flux.deliver(app, edge=edge(app, "Service", "Ingress"), deployment=deployment(app, "v1"))
    story = GitStory(app, delivery=delivery)
    app.is_reachable()
    with requests(URL, app.host) as story.log:
        time.sleep(SETTLED)
        story.mark("begun")
        delivery.commit("Add a Canary", canary=app.canary(revertOnDeletion=True))
        app.ends("Initialized")
        time.sleep(DRAINED)
        delivery.checked()
        story.mark("initialized")
        story.found["initialized"] = story.service()
        _release(story, "v2")
        app.ends("Progressing")
        _finish(story)
        delivery.checked()
        story.mark("quiet")
        story.found["promoted"] = story.service()
        delivery.commit("Remove the Canary", canary=None)
        eventually(lambda: app.bench.api.get(app.path) is None, 120.0, app.status)
        time.sleep(DRAINED)
        story.found["removed"] = story.service()
        changed = edge(app, "Service", "Ingress")
        changed[0]["metadata"]["annotations"][OWNER] = "somebody else"
        delivery.applies(delivery.commit("Change the Service", edge=changed))
        story.found["changed"] = story.service()
        story.mark("removed")
        time.sleep(SETTLED)
    return story


def replicas_in_git(flux: Flux) -> GitStory:
    """The target's replicas are in Git, so Flux runs the target again. Then the owner lets Flux ignore them."""
    with deliver(flux, "replicas", replicas=REPLICAS) as story:
        time.sleep(DRAINED)
        _is_scaled(story, REPLICAS)
        story.delivery.checked()
        story.mark("initialized")
        story.delivery.checked(6)
        story.mark("watched")
        _release(story, "v2", REPLICAS)
        story.app.ends("Progressing")
        _finish(story)
        _is_scaled(story, REPLICAS)
        story.delivery.checked()
        story.mark("quiet")
        story.delivery.checked(6)
        story.mark("left alone")
        story.found["events"] = story.app.events()
        story.delivery.ignore("Deployment", "/spec/replicas")
        _release(story, "v3", REPLICAS)
        story.app.ends("Progressing")
        story.app.ends("Succeeded", "Failed")
        time.sleep(DRAINED)
        story.delivery.checked()
        story.found["ignored"] = story.deployment()
    return story


def split_by_replicas_in_git(flux: Flux) -> GitStory:
    """The numbers of pods are the weights, and they are in Git too. Then the owner lets Flux ignore them."""
    analysis = {"stepWeight": 25, "maxWeight": 75, "metrics": []}
    with deliver(flux, "split", replicas=SPLIT, provider="replicas", analysis=analysis) as story:
        _release(story, "v2", SPLIT)
        story.app.ends("Progressing")
        story.found["fight"] = eventually(lambda: _condition(story, "Blocked"), 120.0, story.app.status)
        story.delivery.ignore("Deployment", "/spec/replicas")
        story.app.ends("Succeeded", "Failed")
        eventually(lambda: not _condition(story, "Blocked"), 120.0, story.app.status)
        story.mark("peace")
        _release(story, "v3", SPLIT)
        story.app.ends("Progressing")
        _finish(story)
        story.found["peace"] = _condition(story, "Blocked")
        story.found["events"] = story.app.events()
    return story


Play = Callable[[Flux], GitStory]

STORIES: tuple[Play, ...] = (release, revert, suspended, service_in_git, replicas_in_git, split_by_replicas_in_git)
