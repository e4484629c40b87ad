"""The actions of others on a simulated cluster, as plain data: the owner, operators, GitOps, autoscalers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from canarycore._observation import Command, CommandKind, Routes
from canarycore._status import Status
from canarycore.phases import Phase
from canarycore.questions import HookAnswer
from canarycore.simulation.state import FormerRoutes, Pace, Scaler, SimulatedPods, State, redeployed, resized

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore._spec import Rollout
    from canarycore.simulation.metrics import Metrics


@frozen
class Deploy:
    """A deployment of a revision with new pods, such as a new image, to the target; creates a missing target."""

    revision: str


@frozen
class Configure:
    """An edit of a config that the target reads: another revision, on the pods that already run."""

    revision: str


@frozen
class RemoveTarget:
    """A deletion of the target."""


@frozen
class ReplaceTarget:
    """A deletion of the target, followed by its creation from the owner's manifest; its pods start anew."""


@frozen
class ScaleTarget:
    """A change of the target's size by hand."""

    desired: int
    """Number of pods; above 0 it also becomes the number that the owner wants."""


@frozen
class ScalePrimary:
    """A change of the primary's size by hand."""

    desired: int
    """Number of pods."""


@frozen
class DetachPods:
    """A change of a Service by hand, or a fault of the endpoint controller: no request reaches a side's ready pods."""

    workload: str
    """The side: "target" or "primary"."""


@frozen
class AttachPods:
    """The end of `DetachPods`."""

    workload: str
    """The side: "target" or "primary"."""


@frozen
class SetPace:
    """A change of the speed at which pods get ready."""

    key: str
    """The pods: a revision, a workload ("primary", "target") or both ("primary/v2")."""
    pace: Pace
    """The new speed."""


@frozen
class SetScaler:
    """A creation, change or removal of the target's autoscaler."""

    scaler: Scaler | None
    """The new autoscaler; None removes it."""


@frozen
class RouteByHand:
    """A change of the routes by hand."""

    routes: Routes | None
    """The new routes; None deletes them."""


@frozen
class RenameRoutes:
    """A change of `spec.service.name` or of the provider: the present routes become former ones, and new ones miss."""


@frozen
class ClaimRoute:
    """The creation of another Canary with the same route, before this one has a primary. Later it has no effect."""


@frozen
class ReleaseRoute:
    """The end of `ClaimRoute`: the other Canary is deleted, or gets a route of its own."""


@frozen
class Edit:
    """An edit of the rollout by its owner."""

    rollout: Rollout
    """The edited rollout."""


@frozen
class Delete:
    """A deletion of the rollout by its owner."""


@frozen
class Recreate:
    """A deletion of the rollout, followed by its creation: the status is empty, all other objects stay.

    With `revert_on_deletion` this has no effect until the deletion is complete.
    """


@frozen
class SendCommand:
    """A command of an operator."""

    kind: CommandKind
    """The kind of command."""
    weight: int = 0
    """Percent of traffic, for skip-to."""
    id: str = ""
    """Identity of the command; empty: the kind and the next number."""


@frozen
class AnswerHook:
    """A change of a hook's answers."""

    hook: str
    """Name of the hook."""
    answers: tuple[bool | str | HookAnswer, ...]
    """Answers in turn, the last one repeated; a text is a failure with that text."""


@frozen
class SetMetrics:
    """A change of the metrics."""

    metrics: Metrics
    """The function that answers metric questions from now on."""


@frozen
class SetSources:
    """A change of the metric sources' availability."""

    error: str
    """The reason why the sources are offline; empty: they are online."""


@frozen
class SetClock:
    """A change of the clock; pods take as long to get ready as before."""

    seconds: float
    """Seconds forward; back if negative."""


