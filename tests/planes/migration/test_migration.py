"""A migration from a real Flagger and back costs no request. tests/planes/README.md says how to run this.

Each state is played once, side by side with the others, and each test makes a claim about one of them.
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
from tests.planes.migration.flagger import for_flagger, metrics_server
from tests.planes.migration.journey import STATES, Migration, migrate
from tests.planes.scenarios import demand_parts

pytestmark = [pytest.mark.planes, pytest.mark.timeout(1800)]

IDLE = [name for name, state in STATES.items() if state.is_idle]
UNDER_WAY = [name for name, state in STATES.items() if not state.is_idle]

ANALYSIS = [
    ("Progressing", 0),
    ("Progressing", 40),
    ("Progressing", 80),
    ("Promoting", 80),
    ("Finalising", 0),
    ("Succeeded", 0),
]
"""The states of a whole rollout under Flagger."""

Migrations = dict[str, "Future[Migration]"]


@pytest.fixture(scope="module")
def migrations(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Migrations]:
    """The migrations of the selected tests, under way."""
    folder = tmp_path_factory.mktemp("migrations") / "bench"
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    selected = {item.callspec.params["name"] for item in tests if item.module is request.module}
    with demand_parts():
        program("flagger")
        with (
            own_network(),
            metrics_server() as metrics,
            bench(for_flagger(SKIPPER), folder, installation(SKIPPER.provider), has_controller=False) as running,
            ThreadPoolExecutor(len(STATES)) as pool,
        ):
            kubeconfig = running.plane.kubeconfig(name="user")
            yield {name: pool.submit(migrate, running, metrics, kubeconfig, name) for name in selected}


def get(migrations: Migrations, name: str) -> Migration:
    """Return a migration at its end."""
    return migrations[name].result()


@pytest.mark.parametrize("name", STATES)
def test_no_request_is_lost(migrations: Migrations, name: str) -> None:
    migration = get(migrations, name)
    assert len(migration.log.entries) > 500
    assert [str(entry) for entry in migration.log.lost()] == [], migration.describe()


@pytest.mark.parametrize("name", STATES)
def test_every_command_of_the_plan_succeeds(migrations: Migrations, name: str) -> None:
    results = get(migrations, name).results
    assert {step: result.code for step, result in results.items() if result.code} == (
        {} if STATES[name].is_idle else {"back": 1}
    ), results
    assert results["plan"].json["refusals"] == []


@pytest.mark.parametrize("name", IDLE)
def test_a_takeover_at_rest_changes_nothing(migrations: Migrations, name: str) -> None:
    migration = get(migrations, name)
    assert migration.states("stopped", "quiet") == [], migration.describe()
    assert migration.targets["stopped"] == migration.targets["quiet"]
    versions = migration.requests("stopped", "quiet").versions().keys()
    assert versions == {"v2" if name == "succeeded" else "v1"}


@pytest.mark.parametrize("name", UNDER_WAY)
def test_a_takeover_under_way_keeps_weight_and_failed_checks(migrations: Migrations, name: str) -> None:
    migration = get(migrations, name)
    before, after = migration.found["stopped"], migration.adopted
    for key in ("phase", "canaryWeight", "failedChecks"):
        assert before.get(key, 0) == after.get(key, 0), migration.describe()


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("weight", [("Progressing", 80), ("Promoting", 80), ("Finalising", 0), ("Succeeded", 0)]),
        ("promoting", [("Finalising", 0), ("Succeeded", 0)]),
        ("failing", [("Failed", 0)]),
    ],
)
def test_a_rollout_under_way_goes_on_to_its_end(
    migrations: Migrations, name: str, states: list[tuple[str, int]]
) -> None:
    migration = get(migrations, name)
    assert migration.states("stopped", "quiet") == states, migration.describe()


@pytest.mark.parametrize("name", ["failed"])
def test_a_hand_back_in_failed_serves_nobody_the_rejected_revision(migrations: Migrations, name: str) -> None:
    migration = get(migrations, name)
    (each,) = migration.results["back"].json["canaries"]
    assert each["outcome"] == "returned"
    assert migration.requests("stopped").versions().keys() == {"v1"}, migration.describe()


@pytest.mark.parametrize(
    ("name", "states"),
    [
        *((name, ANALYSIS) for name in IDLE),
        ("weight", ANALYSIS),
        ("promoting", [("Finalising", 0), ("Succeeded", 0), *ANALYSIS]),
        ("failing", [("Progressing", 0), ("Progressing", 40), ("Failed", 0)]),
    ],
)
def test_after_a_hand_back_flagger_analyses_once_from_weight_0(
    migrations: Migrations, name: str, states: list[tuple[str, int]]
) -> None:
    migration = get(migrations, name)
    assert migration.states("handed back") == states, migration.describe()


@pytest.mark.parametrize("name", STATES)
def test_the_observer_explains_all_that_flagger_does(migrations: Migrations, name: str) -> None:
    for lines in get(migrations, name).observed.values():
        (summary,) = (line for line in lines if line["event"] == "summary")
        assert not {"unexplained", "troubles"} & summary.keys(), lines


@pytest.mark.parametrize("name", STATES)
def test_the_observer_expects_the_analysis_after_the_hand_back(migrations: Migrations, name: str) -> None:
    lines = get(migrations, name).observed["hand-back"]
    assert next(line["row"] for line in lines if line["event"] == "difference") == "D156", lines


@pytest.mark.parametrize("name", STATES)
def test_flagger_keeps_no_condition_of_ours(migrations: Migrations, name: str) -> None:
    conditions = get(migrations, name).found["over"]["conditions"]
    assert [condition["type"] for condition in conditions] == ["Promoted"]
