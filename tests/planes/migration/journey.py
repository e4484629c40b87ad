"""The takeover from a real Flagger in each state of a rollout, and the hand-back in the same state.

Each state has an app, a Flagger and a controller of its own, so all are played side by side. Flagger brings the app
into the state, an observer beside it. The commands of `canary migrate` stop Flagger and start the controller, and the
rollout ends. Then the controller brings the app into the state, and the way back leads to Flagger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import define, field, frozen

from canarycore_kubernetes.api.metadata import is_revision
from canarycore_planes.bench import INTERVAL, TARGET, URL, Bench
from canarycore_planes.clients import Log, requests
from canarycore_planes.control_plane.api import Json, eventually
from tests.planes.migration.flagger import NAME, PATIENCE, CommandResult, MetricsServer, Site

RATE = 10.0
"""Requests a second to each app."""

QUIET = 2.5 * INTERVAL
"""Seconds in which a rollout would begin."""

OBSERVED = 3.0
"""Seconds after a move within which the observer has compared it."""

PRE_STOP = 8
"""Seconds for which pods sleep before they end: Flagger ends pods that still get requests."""

ANALYSIS = {
    "threshold": 3,
    "stepWeight": 40,
    "maxWeight": 80,
    "metrics": [{"name": "request-success-rate", "interval": "15s", "thresholdRange": {"min": 99}}],
}


@define
class Migration:
    """The migration of one app."""

    site: Site
    metrics: MetricsServer
    log: Log = field(factory=Log)
    """All requests of users."""
    marks: dict[str, float] = field(factory=dict)
    """Moments (seconds since the epoch)."""
    found: dict[str, Json] = field(factory=dict)
    """The status at some moments."""
    targets: dict[str, tuple[Json, ...]] = field(factory=dict)
    """The Deployments and pods at some moments."""
    results: dict[str, CommandResult] = field(factory=dict)
    """The results of commands."""
    observed: dict[str, list[Json]] = field(factory=dict)
    """The observer's lines beside Flagger, before the takeover and after the hand-back."""

    @property
    def name(self) -> str:
        """The name of the app."""
        return self.site.app.name

    def mark(self, name: str) -> None:
        """Note a moment, with its status and its pods."""
        self.marks[name] = time.time()
        self.found[name] = self.site.app.status()
        self.targets[name] = self._templates()

    def _templates(self) -> tuple[Json, ...]:
        """Return the pod templates and the number of pods of the target and its primary, and the primary's pods."""
        api, root = self.site.app.bench.api, f"/namespaces/{self.name}"
        bodies = [api.get(f"/apis/apps/v1{root}/deployments/{name}") or {} for name in (TARGET, f"{TARGET}-primary")]
        pods = api.list(f"/api/v1{root}/pods", labelSelector=f"app={TARGET}-primary")
        uids = sorted(body["metadata"]["uid"] for body in pods if "deletionTimestamp" not in body["metadata"])
        return (*({key: body["spec"][key] for key in ("template", "replicas")} for body in bodies), {"pods": uids})

    @property
    def adopted(self) -> Json:
        """The first status of the controller: it stores Flagger's in its own terms before its first decision."""
        return next(status for status in self.site.app.statuses if is_revision(status.get("lastAppliedSpec", "")))

    def states(self, begin: str, end: str = "") -> list[tuple[str, int]]:
        """Return the phases and weights between two moments."""
        last = self.marks[end] if end else float("inf")
        return [tuple(state) for at, *state in self.site.app.states if self.marks[begin] <= at < last]

    def requests(self, begin: str, end: str = "") -> Log:
        """Return the requests between two moments."""
        return self.log.between(self.marks[begin], self.marks[end] if end else float("inf"))

    def describe(self) -> str:
        """Return what a failure needs."""
        begin = self.site.app.states[0][0] if self.site.app.states else 0.0
        states = [f"{at - begin:.1f} {phase} {weight}" for at, phase, weight in self.site.app.states]
        marks = [f"{at - begin:.1f} {name}" for name, at in self.marks.items()]
        lost = list(map(str, self.log.lost()[:10]))
        return "\n".join([f"states: {states}", f"marks: {marks}", f"lost: {lost}", self.site.logs()])


# -------------------------------------------------------------------------------------------------------------- states


def _initialized(migration: Migration, version: str) -> None:
    del version
    migration.site.app.ends("Initialized")


def _succeeded(migration: Migration, version: str) -> None:
    migration.site.app.deploy(version)
    migration.site.app.ends("Succeeded", seconds=PATIENCE)


