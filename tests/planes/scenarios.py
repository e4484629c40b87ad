"""Rollouts on a bench, each with an app of its own and a client that notes every answer.

Each function plays one scenario and returns its `Story`. The stories of one bench run side by side, but for those that
kill the controller: `play` starts a bench and plays them.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from attrs import define, field

from canarycore_planes.bench import URL, App, Bench, DataPlane, bench
from canarycore_planes.clients import Log, requests, users
from canarycore_planes.go_programs import MissingProgram
from canarycore_planes.network import NoNetworkError, own_network
from tests.controlplane.rights import installation

AT_ONCE = 4
"""Stories side by side, on two cores."""

SETTLED = 4.0
"""Seconds before and after a rollout for which requests go on."""

DRAINED = 20.0
"""Seconds after the end of a rollout within which the canary's pods have gone."""

OUTAGE = 25.0
"""Seconds for which a side stays away."""


@define
class Story:
    """How a scenario went."""

    app: App
    log: Log = field(factory=Log)
    """The requests of everybody."""
    others: Log = field(factory=Log)
    """The requests of insiders, or of users with cookies."""
    end: str = ""
    """The last phase."""
    marks: dict[str, float] = field(factory=dict)
    """Moments (seconds since the epoch)."""

    def mark(self, name: str) -> None:
        """Note a moment."""
        self.marks[name] = time.time()

    def at(self, weight: int) -> Log:
        """Return the requests while the canary was at this weight, without those of the changes."""
        changes = [*self.app.states, (time.time(), "", -1)]
        spans = [
            (begin, end)
            for (begin, phase, shown), (end, *_) in pairwise(changes)
            if shown == weight and phase == "Progressing"
        ]
        return Log([entry for begin, end in spans for entry in self.log.between(begin + 2.0, end - 0.5).entries])

    def losses(self) -> Counter[str]:
        """Return the lost requests, counted by what was answered."""
        return Counter(
            f"{entry.status} {entry.version or 'by no pod'} {entry.error}".strip() for entry in self.log.lost()
        )


@contextmanager
def open_story(app: App, *, pre_stop: int | None = None, **more: object) -> Iterator[Story]:
    """Begin an app with its Canary, and send requests meanwhile.

    pre_stop: seconds for which its pods sleep before they end; without it those that the data plane needs.
    """
    app.pre_stop = app.bench.data_plane.pre_stop if pre_stop is None else pre_stop
    app.begin(**more)
    story = Story(app)
    with requests(URL, app.host) as story.log:
        time.sleep(SETTLED)
        yield story
        time.sleep(SETTLED)


def finish(story: Story) -> None:
    """Wait for the end of the rollout, and until the canary's pods have gone."""
    story.end = story.app.ends("Succeeded", "Failed")
    story.mark("ended")
    time.sleep(DRAINED)


# ------------------------------------------------------------------------------------------------------------ scenarios


def promotion(bench: Bench) -> Story:
    """A good version."""
    with open_story(bench.app("promotion")) as story:
        story.app.deploy("v2")
        finish(story)
    return story


def whole_promotion(bench: Bench) -> Story:
    """A good version that gets all traffic before the primary's pods, which end at once, are replaced."""
    with open_story(bench.app("whole"), pre_stop=0, analysis={"stepWeight": 50, "maxWeight": 100}) as story:
        story.app.deploy("v2")
        finish(story)
    return story


def rollback(bench: Bench) -> Story:
    """A version with errors, whose pods end at once."""
    with open_story(bench.app("rollback"), pre_stop=0) as story:
        story.app.deploy("v2", ERRORS=50)
        finish(story)
    return story


def another_name(bench: Bench) -> Story:
    """The Service has another name than the target."""
    app = bench.app("named")
    app.service = "backend"
    with open_story(app, service={"name": app.service}) as story:
        app.deploy("v2")
        finish(story)
    return story


def options(bench: Bench) -> Story:
    """All options of the Service that the data plane supports."""
    with open_story(bench.app("options"), service=dict(bench.data_plane.options)) as story:
        story.app.deploy("v2")
        finish(story)
    return story


def in_use(bench: Bench) -> Story:
    """An app that is in use gets a Canary, and loses it."""
    app = bench.app("used")
    app.create(*bench.data_plane.used(app), app.deployment())
    app.is_reachable()
    story = Story(app)
    with requests(URL, app.host) as story.log:
        time.sleep(SETTLED)
        app.create(app.canary(revertOnDeletion=True))
        story.end = app.ends("Initialized")
        time.sleep(DRAINED)
        story.mark("deleted")
        app.delete()
        time.sleep(DRAINED)
    return story


