"""The transition table: some realistic rollout reaches every row, and no decision leaves it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attrs import evolve

from canarycore import (
    CheckLimits,
    CommandKind,
    GradualReturn,
    HookType,
    Ladder,
    NoData,
    OnFailure,
    Phase,
    RollbackWindow,
    Routes,
    Step,
)
from canarycore.driver import Observed, detect_takeover
from canarycore.phases import ALIVE, IDLE, ROWS, TRANSITIONS, UNDER_WAY, WAITS, Rule
from canarycore.simulation import (
    NEVER,
    AnswerHook,
    ByRevision,
    Constant,
    Delete,
    Deploy,
    Edit,
    Fault,
    FaultKind,
    RouteByHand,
    SendCommand,
    SetMetrics,
    SetPace,
    SimulatedCluster,
    after,
    stuck,
)
from canarycore.simulation.state import observe
from tests.core.scenarios import GATED, POLICIES, SITUATIONS, at, hook, idle, is_advancing, play

ALIVE_IN_ORDER = [phase for phase in Phase if phase in ALIVE]
UNDER_WAY_IN_ORDER = [phase for phase in Phase if phase in UNDER_WAY]
HELD = evolve(GATED, no_data=NoData.HOLD, inconclusive_limit=2)
FREEZES = evolve(GATED, on_failure=OnFailure.FREEZE)
MEASURES = evolve(GATED, checks=tuple(evolve(check, limits=CheckLimits(count=3)) for check in GATED.checks))
APPROVED = evolve(GATED, ladder=Ladder(steps=(Step(weight=20, approval=True), Step(weight=60, approval=True))))
RETURNS = evolve(GATED, gradual_return=GradualReturn(step=30, interval=5.0))
HURRIES = evolve(GATED, gradual_return=GradualReturn(step=1, interval=5.0, deadline=6.0))
WINDOWED = evolve(GATED, rollback_window=RollbackWindow(revisions=1))
ROLLBACK = evolve(GATED, hooks=(*GATED.hooks, hook(HookType.ROLLBACK)))

STORIES = [
    *((phase, (Edit(evolve(GATED, suspend=True)),)) for phase in ALIVE_IN_ORDER),
    *((phase, (Delete(),)) for phase in ALIVE_IN_ORDER),
    *((phase, (SendCommand(CommandKind.SKIP_TO, 0),)) for phase in ALIVE_IN_ORDER),
    *((phase, (SendCommand(CommandKind.PAUSE),)) for phase in UNDER_WAY_IN_ORDER),
    *((phase, (SendCommand(CommandKind.ABORT),)) for phase in UNDER_WAY_IN_ORDER),
    (Phase.INITIALIZING, (Deploy("v2"),)),
    (Phase.INITIALIZED, (Deploy("v2"), SendCommand(CommandKind.ABORT))),
    (Phase.INITIALIZED, (RouteByHand(Routes(weight=5)),)),
    (Phase.SUCCEEDED, (Deploy("v3"), SendCommand(CommandKind.ABORT))),
    (Phase.SUCCEEDED, (Deploy("v3"), AnswerHook("confirm-rollout", (False,)))),
    (Phase.FAILED, (Deploy("v3"), AnswerHook("confirm-rollout", (False,)))),
    (Phase.FAILED, (Deploy("v1"),)),
    (Phase.WAITING, (SendCommand(CommandKind.PROMOTE),)),
    (Phase.WAITING, (Deploy("v1"),)),
    (Phase.WAITING, (RouteByHand(Routes(weight=5)),)),
    (Phase.WAITING_PROMOTION, (SendCommand(CommandKind.PROMOTE),)),
    (Phase.WAITING_PROMOTION, (Deploy("v1"),)),
    (Phase.WAITING_PROMOTION, (Deploy("v3"),)),
    (Phase.WAITING_PROMOTION, (RouteByHand(Routes(weight=5)),)),
    (Phase.WAITING_PROMOTION, (SetMetrics(ByRevision(bad=("v2",))),)),
    (Phase.WAITING_PROMOTION, (Edit(HELD), SetMetrics(Constant(None)))),
    (Phase.WAITING_PROMOTION, (SetPace("v2", stuck(5)),)),
    (Phase.WAITING_PROMOTION, (Edit(FREEZES), SetMetrics(ByRevision(bad=("v2",))))),
    (Phase.PROGRESSING, (Edit(FREEZES), SetMetrics(ByRevision(bad=("v2",))))),
    (Phase.WAITING_PROMOTION, (Edit(ROLLBACK),)),
    (Phase.WAITING_PROMOTION, (Edit(evolve(GATED, skip_analysis=True)),)),
    (Phase.WAITING_PROMOTION, (Edit(evolve(GATED, replace_down_primary=True)), SetPace("primary/v1", NEVER))),
    (Phase.PROMOTING, (SetPace("primary/v2", NEVER), RouteByHand(None))),
    (Phase.PROMOTING, (SetPace("primary/v2", after(0)), RouteByHand(Routes(weight=5)))),
    (Phase.FINALISING, (SetPace("primary", stuck(5)),)),
    (Phase.FINALISING, (RouteByHand(Routes(weight=5)),)),
    (Phase.WAITING_PROMOTION, (Edit(APPROVED),)),
    (Phase.WAITING_PROMOTION, (Edit(APPROVED), SendCommand(CommandKind.APPROVE))),
    (Phase.PROGRESSING, (Edit(APPROVED), SendCommand(CommandKind.APPROVE))),
    (Phase.WAITING_PROMOTION, (Edit(MEASURES),)),
    (Phase.PROGRESSING, (Edit(MEASURES),)),
    (Phase.PROGRESSING, (Edit(APPROVED),)),
    (Phase.SUCCEEDED, (Edit(WINDOWED), Deploy("v1"))),
    (Phase.SUCCEEDED, (Edit(WINDOWED), AnswerHook("confirm-promotion", (False, True)), Deploy("v1"))),
    (Phase.WAITING_PROMOTION, (Edit(RETURNS), SendCommand(CommandKind.ABORT))),
    (Phase.WAITING_PROMOTION, (Edit(HURRIES), SendCommand(CommandKind.ABORT))),
]


def commit_only(phase: Phase) -> SimulatedCluster:
    """Return a cluster whose process died right after the commit of a phase, before any effect."""
    world = idle(GATED).do(Deploy("v2")).run(until=is_advancing).do(SendCommand(CommandKind.PROMOTE))
    world.state = world.state.but(faults=(Fault(FaultKind.CRASH_AFTER, world.state.writes),))
    world.step()
    assert world.phase is phase
    return world


def short_of_capacity(command: CommandKind) -> SimulatedCluster:
    """Return a cluster whose primary has fewer pods than the traffic that is to come back needs."""
    policy = GradualReturn(step=30, interval=5.0, follows_capacity=True)
    world = at(Phase.WAITING_PROMOTION).do(Edit(evolve(GATED, gradual_return=policy)))
    world.state = world.state.but(status=world.status.but(capacity=9))
    return world.do(SendCommand(command)).run(until=25.0)


def short_of_pods(phase: Phase) -> SimulatedCluster:
    """Return a cluster whose canary has fewer pods than its share of the traffic needs, before another increase."""
    policy = GradualReturn(step=30, interval=5.0, follows_capacity=True)
    world = at(phase).do(Edit(evolve(GATED, gradual_return=policy, ladder=Ladder(step=1, top=100))))
    world.state = world.state.but(status=world.status.but(capacity=900))
    return world.run(until=45.0)


def rerouted_in_the_drain() -> Iterator[SimulatedCluster]:
    """Yield clusters in which somebody sends requests to the canary during its drain."""
    drains = [
        SimulatedCluster(GATED).do(Deploy("v1")).run(until=Phase.INITIALIZED).run(until=2.0),
        at(Phase.FINALISING).run(until=6.0),
        at(Phase.FAILED).run(until=2.0),
    ]
    world = at(Phase.FINALISING)
    world.state = world.state.but(faults=(Fault(FaultKind.CRASH_AFTER, world.state.writes),))
    for cluster in (*drains, world.run(until=Phase.SUCCEEDED)):
        yield cluster.do(RouteByHand(Routes(weight=5))).run(until=25.0)


def story_ends() -> Iterator[SimulatedCluster]:
    """Yield the cluster of every story at its end."""
    for phase, actions in STORIES:
        world = at(phase).do(*actions).run(until=25.0)
        if world.status.paused:
            world.do(SendCommand(CommandKind.RESUME)).run(until=25.0)
        yield world
    for revision in ("v1", "v3"):
        yield commit_only(Phase.PROMOTING).do(Deploy(revision)).run(until=25.0)
    for phase in Phase:
        yield at(phase)
    yield from map(short_of_capacity, (CommandKind.ABORT, CommandKind.PROMOTE))
    yield from map(short_of_pods, (Phase.PROGRESSING, Phase.WAITING_PROMOTION))
    yield from rerouted_in_the_drain()
    for situation in SITUATIONS.values():
        yield play(POLICIES["weights"], situation)
    for name in ("weights and promotion steps", "blue/green"):
        yield play(POLICIES[name], SITUATIONS["hooks and gates"])


@pytest.fixture(scope="module")
def transitions_of_stories() -> set[tuple[Phase, Rule, Phase]]:
    """Return the decisions of all stories, as rows of the expanded table."""
    reasons = [record.decision.explanation for world in story_ends() for record in world.history if record.decision]
    for world in map(at, IDLE):
        observed = Observed(world.rollout, world.status.but(pending=()), observe(world.state))
        late = detect_takeover(observed, (Phase.PROGRESSING, "v0"))
        assert late is not None
        reasons.append(late.explanation)
    return {(explanation.before, explanation.rule, explanation.after) for explanation in reasons}


def test_every_row_is_reached(transitions_of_stories):
    missing = sorted(
        f"{before.value} {rule.name} {after.value}" for before, rule, after in TRANSITIONS - transitions_of_stories
    )
    assert missing == []


def test_no_decision_leaves_the_table(transitions_of_stories):
    assert transitions_of_stories <= TRANSITIONS


@pytest.mark.parametrize("phase", Phase)
def test_a_world_can_be_brought_to_each_phase(phase):
    assert at(phase).phase is phase


def test_each_rule_has_one_row():
    assert sorted(row.rule.name for row in ROWS) == sorted(rule.name for rule in Rule)


def test_waits_leave_the_phase_as_it_is():
    assert [row.rule for row in ROWS if row.rule in WAITS and row.target is not None] == []


@pytest.mark.parametrize("phase", ALIVE_IN_ORDER)
def test_no_phase_is_a_dead_end(phase):
    """An owner can delete a rollout in every phase, and then it ends."""
    assert at(phase).do(Delete()).run().phase is Phase.TERMINATED
