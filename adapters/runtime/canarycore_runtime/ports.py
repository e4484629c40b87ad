"""The ports: what an adapter is.

Each is a small Protocol. Adapters observe cheaply and do what they are told; they never decide. All effects are
absolute and repeatable: doing one twice is doing it once. Errors: `WorldError` (or any OSError / TimeoutError) means
"try again"; `Conflict` that somebody else committed first; `Refused` that an effect would be wrong; `Unanswered` that a
question could not be put and is to be held. The contract suite of each port is in `canarycore_runtime.testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from attrs import frozen

from canarycore import bounds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from canarycore import Check, Command, Rollout, Routes, Status, Workload
    from canarycore.notices import Notice
    from canarycore.questions import HookAnswer, HookQuestion, MetricAnswer, MetricQuestion
    from canarycore_runtime.deliveries import Deliveries


@frozen(kw_only=True)
class StoredRollout:
    """What the store holds of one rollout. `version` is opaque; it changes with every commit."""

    rollout: Rollout
    status: Status
    version: str
    command: Command | None = None
    deleted: bool = False


@frozen(kw_only=True)
class Workloads:
    """What is observed of the target and its primary copy (see `World` for the meaning of each)."""

    target: Workload | None
    primary: Workload | None
    scaler_paused: bool | None = None
    kept: tuple[str, ...] = ()
    restored: bool = False


class StatusStore(Protocol):
    """Keeps rollouts and their statuses under an optimistic lock. A rollout's key is `namespace/name`."""

    async def keys(self) -> tuple[str, ...]:
        """The rollouts there are."""

    async def load(self, key: str) -> StoredRollout | None:
        """The rollout and its status, or None when it is gone."""

    async def commit(self, key: str, status: Status, version: str) -> str:
        """Store `status` if the stored version is still `version`, durably, and return the new version.

        Raises Conflict when it is not; then nothing was written.
        """


class WorkloadPort(Protocol):
    """Runs the target and its primary copy."""

    async def observe(self, rollout: Rollout) -> Workloads: ...

    async def initialise(self, rollout: Rollout, revision: str) -> None:
        """Create the primary copy carrying `revision`. Refused if the target carries another one."""

    async def scale_up(self, rollout: Rollout) -> None: ...

    async def scale_down(self, rollout: Rollout) -> None: ...

    async def promote(self, rollout: Rollout, revision: str) -> None:
        """Make the primary carry `revision`, keeping the old one restorable. Refused if the target carries another."""

    async def restore_primary(self, rollout: Rollout, revision: str) -> None:
        """Make the primary carry the kept `revision` again. Refused if it was not kept."""

    async def pause_scaler(self, rollout: Rollout) -> None: ...

    async def resume_scaler(self, rollout: Rollout) -> None: ...

    async def restore(self, rollout: Rollout) -> None:
        """Give the owner's objects back as they were."""


class Router(Protocol):
    """Routes requests between primary and canary."""

    async def observe(self, rollout: Rollout) -> Routes | None: ...

    async def set_routes(self, rollout: Rollout, routes: Routes) -> None:
        """Route so, creating or taking over the routing objects; others' fields stay untouched."""

    async def restore(self, rollout: Rollout) -> None:
        """Give taken-over routing objects back; remove created ones."""


class MetricSource(Protocol):
    """Answers metric questions.

    The provider may be hostile: bound the size of its answer after decompression, and the time for all of it; follow no
    redirect to another origin; send each credential to its own server only. `canarycore_runtime.http.exchange` does so.
    """

    async def query(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        """Return the value over the check's window.

        Never raise for what the provider says, whatever it says: that is `MetricAnswer.error`. Only a number is a
        value: JSON's `true` is none. An error repeats at most a short excerpt of the provider's answer.
        """

    async def online(self, rollout: Rollout) -> str:
        """Return nothing when the source can be reached, else why not. Never raise for what the provider says."""


@runtime_checkable
class Addressed(Protocol):
    """A MetricSource that asks several servers, and knows which. Without it, each template counts as a server."""

    async def server(self, rollout: Rollout, check: Check) -> str:
        """The server that the check's query goes to, in any form that is the same for the same server.

        It names the lane that the query waits in, and is shown: no credential may be in it.
        """


HOOK_TIMEOUT: float = bounds.HOOK_TIMEOUT
"""Seconds that one attempt of a hook has at most, whatever the hook says."""

HOOK_RETRIES: int = bounds.RETRIES.most
"""Further attempts that a hook has at most, whatever the hook says."""


class HookPort(Protocol):
    """Calls webhooks."""

    async def call(self, rollout: Rollout, question: HookQuestion) -> HookAnswer:
        """Passed when the receiver answered with a status of at most 202 within the hook's timeout and retries."""


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


class Changes(Protocol):
    """Tells that something about a rollout changed: its manifest, its status, a command, or the world."""

    def changes(self) -> AsyncIterator[str]:
        """The keys of changed rollouts, as they change. Told twice, late or merged does no harm."""


class Clock(Protocol):
    """Seconds since the epoch, as `World.now` tells them."""

    def __call__(self) -> float: ...


@frozen(kw_only=True)
class Adapters:
    """The adapters one runner works with."""

    store: StatusStore
    workload: WorkloadPort
    router: Router
    metrics: MetricSource
    hooks: HookPort
    notifiers: tuple[Notifier, ...]
    clock: Clock
    changes: tuple[Changes, ...] = ()