def crash_of_the_canary(bench: Bench) -> Story:
    """All pods of the canary crash in the middle of its analysis, and stay away."""
    with open_story(bench.app("crash"), pre_stop=0) as story:
        story.app.deploy("v2")
        story.app.at_weight(20)
        time.sleep(SETTLED)
        story.mark("crashed")
        bench.pods.crash(story.app.name, "app:v2")
        finish(story)
    return story


def crash_of_the_primary(bench: Bench) -> Story:
    """All pods of the primary crash in the middle of an analysis, and come back."""
    with open_story(bench.app("crashed"), pre_stop=0) as story:
        story.app.deploy("v2")
        story.app.at_weight(20)
        time.sleep(SETTLED)
        story.mark("crashed")
        bench.pods.crash(story.app.name, "app:v1")
        time.sleep(OUTAGE)
        bench.pods.heal(story.app.name)
        story.mark("healed")
        finish(story)
    return story


def busy(bench: Bench) -> Story:
    """The proxy hears of another route every half second."""
    other, over = bench.app("others"), threading.Event()

    def change() -> None:
        number = 0
        while not over.wait(0.5):
            number += 1
            other.host = f"other-{number}.test"
            for body in bench.data_plane.used(other):
                bench.api.apply(body, other.name)

    with open_story(bench.app("busy")) as story:
        changing = threading.Thread(target=change, daemon=True)
        changing.start()
        try:
            story.app.deploy("v2")
            finish(story)
        finally:
            over.set()
            changing.join()
    return story


def insiders(bench: Bench) -> Story:
    """A/B: who sends a header gets the new version, and nobody else."""
    analysis = {
        "iterations": 3,
        "maxWeight": None,
        "stepWeight": None,
        "match": [{"headers": {"x-canary": {"exact": "insider"}}}],
    }
    with open_story(bench.app("ab"), analysis=analysis) as story, ExitStack() as stack:
        story.others = stack.enter_context(requests(URL, story.app.host, headers={"x-canary": "insider"}))
        story.app.deploy("v2")
        finish(story)
    return story


def copies(bench: Bench) -> Story:
    """The canary first gets copies of the requests."""
    with open_story(bench.app("mirror"), analysis={"mirror": True, "mirrorWeight": 100}) as story:
        story.app.deploy("v2")
        finish(story)
    return story


def affinity(bench: Bench) -> Story:
    """Users who met the canary stay there."""
    more = {"analysis": {"sessionAffinity": {"cookieName": "sticky", "maxAge": 600}}}
    with open_story(bench.app("affinity"), **more) as story, ExitStack() as stack:
        story.others = stack.enter_context(users(URL, story.app.host))
        story.app.deploy("v2")
        finish(story)
    return story


def killed_controller(bench: Bench) -> Story:
    """The controller is killed again and again during a promotion, and started 2 s later."""
    with open_story(bench.app("killed")) as story:
        story.app.deploy("v2")
        while story.app.status().get("phase") not in {"Succeeded", "Failed"}:
            time.sleep(7)
            bench.kill("controller")
            time.sleep(2)
            bench.start_controller()
        finish(story)
    return story


Scenario = Callable[[Bench], Story]
Stories = dict[str, "Future[Story]"]


@contextmanager
def play(
    data_plane: DataPlane, folder: Path, side_by_side: Iterable[Scenario], alone: Iterable[Scenario] = ()
) -> Iterator[Stories]:
    """Start a bench, play scenarios on it, and yield their stories under way, by the names of the functions."""
    with demand_parts(), own_network(), bench(data_plane, folder, installation(data_plane.provider)) as running:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            stories = {scenario.__name__: pool.submit(scenario, running) for scenario in side_by_side}
        with ThreadPoolExecutor(1) as pool:
            stories |= {scenario.__name__: pool.submit(scenario, running) for scenario in alone}
        yield stories


@contextmanager
def demand_parts() -> Iterator[None]:
    """Skip a test that lacks a part of its bench; in CI that is a failure."""
    try:
        yield
    except (MissingProgram, NoNetworkError) as problem:
        (pytest.fail if "CI" in os.environ else pytest.skip)(str(problem))


def get_story(stories: Stories, name: str) -> Story:
    """Return a story that the data plane supports."""
    if name not in stories:
        pytest.skip(f"this data plane does not support {name}")
    return stories[name].result()


SIDE_BY_SIDE: tuple[Scenario, ...] = (
    promotion, whole_promotion, rollback, in_use,
    crash_of_the_canary, crash_of_the_primary, another_name, options, busy,
)  # fmt: skip
OPTIONAL: dict[str, Scenario] = {"ab": insiders, "mirror": copies, "affinity": affinity}
ALONE: tuple[Scenario, ...] = (killed_controller,)
