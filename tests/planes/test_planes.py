"""A rollout does nothing to the requests of a real proxy. README.md says how to run this.

The stories of a data plane are played once, side by side, and each test makes a claim about one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import pytest

from canarycore_planes.data_planes.catalog import DATA_PLANES
from tests.planes.scenarios import ALONE, OPTIONAL, SIDE_BY_SIDE, Stories, get_story, play

DEVIATIONS = 4.5
"""Standard deviations by which a share may differ from its weight."""

REACTION = 15.0
"""Seconds after which a crashed side gets no more requests."""

pytestmark = [pytest.mark.planes, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", params=DATA_PLANES)
def stories(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stories]:
    """All stories of a data plane, under way."""
    data_plane = DATA_PLANES[request.param]
    optional = (scenario for name, scenario in OPTIONAL.items() if name in data_plane.can)
    folder = tmp_path_factory.mktemp(request.param) / "bench"
    with play(data_plane, folder, (*SIDE_BY_SIDE, *optional), ALONE) as playing:
        yield playing


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("promotion", "Succeeded"),
        ("whole_promotion", "Succeeded"),
        ("another_name", "Succeeded"),
        ("options", "Succeeded"),
        ("busy", "Succeeded"),
        ("killed_controller", "Succeeded"),
        ("in_use", "Initialized"),
        ("insiders", "Succeeded"),
        ("copies", "Succeeded"),
        ("affinity", "Succeeded"),
    ],
)
def test_no_request_is_lost(stories: Stories, name: str, end: str) -> None:
    story = get_story(stories, name)
    assert story.end == end, story.app.events()
    assert len(story.log.entries) > 100
    assert story.losses() == {}


def test_a_rollback_loses_no_request_but_those_that_the_bad_version_answers(stories: Stories) -> None:
    story = get_story(stories, "rollback")
    assert story.end == "Failed", story.app.events()
    assert {entry.version for entry in story.log.lost()} == {"v2"}
    assert story.log.between(story.marks["ended"] + REACTION).versions().keys() == {"v1"}


@pytest.mark.parametrize("weight", [20, 40, 60])
def test_the_canary_answers_its_share(stories: Stories, weight: int) -> None:
    requests = get_story(stories, "promotion").at(weight)
    share, number = weight / 100, len(requests.entries)
    assert number > 50
    assert abs(requests.share("v2") / 100 - share) < DEVIATIONS * sqrt(share * (1 - share) / number)


def test_a_promotion_leaves_the_new_version_alone(stories: Stories) -> None:
    story = get_story(stories, "promotion")
    assert story.log.between(story.marks["ended"] + REACTION).versions().keys() == {"v2"}


def test_a_canary_that_crashes_costs_only_the_requests_at_its_crash(stories: Stories) -> None:
    story = get_story(stories, "crash_of_the_canary")
    assert story.end == "Failed", story.app.events()
    crashed = story.marks["crashed"]
    assert [entry for entry in story.log.lost() if not crashed - 1 < entry.at < crashed + REACTION] == []


def test_a_primary_that_crashes_costs_only_the_requests_at_its_crash(stories: Stories) -> None:
    story = get_story(stories, "crash_of_the_primary")
    crashed = story.marks["crashed"]
    assert [entry for entry in story.log.lost() if not crashed - 1 < entry.at < crashed + REACTION] == []


def test_insiders_get_the_new_version_and_nobody_else(stories: Stories) -> None:
    story = get_story(stories, "insiders")
    phases = [(at, phase) for at, phase, _ in story.app.states]
    begin = next(at for at, phase in phases if phase == "Progressing")
    end = next(at for at, phase in phases if phase == "Promoting")
    assert story.others.lost() == []
    assert story.log.between(begin, end - 1).versions().keys() == {"v1"}
    assert "v2" in story.others.between(begin, end).versions()
    settled = story.others.between(begin + REACTION, end - 1).versions()
    assert settled.keys() <= {"v2"}


def test_users_stay_where_they_were(stories: Stories) -> None:
    story = get_story(stories, "affinity")
    met: dict[int, str] = {}
    for entry in story.others.entries:
        if met.get(entry.user) == "v2" and entry.cookies:
            assert entry.version == "v2", str(entry)
        met[entry.user] = entry.version
