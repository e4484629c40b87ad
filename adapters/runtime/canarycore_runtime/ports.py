"""The ports: the protocols of adapters.

Adapters observe cheaply and apply effects; they never decide. Each effect is an end state, so an adapter may apply it
twice. An adapter raises

    WorldError    to get another attempt; OSError and TimeoutError mean the same
    Conflict      when another process committed first
    Refused       when an effect would be wrong
    Unanswered    when it could not ask a question

`ALLOWED_ERRORS` has them, and the contract suites accept no others. Any other error is a fault of the adapter
(`AdapterFault`), and so is an answer of another type. An error of a question
is no answer: the runner holds the rollout and asks again, so no check fails. A provider that is out of reach, or
answers badly, is an answer: return it as `MetricAnswer.error`, `HookAnswer(passed=False)` or the text of `online`.

`canarycore_runtime.testing.contracts` has a contract suite for each port.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from attrs import frozen

from canarycore import Observation, RouteRefusal, Routes, bounds
from canarycore.errors import WorldError
from canarycore_runtime._calls import Limits, call_port, check_type

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager

    from canarycore import Check, Command, Rollout, Status, Workload
    from canarycore.notices import Notice
    from canarycore.questions import HookAnswer, HookQuestion, MetricAnswer, MetricQuestion
    from canarycore_runtime.deliveries import Deliveries


ALLOWED_ERRORS: tuple[type[Exception], ...] = (WorldError, OSError)
"""The errors that an adapter may raise, with their subclasses: Conflict, Refused and Unanswered, TimeoutError and
ConnectionError."""


@frozen(kw_only=True)
class StoredRollout:
    """The record of one rollout in the store."""

    rollout: Rollout
    status: Status

    version: str
    """The version of the status. It is opaque and changes with every commit."""

    command: Command | None = None
    """The newest command of an operator, with an id of its own. It may stay after it was handled: the status has the id
    of the last handled command."""

    deleted: bool = False
    """Whether the owner deleted the rollout. The rollout ends in Terminated then."""


@frozen(kw_only=True)
class Workloads:
    """The observation of the target and its primary copy."""

    target: Workload | None
    """The target; None where it does not exist."""

    primary: Workload | None
    """The primary; None where it does not exist."""

    scaler_paused: bool | None = None
    """Whether the target's autoscaler is paused; None where there is none."""

    restorable: tuple[str, ...] = ()
    """The revisions to which the primary can return."""

    is_restored: bool = False
    """Whether the owner's objects are as they were before the rollout."""


class StatusStore(Protocol):
    """Stores rollouts and their statuses under an optimistic lock. The key of a rollout is `namespace/name`.

    Operators and owners write to the store too, and `load` returns what they wrote: the newest command with an id of
    its own, and the owner's wish to delete the rollout. Neither changes the status. The store keeps a deleted rollout
    with `revert_on_deletion` until a commit has the phase Terminated. It reports each of these writes by `Changes`, or
    their writer calls `Runner.wake`; otherwise the runner notices them at the rollout's next cycle.
    """

    async def keys(self) -> tuple[str, ...]:
        """Return the keys of all rollouts."""

    async def load(self, key: str) -> StoredRollout | None:
        """Return a rollout and its status, or None when it is gone."""

    async def commit(self, key: str, status: Status, version: str) -> str:
        """Store `status` durably if the stored version is still `version`, and return the new version.

        Raises Conflict when the stored version is another one, and WorldError when the rollout is gone. It writes
        nothing then.
        """


class WorkloadPort(Protocol):
    """Runs the target and its primary copy."""

    async def observe(self, rollout: Rollout) -> Workloads:
        """Return the present state of the workloads, from a cache where possible."""

    async def initialise(self, rollout: Rollout, revision: str) -> None:
        """Create the primary with `revision`. Raises Refused when the target has another revision."""

    async def scale_up(self, rollout: Rollout) -> None:
        """Give the target the replicas that its owner asks for."""

    async def scale_down(self, rollout: Rollout) -> None:
        """Scale the target to zero replicas."""

    async def promote(self, rollout: Rollout, revision: str) -> None:
        """Copy `revision` from the target to the primary, and keep the old revision restorable.

        Raises Refused when the target has another revision.
        """

    async def restore_primary(self, rollout: Rollout, revision: str) -> None:
        """Return the primary to `revision`. Raises Refused when that revision was not kept."""

    async def pause_scaler(self, rollout: Rollout) -> None:
        """Stop the target's autoscaler from scaling it."""

    async def resume_scaler(self, rollout: Rollout) -> None:
        """Let the target's autoscaler scale it again."""

    async def restore(self, rollout: Rollout) -> None:
        """Restore the owner's objects to their state before the rollout."""


@runtime_checkable
class ResizableWorkload(Protocol):
    """A workload port that gives the target the size of a step (`Step.size`), apart from its owner's number.

    `Workload.own` then shows the owner's number, and `scale_up` returns to it. The runner refuses a rollout with sizes
    where the workload port has no such method.
    """

    async def resize(self, rollout: Rollout, replicas: int) -> None:
        """Scale the target to `replicas`, and record its owner's number. A promotion gives the primary that number."""


