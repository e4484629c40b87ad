"""The search over all faults at all steps, and the replay of its schedules."""

from __future__ import annotations

from itertools import product
from math import inf
from typing import get_args

import pytest
from attrs import evolve

from canarycore import Command, CommandKind, GradualReturn, Ladder, NoData, Phase, Reason, Strategy, cycle
from canarycore.simulation import Deploy, Pace, Recreate, Scaler, SendCommand, SetPace
from canarycore.simulation._program import source, with_imports
from canarycore.verification import (
    SITUATIONS,
    STRATEGIES,
    ActorAction,
    CommitConflict,
    Crash,
    Excuse,
    RivalCycle,
    StaleObservation,
    StaleStatus,
    Step,
    Takeover,
    Trial,
    ViolationError,
    WriteTimeout,
    replay,
    trial,
    verify,
)
from canarycore.verification._ends import collect_good_ends
from canarycore.verification._explore import explore
from canarycore.verification._fingerprints import InternTable
from canarycore.verification._model import TrialModel
from canarycore.verification._paths import ShortestPaths
from tests.verify import drivers

PLAIN = Trial(strategy="canary", rollout=STRATEGIES["canary"])
SKIPPED = SITUATIONS["skipAnalysis"]("canary", STRATEGIES["canary"])


@pytest.fixture(scope="module")
def plain():
    return ShortestPaths(explore(TrialModel(PLAIN, cycle), 1))


def nodes_of(paths) -> list:
    return [paths.node(vertex) for vertex in range(len(paths.graph.keys))]


# ----------------------------------------------------------------------------------------- policies without defects


def test_a_rejected_revision_that_comes_back_takes_every_step():
    windowed = Trial(strategy="window", rollout=STRATEGIES["canary with a rollback window"])
    assert [(state.status.history, state.status.rejected) for state in windowed.starts[2:]] == [
        (("v1",), ()),
        ((), ("v1",)),
    ]
    assert verify(windowed, 0).violations == ()


def test_a_gradual_return_ends_by_its_steps():
    assert verify(SITUATIONS["plain"]("steps", STRATEGIES["canary that returns by steps"]), 0).violations == ()


def test_a_return_that_follows_capacity_neither_overloads_the_primary_nor_waits_in_a_circle():
    assert verify(SITUATIONS["plain"]("capacity", STRATEGIES["canary that follows capacity"]), 0).violations == ()


def test_no_single_fault_overloads_a_canary_or_a_primary_that_follow_capacity():
    assert verify(SITUATIONS["plain"]("capacity", STRATEGIES["canary that follows capacity"])).violations == ()


def test_a_trial_shortens_a_gradual_return():
    slow = GradualReturn(step=50, interval=3600.0, deadline=86400.0)
    limited = trial(evolve(STRATEGIES["canary"], gradual_return=slow))
    assert limited.rollout.gradual_return == GradualReturn(step=50, interval=20.0, deadline=60.0)
    assert limited.reduced == ("a return of at most 60 instead of 86400",)


def test_a_trial_limits_the_iterations_of_a_policy():
    ladder = Ladder(strategy=Strategy.BLUE_GREEN, iterations=10**9)
    limited = trial(evolve(STRATEGIES["blue/green"], ladder=ladder))
    assert (limited.rollout.ladder.iterations, limited.reduced) == (100, ("iterations 100 instead of 1000000000",))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_single_fault_breaks_a_skipped_analysis(strategy):
    assert verify(SITUATIONS["skipAnalysis"](strategy, STRATEGIES[strategy])).violations == ()


def test_no_single_fault_breaks_a_canary():
    assert verify(PLAIN).violations == ()


def test_no_single_fault_breaks_a_rollout_that_holds_for_lack_of_data():
    assert verify(evolve(STRATEGIES["canary"], no_data=NoData.HOLD, inconclusive_limit=2)).violations == ()


@pytest.mark.deep
@pytest.mark.parametrize(("strategy", "situation"), [*product(STRATEGIES, SITUATIONS)])
def test_no_single_fault_breaks_anything(strategy, situation):
    assert verify(SITUATIONS[situation](strategy, STRATEGIES[strategy])).violations == ()


@pytest.mark.deep
@pytest.mark.parametrize("strategy", ["canary", "blue/green"])
@pytest.mark.parametrize("situation", ["plain", "skipAnalysis"])
def test_no_pair_of_faults_breaks_anything(strategy, situation):
    assert verify(SITUATIONS[situation](strategy, STRATEGIES[strategy]), 2).violations == ()


