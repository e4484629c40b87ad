"""Rollouts on a bench, each with an app of its own and a client that notes every answer.

Each function plays one scenario and returns its `Story`. The stories of one bench run side by side, but for those that
kill the controller.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise

from attrs import define, field

from tests.planes.bench import URL, App, Bench
from tests.planes.clients import Log, requests, users

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
        changes = [*self.app.seen, (time.time(), "", -1)]
        spans = [
            (begin, end)
            for (begin, phase, seen), (end, *_) in pairwise(changes)
            if seen == weight and phase == "Progressing"
        ]
        return Log([one for begin, end in spans for one in self.log.between(begin + 2.0, end - 0.5).asked])

    def losses(self) -> Counter[str]:
        """Return the lost requests, counted by what was answered."""
        return Counter(f"{one.status} {one.version or 'by no pod'} {one.error}".strip() for one in self.log.lost())


@contextmanager
def story(app: App, **more: object) -> Iterator[Story]:
    """Begin an app with its Canary, and send requests meanwhile."""
    app.begin(**more)
    told = Story(app)
    with requests(URL, app.host) as told.log:
        time.sleep(SETTLED)
        yield told
        time.sleep(SETTLED)


def _finish(told: Story) -> None:
    told.end = told.app.ends("Succeeded", "Failed")
    told.mark("ended")
    time.sleep(DRAINED)


# ------------------------------------------------------------------------------------------------------------ scenarios


def promotion(bench: Bench) -> Story:
    """A good version."""
    with story(bench.app("promotion")) as told:
        told.app.deploy("v2")
        _finish(told)
    return told


def rollback(bench: Bench) -> Story:
    """A version with errors."""
    with story(bench.app("rollback")) as told:
        told.app.deploy("v2", ERRORS=50)
        _finish(told)
    return told


def another_name(bench: Bench) -> Story:
    """The Service has another name than the target."""
    app = bench.app("named")
    app.service = "backend"
    with story(app, service={"name": app.service}) as told:
        app.deploy("v2")
        _finish(told)
    return told


def options(bench: Bench) -> Story:
    """All options of the Service that the data plane supports."""
    with story(bench.app("options"), service=dict(bench.data_plane.options)) as told:
        told.app.deploy("v2")
        _finish(told)
    return told


def in_use(bench: Bench) -> Story:
    """An app that is in use gets a Canary, and loses it."""
    app = bench.app("used")
    app.create(*bench.data_plane.used(app), app.deployment())
    app.is_reachable()
    told = Story(app)
    with requests(URL, app.host) as told.log:
        time.sleep(SETTLED)
        app.create(app.canary(revertOnDeletion=True))
        told.end = app.ends("Initialized")
        time.sleep(DRAINED)
        told.mark("deleted")
        app.delete()
        time.sleep(DRAINED)
    return told


def crash_of_the_canary(bench: Bench) -> Story:
    """All pods of the canary crash in the middle of its analysis, and stay away."""
    with story(bench.app("crash")) as told:
        told.app.deploy("v2")
        told.app.at_weight(20)
        time.sleep(SETTLED)
        told.mark("crashed")
        bench.pods.crash(told.app.name, "app:v2")
        _finish(told)
    return told


def crash_of_the_primary(bench: Bench) -> Story:
    """All pods of the primary crash in the middle of an analysis, and come back."""
    with story(bench.app("crashed")) as told:
        told.app.deploy("v2")
        told.app.at_weight(20)
        time.sleep(SETTLED)
        told.mark("crashed")
        bench.pods.crash(told.app.name, "app:v1")
        time.sleep(OUTAGE)
        bench.pods.heal(told.app.name)
        told.mark("healed")
        _finish(told)
    return told


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

    with story(bench.app("busy")) as told:
        changing = threading.Thread(target=change, daemon=True)
        changing.start()
        try:
            told.app.deploy("v2")
            _finish(told)
        finally:
            over.set()
            changing.join()
    return told


def insiders(bench: Bench) -> Story:
    """A/B: who sends a header gets the new version, and nobody else."""
    analysis = {
        "iterations": 3,
        "maxWeight": None,
        "stepWeight": None,
        "match": [{"headers": {"x-canary": {"exact": "insider"}}}],
    }
    with story(bench.app("ab"), analysis=analysis) as told, ExitStack() as stack:
        told.others = stack.enter_context(requests(URL, told.app.host, **{"x-canary": "insider"}))
        told.app.deploy("v2")
        _finish(told)
    return told


def copies(bench: Bench) -> Story:
    """The canary first gets copies of the requests."""
    with story(bench.app("mirror"), analysis={"mirror": True, "mirrorWeight": 100}) as told:
        told.app.deploy("v2")
        _finish(told)
    return told


def affinity(bench: Bench) -> Story:
    """Users who met the canary stay there."""
    more = {"analysis": {"sessionAffinity": {"cookieName": "sticky", "maxAge": 600}}}
    with story(bench.app("affinity"), **more) as told, ExitStack() as stack:
        told.others = stack.enter_context(users(URL, told.app.host))
        told.app.deploy("v2")
        _finish(told)
    return told


def killed_controller(bench: Bench) -> Story:
    """The controller is killed again and again during a promotion, and started 2 s later."""
    with story(bench.app("killed")) as told:
        told.app.deploy("v2")
        while told.app.status().get("phase") not in {"Succeeded", "Failed"}:
            time.sleep(7)
            bench.kill("controller")
            time.sleep(2)
            bench.start_controller()
        _finish(told)
    return told


Scenario = Callable[[Bench], Story]

SIDE_BY_SIDE: tuple[Scenario, ...] = (
    promotion, rollback, in_use, crash_of_the_canary, crash_of_the_primary, another_name, options, busy,
)  # fmt: skip
OPTIONAL: dict[str, Scenario] = {"ab": insiders, "mirror": copies, "affinity": affinity}
ALONE: tuple[Scenario, ...] = (killed_controller,)