Action = (
    Deploy
    | Configure
    | RemoveTarget
    | ReplaceTarget
    | ScaleTarget
    | ScalePrimary
    | DetachPods
    | AttachPods
    | SetPace
    | SetScaler
    | RouteByHand
    | RenameRoutes
    | ClaimRoute
    | ReleaseRoute
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
    """Return the state after an action."""
    return _ACTIONS[type(action)](state, action)


def hook_answer(answer: bool | str | HookAnswer) -> HookAnswer:
    """Return a hook's answer from its short form: True passes, False fails, and a text fails with that text."""
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
    return state.but(target=None, sized=None)


def _replace_target(state: State, action: ReplaceTarget) -> State:
    del action
    target = state.target
    return state if target is None else redeployed(state.but(target=None, sized=None), target.revision)


def _scale_target(state: State, action: ScaleTarget) -> State:
    if action.desired and state.has_replicas:
        state = state.but(replicas=action.desired)
    return resized(state, "target", action.desired)


def _scale_primary(state: State, action: ScalePrimary) -> State:
    return resized(state, "primary", action.desired)


def _detach_pods(state: State, action: DetachPods) -> State:
    return _with_endpoints(state, action.workload, state.now)


def _attach_pods(state: State, action: AttachPods) -> State:
    return _with_endpoints(state, action.workload, None)


def _with_endpoints(state: State, workload: str, detached: float | None) -> State:
    pods: SimulatedPods | None = getattr(state, workload)
    if pods is None or (pods.detached is None) is (detached is None):
        return state
    return state.but(**{workload: evolve(pods, detached=detached)})


def _set_pace(state: State, action: SetPace) -> State:
    changed = state.but(paces=tuple(sorted({**dict(state.paces), action.key: action.pace}.items())))
    for workload in ("target", "primary"):
        pods: SimulatedPods | None = getattr(state, workload)
        if pods is not None:
            old, new = state.pace(workload, pods.revision), changed.pace(workload, pods.revision)
            if old != new:
                changed = changed.but(**{workload: pods.starting(state.now, old)})
    return changed


def _set_scaler(state: State, action: SetScaler) -> State:
    return state.but(scaler=action.scaler)


def _route_by_hand(state: State, action: RouteByHand) -> State:
    return state.but(routes=action.routes)


def _rename_routes(state: State, action: RenameRoutes) -> State:
    del action
    if state.routes is None:
        return state
    return state.but(routes=None, former=FormerRoutes(routes=state.routes), version=state.version + 1)


def _claim_route(state: State, action: ClaimRoute) -> State:
    del action
    return state if state.primary is not None or state.routes is not None else state.but(claimed=True)


def _release_route(state: State, action: ReleaseRoute) -> State:
    del action
    return state.but(claimed=False)


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


def _send_command(state: State, action: SendCommand) -> State:
    counted = state.turned("command")
    name = action.id or f"{action.kind.value}-{counted.turn('command')}"
    return counted.but(command=Command(id=name, kind=action.kind, weight=action.weight))


def _answer_hook(state: State, action: AnswerHook) -> State:
    answers = tuple(hook_answer(answer) for answer in action.answers)
    hooks = tuple(sorted({**dict(state.hooks), action.hook: answers}.items()))
    turns = tuple(turn for turn in state.turns if turn[0] != action.hook)
    return state.but(hooks=hooks, turns=turns)


def _set_metrics(state: State, action: SetMetrics) -> State:
    return state.but(metrics=action.metrics)


def _set_sources(state: State, action: SetSources) -> State:
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
    DetachPods: _detach_pods,
    AttachPods: _attach_pods,
    SetPace: _set_pace,
    SetScaler: _set_scaler,
    RouteByHand: _route_by_hand,
    RenameRoutes: _rename_routes,
    ClaimRoute: _claim_route,
    ReleaseRoute: _release_route,
    Edit: _edit,
    Delete: _delete,
    Recreate: _recreate,
    SendCommand: _send_command,
    AnswerHook: _answer_hook,
    SetMetrics: _set_metrics,
    SetSources: _set_sources,
    SetClock: _set_clock,
}
