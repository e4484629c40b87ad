"""Policies and situations: what the tests of the core run, again and again, with and without faults.

A situation is a function of a world in which v1 is promoted and idle. `play` runs one; `at` brings a world to a phase.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from canarycore import (
    Check,
    CheckKind,
    CommandKind,
    Hook,
    HookType,
    Ladder,
    Phase,
    Rollout,
    Routes,
    Step,
    Strategy,
    TargetRef,
)
from canarycore.notices import NoticeKind
from canarycore.simulation import (
    NEVER,
    AnswerHook,
    ByRevision,
    Constant,
    Delete,
    Deploy,
    Edit,
    Fault,
    Pace,
    Recreate,
    RemoveTarget,
    RouteByHand,
    ScalePrimary,
    Scaler,
    ScaleTarget,
    SendCommand,
    SetMetrics,
    SetPace,
    SimulatedCluster,
    State,
    after,
    scripted,
    stuck,
)
from canarycore.traffic import Affinity, Match, StringMatch

SUCCESS_RATE = Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0)
DURATION = Check(name="request-duration", kind=CheckKind.DURATION, maximum=500.0)
HEADER = (Match(headers=(("x-canary", StringMatch(kind="exact", value="always")),)),)


def hook(kind: HookType, name: str = "", *, mute_alert: bool = False) -> Hook:
    return Hook(name=name or kind.value, type=kind, url=f"http://hooks.example/{kind.value}", mute_alert=mute_alert)


def policy(**changes) -> Rollout:
    """Return a policy: 10 s interval, weights 20 and 60, rollback at two failed checks, a minute to get ready."""
    given = {
        "name": "podinfo",
        "namespace": "test",
        "target": TargetRef(name="podinfo"),
        "ladder": Ladder(steps=(20, 60)),
        "interval": 10.0,
        "threshold": 2,
        "checks": (SUCCESS_RATE,),
        "progress_deadline": 60.0,
    }
    return Rollout(**{**given, **changes})


POLICIES: dict[str, Rollout] = {
    "weights": policy(),
    "weights by step": policy(ladder=Ladder(step=40, top=80), checks=(SUCCESS_RATE, DURATION)),
    "weights and promotion steps": policy(ladder=Ladder(steps=(20, 60), step_back=30)),
    "weights with holds": policy(
        ladder=Ladder(steps=(Step(weight=20, hold=25.0), Step(weight=60, metrics=(SUCCESS_RATE.name,))))
    ),
    "weights after a mirror": policy(ladder=Ladder(steps=(50,), mirror=True)),
    "weights with affinity": policy(affinity=Affinity(cookie_name="canary")),
    "a/b": policy(ladder=Ladder(strategy=Strategy.AB, iterations=2), match=HEADER),
    "blue/green": policy(ladder=Ladder(strategy=Strategy.BLUE_GREEN, iterations=2)),
    "blue/green with a mirror": policy(ladder=Ladder(strategy=Strategy.BLUE_GREEN, iterations=2, mirror=True)),
    "blue/green without routes": policy(ladder=Ladder(strategy=Strategy.BLUE_GREEN, iterations=2, routed=False)),
}

HOOKED = tuple(hook(kind) for kind in HookType if kind not in {HookType.EVENT, HookType.ROLLBACK})
"""One hook of each type that asks something of a healthy rollout."""


def idle(rollout: Rollout, faults: tuple[Fault, ...] = (), **state) -> SimulatedCluster:
    """Return a cluster with v1 promoted and nothing to do."""
    first = SimulatedCluster(rollout, state=State(rollout=rollout, **state))
    first.do(Deploy("v1")).run()
    assert first.phase is Phase.INITIALIZED, first.history[-1]
    return SimulatedCluster(rollout, state=first.state.but(writes=0, reads=0), faults=faults)


# ------------------------------------------------------------------------------------------------------ situations


def is_advancing(world: SimulatedCluster) -> bool:
    return world.phase is Phase.PROGRESSING and world.status.rung.weight + world.status.rung.iteration > 0


def is_promoting(world: SimulatedCluster) -> bool:
    return world.state.primary is not None and world.state.primary.revision == "v2"


def promoted(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run()


def rolled_back(world: SimulatedCluster) -> None:
    world.do(Deploy("v2"), SetMetrics(ByRevision(bad=("v2",)))).run()


def recovers_from_a_failed_check(world: SimulatedCluster) -> None:
    world.do(Deploy("v2"), SetMetrics(scripted(request_success_rate=(100.0, 90.0, 100.0)))).run()


def gets_no_data(world: SimulatedCluster) -> None:
    world.do(Deploy("v2"), SetMetrics(Constant(None))).run()


def withdrawn(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run(until=is_advancing).run(until=5.0)
    world.do(Deploy("v1")).run()


def superseded(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run(until=is_advancing).run(until=5.0)
    world.do(Deploy("v3")).run()


def superseded_while_promoting(world: SimulatedCluster) -> None:
    world.do(Deploy("v2"), SetPace("primary/v2", after(15))).run(until=is_promoting)
    world.do(Deploy("v3")).run()


def tried_again_after_a_rollback(world: SimulatedCluster) -> None:
    rolled_back(world)
    world.do(Deploy("v3")).run()


def never_ready(world: SimulatedCluster) -> None:
    world.do(Deploy("v2"), SetPace("v2", NEVER)).run()


def given_up_by_the_platform(world: SimulatedCluster) -> None:
    world.do(Deploy("v2"), SetPace("v2", stuck(5))).run()


def starts_slowly(world: SimulatedCluster) -> None:
    world.do(Deploy("v2"), SetPace("v2", after(25))).run()


def primary_never_takes_over(world: SimulatedCluster) -> None:
    world.do(Deploy("v2"), SetPace("primary/v2", stuck(25))).run()


def primary_takes_over_halfway(world: SimulatedCluster) -> None:
    """Let one of the primary's two pods get ready with v2, and v1 come back slowly."""
    world.do(Deploy("v2"), SetPace("primary/v2", Pace(delay=20.0, stuck=15.0))).run(until=is_promoting)
    world.do(SetPace("primary/v1", after(5))).run()


