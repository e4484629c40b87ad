"""The watcher finds every violation: each test spoils a sound history in one place."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from attrs import evolve, frozen

from canarycore import Phase, Status
from canarycore._ladder import INITIAL_RUNG, Rung
from canarycore_kubernetes.api.metadata import REVISION
from canarycore_kubernetes.resources.status_codec import write_status
from canarycore_planes.control_plane.api import Json
from canarycore_planes.control_plane.plane import Plane
from tests.cluster.rollouts import BAD, FIRST, bring, controllers, create, ended, hastened, measured
from tests.cluster.watcher import NAME, Answered, Version, idle_writes, looks, steps, violations, watching
from tests.controlplane.proxy import Passage, proxied

PRIMARY = f"{NAME}-primary"


@frozen(kw_only=True)
class History:
    """The history of one canary: its initialisation, a promotion and a rollback."""

    versions: tuple[Version, ...]
    answers: tuple[Answered, ...]
    writes: tuple[Passage, ...]

    def where(self, kind: str, name: str, so: Callable[[Json, Status], bool]) -> Version:
        """The first version of the object that is so; `so` is given the body and the status that is stored then."""
        for step in steps(self.versions):
            version = step.version
            if (version.kind, version.name) == (kind, name) and so(version.body, step.after.status):
                return version
        raise AssertionError(f"no {kind} {name} is so")

    def changed(self, version: Version, change: Callable[[Json], None]) -> History:
        """The same with another body in one place."""
        return self.replaced(version, evolve(version, body=_changed(version.body, change)))

    def replaced(self, version: Version, *others: Version) -> History:
        found = (others if one is version else (one,) for one in self.versions)
        return evolve(self, versions=tuple(each for one in found for each in one))

    def committed(self, so: Callable[[Status, Status], bool], **changes: object) -> History:
        """The same with another status in one commit; `so` is given the statuses before and after it."""
        for step in steps(self.versions):
            if step.commits and so(step.before.status, step.after.status):
                assert step.after.rollout is not None
                other = write_status(step.after.rollout, step.after.status.but(**changes))
                return self.replaced(step.version, evolve(step.version, body=_with_status(step.version.body, other)))
        raise AssertionError("no commit is so")

    def earlier(self, version: Version, than: Version) -> History:
        """The same with one version right before another one."""
        moved = evolve(version, number=than.number - 1)
        others = (evolve(one, number=one.number - 2 * (one.number < than.number)) for one in self.versions)
        return evolve(self, versions=(moved, *(one for one in others if one.body is not version.body)))

    def later(self, body: Json, kind: str) -> History:
        """The same and one more version at the end."""
        last = max(one.number for one in self.versions)
        return evolve(self, versions=(*self.versions, Version(number=last + 1, kind=kind, body=body)))


def _with_status(body: Json, status: Json) -> Json:
    return body | {"status": body["status"] | status}


def _changed(body: Json, change: Callable[[Json], None]) -> Json:
    copy: Json = json.loads(json.dumps(body))
    change(copy)
    return copy


@pytest.fixture(scope="module")
def history(plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """A sound one, of a real controller."""
    with hastened():
        yield asyncio.run(_recorded(plane, tmp_path_factory.mktemp("logs")))


async def _recorded(plane: Plane, folder: Path) -> History:
    namespace = f"watched-{uuid.uuid4().hex[:8]}"
    with (
        watching(plane.api.access) as watcher,
        measured() as server,
        controllers(plane, server.url, folder) as processes,
        proxied(plane.api.access) as proxy,
    ):
        create(plane.api, namespace)
        processes.start(namespace, proxy)
        await watcher.comes(namespace, ended(FIRST))
        bring(plane.api, namespace, "podinfo:2")
        await watcher.comes(namespace, ended("podinfo:2"))
        server.values[namespace] = BAD
        bring(plane.api, namespace, "podinfo:3")
        await watcher.comes(namespace, ended("podinfo:3"))
        versions = tuple(watcher.versions(namespace))
        plane.api.delete(f"/api/v1/namespaces/{namespace}")
    spread = tuple(evolve(one, number=10 * one.number) for one in versions)  # with room in between
    return History(versions=spread, answers=tuple(server.answers[namespace]), writes=tuple(proxy.log))


# ------------------------------------------------------------------------------------------------------ what is spoilt


def _share(percent: int, primary: int | None = None) -> Callable[[Json], None]:
    def change(body: Json) -> None:
        weights = (100 - percent if primary is None else primary), percent
        for route, weight in zip(body["spec"]["http"][-1]["route"], weights, strict=True):
            route["weight"] = weight

    return change


def _split(history: History, percent: int, phase: Phase | None = None) -> Version:
    def so(body: Json, status: Status) -> bool:
        gets = body["spec"]["http"][-1]["route"][1]["weight"]
        return bool(gets == percent and phase in {None, status.phase})

    return history.where("VirtualService", NAME, so)


def _image(name: str) -> Callable[[Json], None]:
    return lambda body: body["spec"]["template"]["spec"]["containers"][0].update(image=name)


def _promoted(history: History) -> Version:
    return history.where("Deployment", PRIMARY, lambda _, status: status.phase is Phase.PROMOTING)


def _scaled(history: History, replicas: int, phase: Phase) -> Version:
    return history.where(
        "Deployment", NAME, lambda body, now: now.phase is phase and body["spec"]["replicas"] == replicas
    )


def _without_pods(history: History) -> History:
    """When the canary is sent requests first."""
    split, spoilt = _split(history, 30), history
    for one in history.versions:
        if one.number < split.number and one.kind == "Deployment" and one.name == NAME:
            spoilt = spoilt.changed(one, lambda body: body["status"].update(availableReplicas=0))
    return spoilt


def _another_target(history: History) -> History:
    split = _split(history, 30)
    target = _scaled(history, 2, Phase.PROGRESSING)
    other = evolve(target, number=split.number - 1, body=_changed(target.body, _image("podinfo:unknown")))
    return evolve(history, versions=(*history.versions, _with_generation(other)))


def _with_generation(version: Version) -> Version:
    return evolve(version, body=_changed(version.body, lambda body: body["metadata"].update(generation=99)))


def _mixed_pods(history: History) -> History:
    """On the primary, when requests go back to it."""
    back, spoilt = _split(history, 0, Phase.FAILED), history
    for one in history.versions:
        if one.number < back.number and one.kind == "Deployment" and one.name == PRIMARY:
            spoilt = spoilt.changed(one, lambda body: body["status"].update(replicas=3, updatedReplicas=2))
    return spoilt


def _without(kind: str, so: Callable[[Json], bool]) -> Callable[[History], History]:
    def spoil(history: History) -> History:
        kept = tuple(one for one in history.versions if one.kind != kind or not so(one.body))
        assert len(kept) < len(history.versions)
        return evolve(history, versions=kept)

    return spoil


def _says(value: float | None) -> Callable[[History], History]:
    return lambda history: evolve(history, answers=tuple(evolve(one, value=value) for one in history.answers))


def _unsettled(history: History) -> History:
    return history.committed(lambda before, after: before.phase is after.phase is Phase.FAILED, phase=Phase.PROGRESSING)


def _scaled_down_early(history: History) -> History:
    return history.earlier(_scaled(history, 0, Phase.SUCCEEDED), _split(history, 0, Phase.FINALISING))


def _scaled_up_early(history: History) -> History:
    first = history.where("Canary", NAME, lambda _, status: status.phase is Phase.PROGRESSING)
    return history.earlier(_scaled(history, 2, Phase.PROGRESSING), first)


SPOILT: dict[str, tuple[str, Callable[[History], History]]] = {
    "a phase is skipped": (
        "table",
        lambda it: it.committed(lambda _, now: now.rung.weight == 60, phase=Phase.SUCCEEDED, rung=INITIAL_RUNG),
    ),
    "requests for no pods": ("I1", _without_pods),
    "pods go before their requests": ("I1", _scaled_down_early),
    "a weight of its own": ("I2", lambda it: it.changed(_split(it, 30), _share(45))),
    "weights that do not add up": ("I2", lambda it: it.changed(_split(it, 30), _share(30, 60))),
    "a rung is left out": ("I2", lambda it: it.committed(lambda _, now: now.rung.weight == 30, rung=Rung(weight=60))),
    "requests for another revision": ("I3", _another_target),
    "nobody was asked": ("I3", lambda it: evolve(it, answers=())),
    "the check failed": ("I3", _says(1.0)),
    "the interval was cut short": (
        "I3",
        lambda it: it.committed(lambda _, now: now.rung.weight == 60, analysed_at=0.0),
    ),
    "the primary got another revision": (
        "I4",
        lambda it: it.changed(_promoted(it), lambda body: body["metadata"]["annotations"].update({REVISION: "x"})),
    ),
    "the primary got other pods": ("I4", lambda it: it.changed(_promoted(it), _image("podinfo:unknown"))),
    "pods came before the decision": ("I5", _scaled_up_early),
    "the rejected succeeded": (
        "I5",
        lambda it: it.committed(lambda was, now: was.phase is now.phase is Phase.FAILED, phase=Phase.SUCCEEDED),
    ),
    "back to mixed pods": ("I6", _mixed_pods),
    "it never settled": ("I8", _unsettled),
    "two checks failed at once": (
        "I9",
        lambda it: it.committed(lambda _, now: now.failed_checks == 1, failed_checks=2),
    ),
    "the end was not told": ("I10", _without("Event", lambda body: body["message"].startswith("Promotion completed"))),
    "no data": ("I11", _says(None)),
    "data that is no number": ("I11", _says(float("nan"))),
    "a new revision kept its requests": (
        "I13",
        lambda it: it.committed(lambda _, now: now.rung.weight == 60, rung=INITIAL_RUNG),
    ),
    "a revision was missed": (
        "I14",
        lambda it: it.later(
            _changed(_with_generation(_scaled(it, 2, Phase.PROGRESSING)).body, _image("podinfo:unknown")),
            "Deployment",
        ),
    ),
}


def test_the_history_of_a_controller_is_sound(history: History):
    assert violations(history.versions, history.answers) == []


@pytest.mark.parametrize("what", SPOILT)
def test_every_spoilt_history_is_found(what: str, history: History):
    promise, spoil = SPOILT[what]
    spoilt = spoil(history)
    assert promise in {found.partition(":")[0] for found in violations(spoilt.versions, spoilt.answers)}


def test_a_write_that_changes_nothing_is_found(history: History):
    versions = [evolve(one, number=one.number // 10) for one in history.versions]
    assert idle_writes(versions, history.writes) == []
    (again, *_) = [one for one in history.writes if one.version]
    assert len(idle_writes(versions, [*history.writes, again])) == 1


@pytest.mark.parametrize("kind", ["VirtualService", "Deployment", "Canary", "ControllerRevision"])
def test_worlds_that_ended_in_another_way_look_different(kind: str, history: History):
    ends = [step.after for step in steps(history.versions) if step.version.kind == kind]
    assert any(looks(one) != looks(other) for one, other in pairwise(ends)) or len(ends) == 1
