"""A tenant with 300 hostile Canaries, and an honest team with 20 beside it: tests/hostile says how.

The session `hostile` runs the trial, which takes minutes. The session `cluster` only looks at what is admitted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from canarycore_kubernetes.deploy.objects import InstallOptions, objects
from canarycore_planes.control_plane.api import Api, Json, RequestError, eventually
from canarycore_planes.control_plane.plane import Plane
from tests.controlplane.plane import plane as started
from tests.hostile.honest import TEAM, MissingPrometheus
from tests.hostile.kinds import KINDS, Tenant, canary, objects_of
from tests.hostile.server import RemoteServer, RemoteServers
from tests.hostile.trial import COUNT, HONEST, HOSTILE, Trial, percentile, run

LATE, HEALTH, MEMORY = 1.0, 1.0, 512.0
"""Seconds, seconds, MiB."""

STALLED = 5.0
"""Seconds by which no answer may be late, whatever this machine does."""

MOMENTS = 5 * len(TEAM)
"""Decisions about the honest Canaries in one part, at least."""

FLAGGERS = frozenset({"Canary", "MetricTemplate", "AlertProvider"})


# --------------------------------------------------------------------------------------------------------- the trial


@pytest.fixture(scope="module")
def trial(plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """Both parts, once for all claims."""
    try:
        outcome = run(plane, tmp_path_factory.mktemp("hostile"))
    except MissingPrometheus as error:
        (pytest.fail if "CI" in os.environ else pytest.skip)(str(error))
    sys.stdout.write(f"{outcome}\n")  # pytest shows it where a claim fails
    yield outcome
    for namespace in (HONEST, HOSTILE):
        plane.api.delete(f"/api/v1/namespaces/{namespace}")


@pytest.mark.hostile
def test_all_honest_canaries_end_beside_hostile_ones_as_they_end_alone(trial: Trial):
    assert {name: story[-1][0] for name, story in trial.alone.stories.items()} == {
        name: kind.ending for name, kind in TEAM.items()
    }
    assert trial.beside.stories == trial.alone.stories


@pytest.mark.hostile
def test_honest_canaries_tell_and_call_beside_hostile_ones_what_they_do_alone(trial: Trial):
    assert trial.beside.told == trial.alone.told
    assert trial.beside.calls == trial.alone.calls


@pytest.mark.hostile
def test_honest_canaries_are_looked_at_in_time_beside_hostile_ones(trial: Trial):
    assert min(len(trial.alone.lateness), len(trial.beside.lateness)) >= MOMENTS
    assert percentile(trial.beside.lateness, 99) < LATE
    assert trial.beside.seconds < 2 * trial.alone.seconds


@pytest.mark.hostile
def test_the_controllers_memory_stays_bounded_whatever_a_tenant_applies(trial: Trial):
    assert max(trial.memory) < MEMORY


@pytest.mark.hostile
def test_the_controller_answers_for_its_health_whatever_a_tenant_applies(trial: Trial):
    """A machine that stalls makes an answer late too, and then the controller's loop is not busy."""
    assert max(min(late, busy) for late, busy in zip(trial.health, trial.busy, strict=True)) < HEALTH
    assert max(trial.health) < STALLED + max(trial.reference)


@pytest.mark.hostile
def test_no_credential_reaches_a_hostile_server(trial: Trial):
    assert trial.leaks == []
    assert trial.requests > COUNT / 10, "hardly anything was asked of the hostile servers"


@pytest.mark.hostile
def test_no_object_of_others_changes_whatever_a_tenant_applies(trial: Trial):
    assert trial.foreign
    assert trial.harmed == []


@pytest.mark.hostile
def test_no_hostile_canary_vanishes(trial: Trial):
    assert trial.refused == [], "Flagger's definitions take all kinds"
    assert trial.vanished == []


# --------------------------------------------------------------------------------------------------------- admission


@pytest.fixture(scope="module")
def admitting(plane: Plane) -> Iterator[Api]:
    """A plane of its own with our definitions and our policy: the shared one has Flagger's definitions."""
    del plane  # it has seen to it that the servers are there
    with started(kinds=(), pods=False) as running:
        for body in objects(InstallOptions(providers=("istio",))):
            running.api.apply(body)
        eventually(lambda: _is_refused(running.api, canary("probe", stepWeights=None)))
        yield running.api


def _is_refused(api: Api, body: Json) -> bool:
    """Whether an object of Flagger's kinds would not be admitted."""
    try:
        path = api.path(body, "default", named=False)
        api.request("POST", path, body, dryRun="All", fieldValidation="Ignore")
    except RequestError as error:
        return error.status in {400, 413, 422}
    return False


def test_our_definitions_refuse_the_kinds_that_exceed_a_bound(admitting: Api):
    nowhere = RemoteServer("http://127.0.0.1:1", log=None)
    tenant = Tenant(namespace="default", servers=RemoteServers(nowhere, nowhere))
    refused = {
        name
        for name, kind in KINDS.items()
        if any(_is_refused(admitting, body) for body in objects_of(kind, tenant, "a") if body["kind"] in FLAGGERS)
    }
    assert refused == {name for name, kind in KINDS.items() if kind.is_refused}