# ------------------------------------------------------------------------------------------------- planted defects


@pytest.mark.parametrize(("driver", "broken"), drivers.DEFECTS.items(), ids=lambda part: getattr(part, "__name__", ""))
def test_the_search_finds_a_defect_of_the_loop(driver, broken):
    report = verify(SKIPPED, driver=driver)
    assert broken in {violation.name for violation in report.violations}


def test_the_loop_without_a_defect_breaks_nothing():
    assert verify(SKIPPED, driver=drivers.correct).violations == ()


def test_a_violation_by_effects_before_the_commit_replays_as_a_program(capsys):
    """Flagger has this order."""
    report = verify(PLAIN, driver=drivers.effects_first)
    violation = next(violation for violation in report.violations if violation.name == "I5")
    names = {"replay": lambda *args, **options: replay(*args, **options, driver=drivers.effects_first)}
    program = violation.script.replace(", replay", "")
    with pytest.raises(ViolationError, match="I5"):
        exec(program, names)
    assert "about to" in capsys.readouterr().out


def test_a_step_with_two_excuses_prints_as_a_program():
    step = ActorAction(SetPace("primary", Pace(delay=inf)), Excuse.FAIL | Excuse.WAIT)
    names: dict[str, object] = {}
    exec(with_imports(f"step = {source(step)}"), names)
    assert names["step"] == step


@pytest.mark.parametrize(
    ("situation", "schedule"),
    [
        (
            "plain",
            {2: ActorAction(SendCommand(CommandKind.ABORT, id="abort"), Excuse.FAIL), 3: RivalCycle(), 4: RivalCycle()},
        ),
        (
            "plain",
            {
                2: ActorAction(SendCommand(CommandKind.ABORT, id="abort"), Excuse.FAIL),
                3: RivalCycle(),
                6: StaleObservation(),
            },
        ),
        ("autoscaled", {31: Takeover(10.0), 32: StaleStatus()}),
    ],
)
def test_the_next_cycle_corrects_a_late_effect_of_an_overtaken_process(situation, schedule):
    """The process scales the canary up after another one has ended the rollout."""
    lines: list[str] = []
    replay(SITUATIONS[situation]("canary", STRATEGIES["canary"]), schedule=schedule, report=lines.append)
    assert "target v2 x0" in lines[-1]


def test_a_late_restore_of_the_primary_by_an_overtaken_process_is_corrected():
    """The process aborts while the Canary is deleted and created again with the new revision on both sides."""
    schedule = {
        25: ActorAction(SendCommand(CommandKind.ABORT, id="abort"), Excuse.FAIL),
        28: ActorAction(Recreate(), Excuse.OTHER),
        29: Takeover(10.0),
    }
    lines: list[str] = []
    replay(SITUATIONS["plain"]("canary", STRATEGIES["canary"]), schedule=schedule, report=lines.append)
    assert any("Initialized of v2, weight 0; target v2 x0, primary v1" in line for line in lines)
    assert "Initialized of v2" in lines[-1]
    assert "primary v2" in lines[-1]


def test_a_notice_of_a_poll_counts_as_published_when_it_enters_the_outbox():
    """A poll publishes it, the status changes, and then the failed rollout has the same notice in its outbox."""
    schedule = {
        5: ActorAction(SetPace("primary", Pace(delay=inf)), Excuse.FAIL | Excuse.WAIT),
        13: ActorAction(SendCommand(CommandKind.RETRY, id="retry"), Excuse.OTHER),
        15: WriteTimeout(True),
    }
    lines: list[str] = []
    replay(PLAIN, schedule=schedule, report=lines.append)
    assert sum("about to publish 'All traffic goes to the canary" in line for line in lines) == 2, "once in each phase"


# ------------------------------------------------------------------------------------------ the search itself


def test_the_search_reaches_every_phase(plain):
    assert {node.state.status.phase for node in nodes_of(plain)} == set(Phase) - {
        Phase.WAITING,
        Phase.WAITING_PROMOTION,
    }


def test_the_search_reaches_every_reason_that_its_actions_can_cause(plain):
    reasons = {node.state.status.reason for node in nodes_of(plain)}
    assert reasons == set(Reason) - {Reason.INCONCLUSIVE, Reason.HOOK, Reason.REPLACED}


def test_the_search_takes_every_kind_of_step(plain):
    nodes = list(dict.fromkeys(nodes_of(plain)))[:2000]
    model = plain.graph.model
    moves = [move for node in nodes for move in (*model.free(node), *model.faults(node))]
    assert {type(move.step) for move in moves} == set(get_args(Step))


