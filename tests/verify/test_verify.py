"""Every fault at every step, and what the search itself promises."""

from __future__ import annotations

from math import inf
from typing import get_args

import pytest
from attrs import evolve

from canarycore import Command, CommandKind, Ladder, NoData, Phase, Reason, Strategy, cycle
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
    trials,
    verify,
)
from canarycore.verification._ends import good_ends
from canarycore.verification._explore import explore
from canarycore.verification._fingerprints import InternTable
from canarycore.verification._paths import ShortestPaths
from tests.verify import drivers

PLAIN = Trial(strategy="canary", rollout=STRATEGIES["canary"])
SKIPPED = SITUATIONS["skipAnalysis"]("canary", STRATEGIES["canary"])


@pytest.fixture(scope="module")
def plain():
    return ShortestPaths(explore(PLAIN, 1, cycle))


def met(ways) -> list:
    return [ways.spot(node) for node in range(len(ways.graph.keys))]


# ----------------------------------------------------------------------------------------------------- what holds


def test_a_policy_of_endless_iterations_is_verified_with_some_of_them():
    ladder = Ladder(strategy=Strategy.BLUE_GREEN, iterations=10**9)
    tried = trial(evolve(STRATEGIES["blue/green"], ladder=ladder))
    assert (tried.rollout.ladder.iterations, tried.reduced) == (100, ("iterations 100 instead of 1000000000",))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_single_fault_breaks_a_skipped_analysis(strategy):
    assert verify(SITUATIONS["skipAnalysis"](strategy, STRATEGIES[strategy])).violations == ()


def test_no_single_fault_breaks_a_canary():
    assert verify(PLAIN).violations == ()


def test_no_single_fault_breaks_a_rollout_that_holds_for_lack_of_data():
    assert verify(evolve(STRATEGIES["canary"], no_data=NoData.HOLD, inconclusive_limit=2)).violations == ()


@pytest.mark.deep
@pytest.mark.parametrize("about", trials(), ids=lambda about: f"{about.strategy}, {about.situation}")
def test_no_single_fault_breaks_anything(about):
    assert verify(about).violations == ()


@pytest.mark.deep
@pytest.mark.parametrize("strategy", ["canary", "blue/green"])
@pytest.mark.parametrize("situation", ["plain", "skipAnalysis"])
def test_no_pair_of_faults_breaks_anything(strategy, situation):
    assert verify(SITUATIONS[situation](strategy, STRATEGIES[strategy]), 2).violations == ()


# ---------------------------------------------------------------------------------------- defects that are planted


@pytest.mark.parametrize(("driver", "broken"), drivers.DEFECTS.items(), ids=lambda part: getattr(part, "__name__", ""))
def test_a_defect_of_the_loop_is_found(driver, broken):
    report = verify(SKIPPED, driver=driver)
    assert broken in {violation.name for violation in report.violations}


def test_the_loop_that_the_defects_are_planted_in_is_right():
    assert verify(SKIPPED, driver=drivers.right).violations == ()


def test_effects_before_the_commit_are_found_and_shown_as_a_program(capsys):
    """Flagger's order."""
    report = verify(PLAIN, driver=drivers.effects_first)
    worst = next(one for one in report.violations if one.name == "I5")
    names = {"replay": lambda *given, **more: replay(*given, **more, driver=drivers.effects_first)}
    program = worst.script.replace(", replay", "")
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
def test_what_an_overtaken_process_did_late_is_mended(situation, schedule):
    """It scales the canary up after another process has brought the rollout to its end, and a rest."""
    lines: list[str] = []
    replay(SITUATIONS[situation]("canary", STRATEGIES["canary"]), schedule=schedule, tell=lines.append)
    assert "target v2 x0" in lines[-1]


def test_a_primary_that_an_overtaken_process_brought_back_late_is_promoted_again():
    """It aborts; meanwhile the Canary is deleted and made again, and finds the new revision on both sides."""
    schedule = {
        25: ActorAction(SendCommand(CommandKind.ABORT, id="abort"), Excuse.FAIL),
        28: ActorAction(Recreate(), Excuse.OTHER),
        29: Takeover(10.0),
    }
    lines: list[str] = []
    replay(SITUATIONS["plain"]("canary", STRATEGIES["canary"]), schedule=schedule, tell=lines.append)
    assert any("Initialized of v2, weight 0; target v2 x0, primary v1" in line for line in lines)
    assert "Initialized of v2" in lines[-1]
    assert "primary v2" in lines[-1]