def _failed(migration: Migration, version: str) -> None:
    migration.metrics.bad.add(migration.name)
    migration.site.app.deploy(version)
    migration.site.app.ends("Failed", seconds=PATIENCE)
    migration.metrics.bad.discard(migration.name)


def _at_weight(migration: Migration, version: str) -> None:
    migration.site.app.deploy(version)
    migration.site.app.at_weight(ANALYSIS["stepWeight"])


def _promoting(migration: Migration, version: str) -> None:
    migration.site.app.deploy(version)
    migration.site.app.ends("Promoting")


def _failing(migration: Migration, version: str) -> None:
    _at_weight(migration, version)
    migration.metrics.bad.add(migration.name)
    app = migration.site.app
    eventually(lambda: app.status().get("failedChecks") == 2, PATIENCE, app.status)


@frozen(kw_only=True)
class State:
    """A state in which one controller takes over from the other."""

    enter: Callable[[Migration, str], None]
    """Bring the app into the state by a version."""
    end: str
    """The phase in which the rollout ends after the takeover."""
    after: tuple[str, ...] = ("Progressing", "Succeeded")
    """Phases of Flagger's rollouts after the hand-back, up to the last."""

    @property
    def is_idle(self) -> bool:
        """Whether no rollout is under way."""
        return self.enter in (_initialized, _succeeded, _failed)


STATES: Mapping[str, State] = {
    "initialized": State(enter=_initialized, end="Initialized"),
    "succeeded": State(enter=_succeeded, end="Succeeded"),
    "failed": State(enter=_failed, end="Failed"),
    "weight": State(enter=_at_weight, end="Succeeded"),
    "promoting": State(enter=_promoting, end="Succeeded", after=("Succeeded", "Progressing", "Succeeded")),
    "failing": State(enter=_failing, end="Failed", after=("Progressing", "Failed")),
}


# --------------------------------------------------------------------------------------------------------- the journey


def migrate(bench: Bench, metrics: MetricsServer, kubeconfig: Path, name: str) -> Migration:
    """Take over in a state and hand back in it."""
    state, app = STATES[name], bench.app(name)
    app.pre_stop = PRE_STOP
    migration = Migration(Site(app, kubeconfig, metrics.url), metrics)
    try:
        migration.site.install_flagger()
        app.begin(analysis=ANALYSIS)
        with requests(URL, app.host, RATE) as migration.log:
            _take_over(migration, state)
            _hand_back(migration, state)
    except AssertionError as error:
        error.add_note(migration.describe())
        raise
    return migration


def _take_over(migration: Migration, state: State) -> None:
    site = migration.site
    migration.results["plan"] = site.canary("migrate", "-n", site.app.name, "--json")
    lint, observe, _, stop, install, look = (step["command"] for step in migration.results["plan"].json["steps"])
    migration.results["lint"] = site.carry_out(lint)
    site.start_observer(observe)
    state.enter(migration, "v2")
    if state.is_idle:
        time.sleep(INTERVAL)
    migration.results["stop"] = site.carry_out(stop)
    migration.mark("stopped")
    time.sleep(OBSERVED)
    migration.observed["takeover"] = site.stop_observer()
    site.carry_out(install)
    eventually(lambda: is_revision(site.app.status()["lastAppliedSpec"]), PATIENCE, site.app.status)
    migration.mark("taken over")
    migration.results["look"] = site.carry_out(f"{look} --json")
    if not state.is_idle:
        site.app.ends(state.end, seconds=PATIENCE)
        migration.mark("ended")
    time.sleep(QUIET)
    migration.mark("quiet")
    migration.metrics.bad.discard(site.app.name)


def _hand_back(migration: Migration, state: State) -> None:
    site = migration.site
    _, back, stop, start = (step["command"] for step in migration.results["plan"].json["way_back"])
    if state.is_idle:
        migration.results["back"] = site.carry_out(f"{back} -n {site.app.name} --yes --json")
        migration.results["stop own"] = site.carry_out(stop)
    else:
        state.enter(migration, "v3")
        migration.results["stop own"] = site.carry_out(stop)
        migration.results["back"] = site.carry_out(f"{back} -n {site.app.name} --yes --json")
    site.start_observer()
    migration.mark("handed back")
    site.carry_out(start)
    for phase in state.after:
        site.app.ends(phase, seconds=PATIENCE)
    migration.mark("finished")
    time.sleep(QUIET)
    migration.mark("over")
    assert site.carry_out(f"kubectl -n {site.app.name} scale deployment/{NAME} --replicas=0").code == 0
    migration.observed["hand-back"] = site.stop_observer()