def primary_takes_its_time(world: SimulatedCluster) -> None:
    world.do(Deploy("v2"), SetPace("primary/v2", after(25))).run()


def primary_loses_its_pods(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run(until=is_advancing)
    world.do(SetPace("primary", NEVER)).run(until=25.0)
    world.do(SetPace("primary", after(1))).run()


def primary_stays_away(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run(until=is_advancing)
    world.do(SetPace("primary", NEVER)).run(until=300.0)


def canary_loses_its_pods(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run(until=is_advancing).run(until=1.0)
    world.do(SetPace("v2", NEVER)).run(until=15.0)
    world.do(SetPace("v2", after(1))).run()


def primary_scaled_to_zero(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run(until=is_advancing)
    world.do(ScalePrimary(0)).run(until=15.0)
    world.do(ScalePrimary(2)).run()


def canary_scaled_to_zero(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run(until=is_advancing)
    world.do(ScaleTarget(0)).run()


def routes_set_by_hand(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run(until=is_advancing)
    world.do(RouteByHand(Routes(weight=97))).run()


def routes_deleted(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run(until=is_advancing)
    world.do(RouteByHand(None)).run()


def target_deleted_for_a_while(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run(until=is_advancing)
    world.do(RemoveTarget()).run(until=15.0)
    world.do(Deploy("v2")).run()


def steps_edited(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run(until=is_advancing).run(until=3.0)
    world.do(Edit(evolve(world.rollout, ladder=Ladder(steps=(10, 30, 70))))).run()


def suspended_for_a_while(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run(until=is_advancing)
    world.do(Edit(evolve(world.rollout, suspend=True))).run(until=35.0)
    world.do(Edit(world.rollout)).run()


def analysis_skipped(world: SimulatedCluster) -> None:
    world.do(Edit(evolve(world.rollout, skip_analysis=True)), Deploy("v2"), SetPace("primary/v2", after(15))).run()


def held_for_lack_of_requests(world: SimulatedCluster) -> None:
    world.do(Edit(evolve(world.rollout, min_samples=2_000_000, inconclusive_limit=3)), Deploy("v2")).run()


def send_commands(*kinds: CommandKind) -> Callable[[SimulatedCluster], None]:
    def situation(world: SimulatedCluster) -> None:
        world.do(Deploy("v2")).run(until=is_advancing)
        for kind in kinds:
            world.do(SendCommand(kind)).run(until=25.0)
        world.run()

    return situation


def skipped_to_a_weight(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run(until=is_advancing)
    world.do(SendCommand(CommandKind.SKIP_TO, 50)).run()


def retried(world: SimulatedCluster) -> None:
    world.do(Deploy("v2"), SetMetrics(scripted(request_success_rate=(0.0, 0.0, 100.0)))).run()
    world.do(SendCommand(CommandKind.RETRY)).run()


def hooks_and_gates(world: SimulatedCluster) -> None:
    gates = ("confirm-rollout", "pre-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion")
    world.do(Edit(evolve(world.rollout, hooks=HOOKED, threshold=5)))
    world.do(*(AnswerHook(gate, (False, True)) for gate in gates), AnswerHook("post-rollout", ("down", True)))
    world.do(Deploy("v2")).run()


def rolled_back_by_a_hook(world: SimulatedCluster) -> None:
    world.do(Edit(evolve(world.rollout, hooks=(hook(HookType.ROLLBACK), hook(HookType.POST_ROLLOUT)))))
    world.do(AnswerHook("rollback", (False, False, True)), Deploy("v2")).run()


def rolled_back_while_waiting(world: SimulatedCluster) -> None:
    world.do(Edit(evolve(world.rollout, hooks=(hook(HookType.ROLLBACK), hook(HookType.CONFIRM_ROLLOUT)))))
    world.do(AnswerHook("rollback", (False, True)), AnswerHook("confirm-rollout", (False,)), Deploy("v2")).run()


def deleted(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run(until=is_advancing).run(until=1.0)
    world.do(Delete()).run()


def deleted_and_reverted(world: SimulatedCluster) -> None:
    world.do(Edit(evolve(world.rollout, revert_on_deletion=True)), Deploy("v2")).run(until=is_advancing)
    world.do(ScaleTarget(0), SetPace("v2", after(5)), Delete()).run()


def deleted_and_created_again(world: SimulatedCluster) -> None:
    world.do(Edit(evolve(world.rollout, revert_on_deletion=True)), Delete()).run()
    world.do(Recreate()).run()


def created_again_in_an_analysis(world: SimulatedCluster) -> None:
    world.do(Deploy("v2")).run(until=Phase.PROGRESSING).run(until=1.0)
    world.do(Recreate()).run()


def replaced_while_the_primary_is_down(world: SimulatedCluster) -> None:
    world.do(Edit(evolve(world.rollout, replace_down_primary=True)))
    world.do(SetPace("primary/v1", NEVER), Deploy("v2")).run()


def promoted_by_command_while_the_primary_is_down(world: SimulatedCluster) -> None:
    world.do(SetPace("primary/v1", NEVER), Deploy("v2")).run(until=Phase.FAILED)
    world.do(SendCommand(CommandKind.PROMOTE)).run()


SITUATIONS: dict[str, Callable[[SimulatedCluster], None]] = {
    made.__name__.replace("_", " "): made
    for made in (
        promoted,
        rolled_back,
        recovers_from_a_failed_check,
        gets_no_data,
        withdrawn,
        superseded,
        superseded_while_promoting,
        tried_again_after_a_rollback,
        never_ready,
        given_up_by_the_platform,
        starts_slowly,
        primary_never_takes_over,
        primary_takes_over_halfway,
        primary_takes_its_time,
        primary_loses_its_pods,
        primary_stays_away,
        canary_loses_its_pods,
        primary_scaled_to_zero,
        canary_scaled_to_zero,
        routes_set_by_hand,
        routes_deleted,
        target_deleted_for_a_while,
        steps_edited,
        suspended_for_a_while,
        analysis_skipped,
        held_for_lack_of_requests,
        skipped_to_a_weight,
        retried,
        hooks_and_gates,
        rolled_back_by_a_hook,
        rolled_back_while_waiting,
        deleted,
        deleted_and_reverted,
        deleted_and_created_again,
        created_again_in_an_analysis,
        replaced_while_the_primary_is_down,
        promoted_by_command_while_the_primary_is_down,
    )
} | {
    "promoted by command": send_commands(CommandKind.PROMOTE),
    "aborted": send_commands(CommandKind.ABORT),
    "paused and resumed": send_commands(CommandKind.PAUSE, CommandKind.RESUME),
    "paused and aborted": send_commands(CommandKind.PAUSE, CommandKind.ABORT),
    "aborted and retried": send_commands(CommandKind.ABORT, CommandKind.RETRY),
}


def play(
    rollout: Rollout, situation: Callable[[SimulatedCluster], None], faults: tuple[Fault, ...] = ()
) -> SimulatedCluster:
    """Return the cluster at the end of a situation, with an autoscaler."""
    world = idle(rollout, faults, scaler=Scaler())
    situation(world)
    return world


def kinds(world: SimulatedCluster) -> list[NoticeKind]:
    """Return the kinds of all notices so far, in order."""
    return [notice.kind for record in world.history for notice in record.notices]


# ---------------------------------------------------------------------------------------------- a world in a phase

GATED = policy(hooks=(hook(HookType.CONFIRM_ROLLOUT), hook(HookType.CONFIRM_PROMOTION)), revert_on_deletion=True)


def at(phase: Phase, rollout: Rollout = GATED) -> SimulatedCluster:
    """Return a cluster that stays in `phase` for a while."""
    if phase is Phase.INITIALIZING:
        return SimulatedCluster(rollout).do(SetPace("primary", after(30)), Deploy("v1")).run(until=5.0)
    world = idle(rollout)
    if phase is Phase.WAITING:
        world.do(AnswerHook("confirm-rollout", (False,)))
    elif phase is Phase.WAITING_PROMOTION:
        world.do(AnswerHook("confirm-promotion", (False,)))
    elif phase is Phase.PROMOTING:
        world.do(SetPace("primary/v2", after(30)))
    elif phase is Phase.FAILED:
        world.do(SetMetrics(ByRevision(bad=("v2",))))
    elif phase is Phase.TERMINATING:
        world.do(SetPace("v1", after(30)), ScaleTarget(0), Delete())
    elif phase is Phase.TERMINATED:
        world.do(Delete())
    if phase not in {Phase.INITIALIZED, Phase.TERMINATING, Phase.TERMINATED}:
        world.do(Deploy("v2"))
    return world.run(until=is_advancing if phase is Phase.PROGRESSING else phase).run(until=1.0)