def test_a_notice_that_was_told_before_a_status_owed_it_counts_as_told():
    """It is told at a poll, then the status changes, and then the rollout fails and owes the same notice."""
    schedule = {
        5: ActorAction(SetPace("primary", Pace(delay=inf)), Excuse.FAIL | Excuse.WAIT),
        13: ActorAction(SendCommand(CommandKind.RETRY, id="retry"), Excuse.OTHER),
        15: WriteTimeout(True),
    }
    lines: list[str] = []
    replay(PLAIN, schedule=schedule, tell=lines.append)
    assert sum("about to tell 'All traffic goes to the canary" in line for line in lines) == 2, "once in each phase"


# ------------------------------------------------------------------------------------------ the search itself


def test_the_search_meets_every_phase(plain):
    assert {spot.state.status.phase for spot in met(plain)} == set(Phase) - {Phase.WAITING, Phase.WAITING_PROMOTION}


def test_the_search_meets_every_reason_that_its_actions_can_bring_about(plain):
    found = {spot.state.status.reason for spot in met(plain)}
    assert found == set(Reason) - {Reason.INCONCLUSIVE, Reason.HOOK}


def test_every_kind_of_step_is_taken(plain):
    spots = list(dict.fromkeys(met(plain)))[:2000]
    model = plain.graph.model
    moves = [move for spot in spots for move in (*model.free(spot), *model.faults(spot))]
    assert {type(move.step) for move in moves} == set(get_args(Step))


def test_without_faults_a_rollout_is_promoted_or_rolled_back_or_still_idle():
    ends = good_ends(ShortestPaths(explore(PLAIN, 0, cycle)))
    assert {trace[1][0] for trace in ends} == {Phase.INITIALIZED, Phase.SUCCEEDED}


def test_a_gate_that_stays_closed_is_a_circle_and_not_a_way_without_end():
    gated = SITUATIONS["gates"]("canary", STRATEGIES["canary"])
    assert len(explore(gated, 0, cycle).keys) < 10_000


def test_no_way_to_a_state_is_shorter_than_the_one_that_is_told(plain):
    nodes = range(0, len(plain.graph.keys), 500)
    assert [len(plain.to(node)) for node in nodes] == [plain.depths[node] for node in nodes]
    for node in range(len(plain.graph.keys)):
        assert all(plain.depths[to] <= plain.depths[node] + 1 for to in plain.graph.follows(node))


def test_a_state_is_found_again_by_the_way_to_it(plain):
    """So it need not be kept."""
    for node in range(0, len(plain.graph.keys), 100):
        *_, (parent, step) = plain.to(node) or [(None, None)]
        if parent is not None:
            again = (*plain.graph.model.free(plain.spot(parent)), *plain.graph.model.faults(plain.spot(parent)))
            assert plain.spot(node) in [move.to for move in again if move.step == step]


def test_states_that_differ_in_one_thing_have_marks_that_differ():
    """Also where Python's hashes agree, as those of -1 and -2 do."""
    ones, state = InternTable(), PLAIN.starts[1]
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
    marks = [ones.mark(one) for one in (state, *others)]
    assert len(set(marks)) == len(marks)
    assert [ones.mark(one.but()) for one in (state, *others)] == marks


def test_schedules_are_counted_and_not_walked():
    one, two = verify(SKIPPED, 1), verify(SKIPPED, 2)
    assert 100 < one.schedules < two.schedules
    assert one.transitions < two.transitions


@pytest.mark.parametrize("faults", [-1, 4])
def test_so_many_faults_cannot_be_asked_for(faults):
    with pytest.raises(ValueError, match=f"found {faults} faults, expected 0 to 3"):
        verify(SKIPPED, faults)


def test_a_long_policy_is_shortened_and_says_so():
    made = trial(evolve(STRATEGIES["canary"], progress_deadline=600.0, threshold=10, autoscaled=True))
    assert made.reduced == ("progress deadline 20 instead of 600", "threshold 2 instead of 10")
    assert made.scaler == Scaler(minimum=2)


# ----------------------------------------------------------------------------------------------------- replaying


@pytest.mark.parametrize(
    "step", [Crash(), WriteTimeout(applied=True), WriteTimeout(applied=False), CommitConflict(), RivalCycle()]
)
def test_a_schedule_is_replayed_to_its_end(step):
    told = []
    replay(PLAIN, schedule={1: step}, tell=told.append)
    assert "Succeeded of v2" in told[-1]


def test_a_schedule_of_what_others_do_is_replayed():
    told = []
    replay(PLAIN, schedule={9: ActorAction(Deploy("v3"), Excuse.OTHER)}, tell=told.append)
    assert "Succeeded of v3" in told[-1]


def test_a_step_that_cannot_happen_is_refused():
    with pytest.raises(
        ValueError, match="step 0: found CommitConflict\\(\\), expected what can happen here: ActorAction, ClockJump"
    ):
        replay(PLAIN, schedule={0: CommitConflict()}, tell=lambda _: None)
