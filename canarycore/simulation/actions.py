"""What others do to a simulated cluster: the owner, operators, GitOps, autoscalers. Each is plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from canarycore._observation import Command, CommandKind, Routes
from canarycore._status import Status
from canarycore.phases import Phase
from canarycore.questions import HookAnswer
from canarycore.simulation.state import Pace, Scaler, SimulatedPods, State, redeployed, resized

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore._spec import Rollout
    from canarycore.simulation.metrics import Metrics


@frozen
class Deploy:
    """The target gets a revision with new pods (a new image, for one), and is created if it is missing."""

    revision: str


@frozen
class Configure:
    """A config that the target reads is edited: that is another revision too, but the pods there are run on."""

    revision: str


@frozen
class RemoveTarget:
    """The target is deleted."""


@frozen
class ReplaceTarget:
    """The target is deleted and created again as its owner wrote it: nothing of its pods is left."""


@frozen
class ScaleTarget:
    """Somebody scales the target; to more than 0 it is what its owner wants from now on."""

    desired: int


@frozen
class ScalePrimary:
    """Somebody scales the primary."""

    desired: int


@frozen
class SetPace:
    """From now on pods of `key` ("v2", "primary", "primary/v2" and so on) get ready like this."""

    key: str
    pace: Pace


@frozen
class SetScaler:
    """The target's autoscaler is created, changed, paused by hand, or removed (None)."""

    scaler: Scaler | None


@frozen
class RouteByHand:
    """Somebody sets the routes (None: deletes them)."""

    routes: Routes | None


@frozen
class Edit:
    """The owner edits the rollout."""

    rollout: Rollout


@frozen
class Delete:
    """The owner deletes the rollout."""


@frozen
class Recreate:
    """The owner deletes the rollout and applies it again: it has no status, beside whatever was left behind.

    One that gives everything back when it is deleted stays until it has; before that nothing can be applied again.
    """


@frozen
class SendCommand:
    """An operator gives a command; without an `id` it gets the next number."""

    kind: CommandKind
    weight: int = 0
    id: str = ""


@frozen
class AnswerHook:
    """From now on the hook answers so, in turn, the last answer repeated."""

    hook: str
    answers: tuple[bool | str | HookAnswer, ...]


@frozen
class SetMetrics:
    """From now on metrics are answered by this."""

    metrics: Metrics


@frozen
class SetSources:
    """From now on metric sources are offline for this reason ("": online)."""

    error: str


@frozen
class SetClock:
    """The clock is set forward by so many seconds, or back if negative; what pods do takes as long as before."""

    seconds: float


Action = (
    Deploy
    | Configure
    | RemoveTarget
    | ReplaceTarget
    | ScaleTarget
    | ScalePrimary
    | SetPace
    | SetScaler
    | RouteByHand
    | Edit
    | Delete
    | Recreate
    | SendCommand
    | AnswerHook
    | SetMetrics
    | SetSources
    | SetClock
)


def act(state: State, action: Action) -> State:
    """What an action makes of the cluster."""
    return _ACTIONS[type(action)](state, action)


def hook_answer(answer: bool | str | HookAnswer) -> HookAnswer:
    """True and False as themselves; a text is a failure that says so ("timeout", for one)."""
    if isinstance(answer, HookAnswer):
        return answer
    return HookAnswer(passed=answer is True, text=answer if isinstance(answer, str) else "")


def _deploy(state: State, action: Deploy) -> State:
    return redeployed(state, action.revision)


def _configure(state: State, action: Configure) -> State:
    target = state.target
    if target is None or target.revision == action.revision:
        return state
    pace = state.pace("target", target.revision)
    return state.but(target=target.reread(state.now, pace, action.revision))


def _remove_target(state: State, action: RemoveTarget) -> State:
    del action
    return state.but(target=None)


def _replace_target(state: State, action: ReplaceTarget) -> State:
    del action
    target = state.target
    return state if target is None else redeployed(state.but(target=None), target.revision)


def _scale_target(state: State, action: ScaleTarget) -> State:
    if action.desired:
        state = state.but(replicas=action.desired)
    return resized(state, "target", action.desired)


def _scale_primary(state: State, action: ScalePrimary) -> State:
    return resized(state, "primary", action.desired)


def _set_pace(state: State, action: SetPace) -> State:
    after = state.but(paces=tuple(sorted({**dict(state.paces), action.key: action.pace}.items())))
    for workload in ("target", "primary"):
        pods: SimulatedPods | None = getattr(state, workload)
        if pods is not None:
            old, new = state.pace(workload, pods.revision), after.pace(workload, pods.revision)
            if old != new:
                after = after.but(**{workload: pods.starting(state.now, old)})
    return after


def _set_scaler(state: State, action: SetScaler) -> State:
    return state.but(scaler=action.scaler)


def _route_by_hand(state: State, action: RouteByHand) -> State:
    return state.but(routes=action.routes)


def _edit(state: State, action: Edit) -> State:
    changed = action.rollout != state.rollout
    return state.but(rollout=action.rollout, version=state.version + 1) if changed else state


def _delete(state: State, action: Delete) -> State:
    del action
    return state if state.deleted else state.but(deleted=True, version=state.version + 1)


def _recreate(state: State, action: Recreate) -> State:
    del action
    if state.rollout.revert_on_deletion and state.status.phase is not Phase.TERMINATED:
        return state
    return state.but(deleted=False, restored=False, status=Status(), version=state.version + 1, command=None)


def _order(state: State, action: SendCommand) -> State:
    given = state.turned("command")
    name = action.id or f"{action.kind.value}-{given.turn('command')}"
    return given.but(command=Command(id=name, kind=action.kind, weight=action.weight))


def _answer(state: State, action: AnswerHook) -> State:
    answers = tuple(hook_answer(answer) for answer in action.answers)
    hooks = tuple(sorted({**dict(state.hooks), action.hook: answers}.items()))
    turns = tuple(turn for turn in state.turns if turn[0] != action.hook)
    return state.but(hooks=hooks, turns=turns)


def _measure(state: State, action: SetMetrics) -> State:
    return state.but(metrics=action.metrics)


def _sources_are(state: State, action: SetSources) -> State:
    return state.but(sources=action.error)


def _set_clock(state: State, action: SetClock) -> State:
    return state.shifted(action.seconds).but(status=state.status)


_ACTIONS: dict[type, Callable[..., State]] = {
    Deploy: _deploy,
    Configure: _configure,
    RemoveTarget: _remove_target,
    ReplaceTarget: _replace_target,
    ScaleTarget: _scale_target,
    ScalePrimary: _scale_primary,
    SetPace: _set_pace,
    SetScaler: _set_scaler,
    RouteByHand: _route_by_hand,
    Edit: _edit,
    Delete: _delete,
    Recreate: _recreate,
    SendCommand: _order,
    AnswerHook: _answer,
    SetMetrics: _measure,
    SetSources: _sources_are,
    SetClock: _set_clock,
}