def test_without_faults_a_rollout_is_promoted_or_rolled_back_or_still_idle():
    ends = collect_good_ends(ShortestPaths(explore(TrialModel(PLAIN, cycle), 0)))
    assert {traits[1][0] for traits in ends} == {Phase.INITIALIZED, Phase.SUCCEEDED}


def test_a_gate_that_stays_closed_is_a_loop_of_few_states():
    gated = SITUATIONS["gates"]("canary", STRATEGIES["canary"])
    assert len(explore(TrialModel(gated, cycle), 0).keys) < 10_000


def test_no_path_to_a_state_is_shorter_than_the_shortest_path(plain):
    vertices = range(0, len(plain.graph.keys), 500)
    assert [len(plain.path_to(vertex)) for vertex in vertices] == [plain.depths[vertex] for vertex in vertices]
    for vertex in range(len(plain.graph.keys)):
        assert all(plain.depths[to] <= plain.depths[vertex] + 1 for to in plain.graph.follows(vertex))


def test_the_path_to_a_state_leads_to_its_node(plain):
    """So the graph need not store the nodes."""
    for vertex in range(0, len(plain.graph.keys), 100):
        *_, (parent, step) = plain.path_to(vertex) or [(None, None)]
        if parent is not None:
            again = (*plain.graph.model.free(plain.node(parent)), *plain.graph.model.faults(plain.node(parent)))
            assert plain.node(vertex) in [move.to for move in again if move.step == step]


def test_states_with_one_difference_have_different_fingerprints():
    """Python's hashes of -1 and -2 are equal."""
    table, state = InternTable(), PLAIN.starts[1]
    others = [
        state.but(now=-1.0),
        state.but(now=-2.0),
        state.but(target=evolve(state.target, changed=-1.0)),
        state.but(target=evolve(state.target, changed=-2.0)),
        state.but(status=state.status.but(analysed_at=-1.0)),
        state.but(status=state.status.but(analysed_at=-2.0)),
        state.but(rollout=evolve(state.rollout, suspend=True)),
        state.but(replicas=3),
        state.but(routes=None),
        state.but(scaler=Scaler()),
        state.but(kept=("v1",)),
        state.but(command=Command(id="1", kind=CommandKind.PAUSE)),
        state.but(deleted=True),
        state.but(restored=True),
        state.but(paces=()),
        state.but(primary=None),
    ]
    fingerprints = [table.fingerprint(each) for each in (state, *others)]
    assert len(set(fingerprints)) == len(fingerprints)
    assert [table.fingerprint(each.but()) for each in (state, *others)] == fingerprints


def test_more_faults_make_more_schedules():
    single, pairs = (verify(SKIPPED, faults, without=[ActorAction]) for faults in (1, 2))
    assert 100 < single.schedules < pairs.schedules
    assert single.transitions < pairs.transitions


@pytest.mark.parametrize("faults", [-1, 4])
def test_another_number_of_faults_raises(faults):
    with pytest.raises(ValueError, match=f"faults: found {faults}, expected 0 to 3"):
        verify(SKIPPED, faults)


def test_a_trial_shortens_a_long_policy_and_says_so():
    shortened = trial(evolve(STRATEGIES["canary"], progress_deadline=600.0, threshold=10, autoscaled=True))
    assert shortened.reduced == ("progress deadline 20 instead of 600", "threshold 2 instead of 10")
    assert shortened.scaler == Scaler(minimum=2)


# ----------------------------------------------------------------------------------------------------- replaying


@pytest.mark.parametrize(
    "step", [Crash(), WriteTimeout(applied=True), WriteTimeout(applied=False), CommitConflict(), RivalCycle()]
)
def test_a_schedule_is_replayed_to_its_end(step):
    lines = []
    replay(PLAIN, schedule={1: step}, report=lines.append)
    assert "Succeeded of v2" in lines[-1]


def test_a_schedule_with_an_action_of_others_is_replayed():
    lines = []
    replay(PLAIN, schedule={9: ActorAction(Deploy("v3"), Excuse.OTHER)}, report=lines.append)
    assert "Succeeded of v3" in lines[-1]


def test_a_step_that_cannot_happen_raises():
    with pytest.raises(ValueError, match="step 0: found CommitConflict\\(\\), expected one of ActorAction, ClockJump"):
        replay(PLAIN, schedule={0: CommitConflict()}, report=lambda _: None)
