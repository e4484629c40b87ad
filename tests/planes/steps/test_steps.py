"""Steps, bakes and returns on real data planes. tests/planes/README.md says how to run this.

The stories of a data plane are played once, side by side, and each test makes a claim about one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from canarycore_planes.clients import Log
from canarycore_planes.data_planes.catalog import DATA_PLANES
from tests.planes.scenarios import Stories, Story, get_story, play
from tests.planes.steps.stories import HOLD, SIDE_BY_SIDE

RETURN = 2.0
"""Seconds within which an abort takes all requests from the canary, at default settings."""

BEHIND = 4.0
"""Seconds by which a proxy that polls the API server may be later."""

POINTS = 5.0
"""Most points by which a share by numbers of pods may differ from its weight."""

AFTER = {"Promoting", "Finalising", "Succeeded"}
"""The phases after an analysis that passes."""

pytestmark = [pytest.mark.planes, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", params=DATA_PLANES)
def stories(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stories]:
    """All stories of a data plane, under way."""
    with play(DATA_PLANES[request.param], tmp_path_factory.mktemp(request.param) / "bench", SIDE_BY_SIDE) as playing:
        yield playing


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("held", "Succeeded"),
        ("without_a_mesh", "Succeeded"),
        ("ended_between_steps", "Failed"),
        ("aborted_bake", "Failed"),
        ("failed_bake", "Failed"),
        ("slow_primary", "Failed"),
    ],
)
def test_no_request_is_lost(stories: Stories, name: str, end: str) -> None:
    story = get_story(stories, name)
    assert story.end == end, story.app.events()
    assert len(story.log.entries) > 100
    assert story.losses() == {}


def test_a_step_holds_for_its_time_and_the_next_one_until_it_is_approved(stories: Stories) -> None:
    story = get_story(stories, "held")
    begin, until = _begin_of_weight(story, 20), _begin_of_weight(story, 40)
    assert until - begin > HOLD - 1
    assert next(at for at, phase, _ in story.app.states if phase in AFTER) > story.marks["approve"]
    assert story.at(40).between(until).share("v2") == pytest.approx(40, abs=12)


def test_a_check_in_the_background_ends_a_rollout_while_its_step_holds(stories: Stories) -> None:
    story = get_story(stories, "ended_between_steps")
    assert max(weight for *_, weight in story.app.states) == 20
    assert any("advancement request duration" in text for text in story.app.events())


@pytest.mark.parametrize("name", ["aborted_bake", "failed_bake"])
def test_a_bake_gives_all_requests_to_the_new_version_and_leaves_the_old_one_ready(stories: Stories, name: str) -> None:
    story = get_story(stories, name)
    assert _last_seconds(story, 100, 10).versions().keys() == {"v2"}
    assert story.log.between(story.marks["ended"] + BEHIND).versions().keys() == {"v1"}


def test_an_aborted_bake_returns_all_requests_at_once(stories: Stories, request: pytest.FixtureRequest) -> None:
    story = get_story(stories, "aborted_bake")
    late = BEHIND if "skipper" in request.node.name else 0.0
    last = max(entry.at for entry in story.log.entries if entry.version == "v2")
    assert last - story.marks["abort"] < RETURN + late


def test_a_return_waits_for_a_slow_primary_and_then_ends(stories: Stories) -> None:
    story = get_story(stories, "slow_primary")
    aborted, scaled, returned = (story.marks[name] for name in ("abort", "scaled", "returned"))
    weights = [(at, weight) for at, _, weight in story.app.states if aborted < at < returned + 1]
    assert [weight for _, weight in weights] == [30, 0]
    assert weights[-1][0] > scaled
    assert story.log.between(scaled - 10, scaled).share("v1") == pytest.approx(70, abs=12)


@pytest.mark.parametrize("weight", [20, 40, 60])
def test_numbers_of_pods_split_the_requests(stories: Stories, weight: int) -> None:
    requests = _last_seconds(get_story(stories, "without_a_mesh"), weight, HOLD / 2)
    assert len(requests.entries) > 200
    assert abs(requests.share("v2") - weight) < POINTS


def _begin_of_weight(story: Story, weight: int) -> float:
    """Return the moment at which the rollout came to this weight."""
    return next(at for at, _, now in story.app.states if now == weight)


def _last_seconds(story: Story, weight: int, seconds: float) -> Log:
    """Return the requests of the last seconds at a weight."""
    end = next(after for (*_, now), (after, *_) in pairwise(story.app.states) if now == weight)
    return story.log.between(end - seconds, end - 0.5)