class Router(Protocol):
    """Routes requests between primary and canary."""

    async def observe(self, rollout: Rollout) -> Routes | RouteRefusal | None:
        """Return the routes in force, or None where no routing object exists.

        Return a RouteRefusal while a controller has not accepted the routing objects.
        """

    async def set_routes(self, rollout: Rollout, routes: Routes) -> None:
        """Set the routes. Create or take over the routing objects, and leave the fields of others unchanged."""

    async def restore(self, rollout: Rollout) -> None:
        """Restore the routing objects that the router took over, and delete those that it created."""


@runtime_checkable
class FineRouter(Protocol):
    """A router that splits requests by tenths of a percent (`Routes.tenths`). Others take whole percent only.

    The runner refuses a rollout with `Ladder.tenths` where the router does not say that it takes them.
    """

    takes_tenths: bool


class MetricSource(Protocol):
    """Answers metric questions.

    The provider may be hostile. Bound the size of its answer after decompression, and the time for all of it. Follow no
    redirect to another origin, and send each credential to its own server only. `canarycore_runtime.http.exchange` does
    all of this.
    """

    async def query(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        """Return the value over the check's window.

        Never raise for an answer of the provider: a bad one becomes `MetricAnswer.error`, with at most a short excerpt
        of it. Only a number is a value; JSON's `true` is not.
        """

    async def online(self, rollout: Rollout) -> str:
        """Return an empty text when the source is reachable, else the reason. Never raise for an answer of it."""


@runtime_checkable
class Addressed(Protocol):
    """A metric source with several servers that names the server of a check.

    Without it the runner takes each template for a server.
    """

    async def server(self, rollout: Rollout, check: Check) -> str:
        """Return a name of the server that gets the check's query, the same for the same server.

        The name identifies the lane of the query. Messages show it, so it must have no credential.
        """


HOOK_TIMEOUT: float = bounds.HOOK_TIMEOUT
"""The longest time of one attempt of a hook (seconds), whatever the manifest says."""

HOOK_RETRIES: int = bounds.RETRIES.most
"""The most attempts of a hook after the first, whatever the manifest says."""


class HookPort(Protocol):
    """Calls webhooks."""

    async def call(self, rollout: Rollout, question: HookQuestion) -> HookAnswer:
        """Call the hook. It passes with a status of at most 202 within its timeout and retries."""


class Notifier(Protocol):
    """Delivers notices to people or systems."""

    async def publish(self, rollout: Rollout, notice: Notice) -> None:
        """Deliver a notice, or raise WorldError to get it again. After a crash the same `notice.key` may come again."""


@runtime_checkable
class Broadcaster(Notifier, Protocol):
    """A notifier with several receivers, of which some may take a notice while others fail."""

    async def broadcast(self, rollout: Rollout, notice: Notice, deliveries: Deliveries) -> None:
        """Deliver a notice to each receiver that `deliveries` lacks, and record who took it.

        Raises WorldError when a receiver needs another attempt.
        """


@frozen(kw_only=True)
class AlertContent:
    """The content of an alert, which a notifier of chats gets from its caller."""

    text: str
    """The text."""

    fields: tuple[tuple[str, str], ...] = ()
    """Facts below the text, as (title, value)."""

    links: tuple[tuple[str, str], ...] = ()
    """Links below the facts, as (title, address)."""


class Changes(Protocol):
    """Reports changes of rollouts: of the manifest, the status, a command, or the cluster."""

    def changes(self) -> AsyncIterator[str]:
        """Yield the key of each rollout that changes. A key may come late, twice, or once for several changes."""


class Clock(Protocol):
    """The source of `Observation.now`."""

    def __call__(self) -> float:
        """Return the time in seconds since the epoch."""


@frozen(kw_only=True)
class Adapters:
    """The adapters of one runner."""

    store: StatusStore
    workload: WorkloadPort
    router: Router
    metrics: MetricSource
    hooks: HookPort
    notifiers: tuple[Notifier, ...]
    clock: Clock
    changes: tuple[Changes, ...] = ()


_CALL_LIMIT = Limits().call


async def observe_rollout(
    adapters: Adapters,
    stored: StoredRollout,
    *,
    now: float,
    call_limit: float = _CALL_LIMIT,
    watch: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> Observation:
    """Return the observation of a loaded rollout: its record in the store, its workloads and its routes.

    `now` becomes the observation's time (seconds since the epoch). Each port has `call_limit` seconds to answer.
    `watch` returns a context for the call of a port by its name. Raises WorldError when one of them does not answer.
    """
    rollout = stored.rollout
    with watch("workload.observe"):
        workloads = await call_port(call_limit, adapters.workload.observe, rollout)
        check_type("workload.observe", workloads, Workloads)
    with watch("router.observe"):
        routes = await call_port(call_limit, adapters.router.observe, rollout)
        check_type("router.observe", routes, Routes, RouteRefusal, type(None))
    return Observation(
        now=now,
        target=workloads.target,
        primary=workloads.primary,
        routes=None if isinstance(routes, RouteRefusal) else routes,
        refusal=routes if isinstance(routes, RouteRefusal) else None,
        scaler_paused=workloads.scaler_paused,
        restorable=workloads.restorable,
        command=stored.command,
        is_deleted=stored.deleted,
        is_restored=workloads.is_restored,
    )
