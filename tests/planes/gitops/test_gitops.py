"""Flux and the controller do not fight, and a rollout beside Flux costs no request.

tests/planes/README.md says how to run this. The stories are played once, side by side, and each test makes a claim
about one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from canarycore_planes.bench import bench
from canarycore_planes.data_planes.skipper import SKIPPER
from canarycore_planes.network import own_network
from canarycore_planes.programs import program
from tests.controlplane.rights import installation
from tests.planes.gitops.flux import KUSTOMIZATIONS, SOURCES, Flux, with_flux
from tests.planes.gitops.git import git_server
from tests.planes.gitops.stories import OWNER, REPLICAS, STORIES, GitStory
from tests.planes.scenarios import demand_parts

pytestmark = [pytest.mark.planes, pytest.mark.timeout(1800)]

AT_ONCE = 3
"""Stories side by side, on two cores."""

CHECKS = 5
"""Checks for drift below which a claim about Flux would be empty."""

REACTION = 15.0
"""Seconds after which a withdrawn version gets no more requests."""

OPT_OUT = "kustomize.toolkit.fluxcd.io/reconcile"
TARGET, SERVICE, INGRESS = "deployments.apps podinfo", "services podinfo", "ingresses.networking.k8s.io podinfo"

WHOLE = [("Progressing", weight) for weight in (0, 20, 40, 60)]
"""The states of an analysis."""

Stories = dict[str, "Future[GitStory]"]


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stories]:
    """All stories, under way."""
    folder = tmp_path_factory.mktemp("gitops")
    with demand_parts():
        for name in (SOURCES, KUSTOMIZATIONS):
            program(name)
        with (
            own_network(),
            git_server(folder / "git") as server,
            bench(with_flux(SKIPPER), folder / "bench", installation(SKIPPER.provider)) as running,
            ThreadPoolExecutor(AT_ONCE) as pool,
        ):
            flux = Flux(running, server)
            flux.start()
            yield {play.__name__: pool.submit(play, flux) for play in STORIES}


@pytest.mark.parametrize("name", [play.__name__ for play in STORIES])
def test_no_request_is_lost(stories: Stories, name: str) -> None:
    story = stories[name].result()
    assert story.end == "Succeeded", story.describe()
    assert len(story.log.entries) > 500
    assert story.losses() == {}, story.describe()


@pytest.mark.parametrize(("name", "writes"), [("release", 1), ("revert", 2), ("suspended", 1), ("replicas_in_git", 1)])
def test_flux_writes_each_commit_once(stories: Stories, name: str, writes: int) -> None:
    story = stories[name].result()
    begin = "watched" if name == "replicas_in_git" else "begun"
    assert story.delivery.writes(begin, "ended") == {TARGET: writes}, story.describe()


@pytest.mark.parametrize("name", ["release", "revert", "service_in_git"])
def test_after_a_rollout_neither_writes_to_the_others_objects(stories: Stories, name: str) -> None:
    story = stories[name].result()
    assert story.delivery.checks("ended")[TARGET] > CHECKS, story.describe()
    assert story.delivery.writes("ended", "quiet") == {}, story.describe()
    assert story.delivery.writes_of_controller("drained", "quiet") == {}, story.describe()


def test_flux_corrects_a_change_by_hand_meanwhile(stories: Stories) -> None:
    story = stories["release"].result()
    assert story.delivery.writes("quiet", "corrected") == {INGRESS: 1}, story.describe()


def test_a_revert_in_git_withdraws_the_rollout(stories: Stories) -> None:
    story = stories["revert"].result()
    assert story.found["ready"]["reason"] == "Withdrawn", story.describe()
    assert not {weight for _, weight in story.states("reverted") if weight > 20}, story.describe()
    assert story.log.between(story.marks["ended"] + REACTION).versions().keys() == {"v1"}
    assert "v2" in story.log.between(story.marks["begun"], story.marks["reverted"]).versions()
    assert story.found["target"]["spec"]["replicas"] == 0


def test_a_rollout_goes_on_while_flux_is_suspended(stories: Stories) -> None:
    story = stories["suspended"].result()
    states = story.states("begun", "drained")
    assert states[: len(WHOLE)] == WHOLE, story.describe()
    assert len(set(states)) == len(states), story.describe()


def test_a_commit_waits_until_flux_is_resumed(stories: Stories) -> None:
    story = stories["suspended"].result()
    assert story.states("withheld", "released") == [], story.describe()
    assert story.log.between(story.marks["withheld"], story.marks["released"]).versions().keys() == {"v2"}
    assert story.states("released")[: len(WHOLE)] == WHOLE, story.describe()


def test_flux_leaves_a_service_of_git_alone_while_there_is_a_canary(stories: Stories) -> None:
    story = stories["service_in_git"].result()
    for moment in ("initialized", "promoted"):
        body = story.found[moment]
        assert body["spec"]["selector"] == {"app": "podinfo-primary"}, story.describe()
        assert body["metadata"]["annotations"][OPT_OUT] == "disabled"
    assert story.delivery.checks("begun")[SERVICE] > 0
    assert story.delivery.writes("begun", "quiet")[SERVICE] == 0, story.describe()


def test_flux_applies_a_service_of_git_again_without_a_canary(stories: Stories) -> None:
    story = stories["service_in_git"].result()
    body = story.found["removed"]
    assert body["spec"]["selector"] == {"app": "podinfo"}, story.describe()
    assert OPT_OUT not in body["metadata"]["annotations"]
    assert story.found["changed"]["metadata"]["annotations"][OWNER] == "somebody else"


def test_replicas_in_git_start_idle_pods_but_no_fight(stories: Stories) -> None:
    story = stories["replicas_in_git"].result()
    assert story.delivery.checks("initialized")[TARGET] > CHECKS
    for begin, end in (("initialized", "watched"), ("quiet", "left alone")):
        assert story.delivery.writes(begin, end) == {}, story.describe()
        assert story.delivery.writes_of_controller(begin, end) == {}, story.describe()
    text = f"podinfo.replicas was scaled to {REPLICAS} while nothing is under way: leaving it alone"
    assert text in story.found["events"], story.describe()


def test_flux_can_ignore_the_replicas(stories: Stories) -> None:
    story = stories["replicas_in_git"].result()
    assert story.found["ignored"]["spec"]["replicas"] == 0, story.describe()
    (container,) = story.found["ignored"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "app:v3"


def test_a_fight_about_weights_by_pods_names_flux_and_the_field(stories: Stories) -> None:
    story = stories["split_by_replicas_in_git"].result()
    fight = story.found["fight"]
    assert fight["reason"] == "RoutesChangedBack", story.describe()
    assert "Deployment podinfo, spec.replicas: kustomize-controller changes this back" in fight["message"]
    assert fight["message"] in story.found["events"]


def test_a_fight_ends_when_flux_ignores_the_field(stories: Stories) -> None:
    story = stories["split_by_replicas_in_git"].result()
    assert story.found["peace"] == {}, story.describe()
    assert ("Progressing", 75) in story.states("peace"), story.describe()
