"""The port StatusStore: Canary resources as rollouts, their statuses under an optimistic lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from canarycore import Rollout, Status
    from canarycore.manifest import Canary
    from canarycore_kubernetes.cluster import Cluster
    from canarycore_runtime.mesh import Json
    from canarycore_runtime.ports import Stored


@frozen(kw_only=True)
class Held:
    """What is held of a Canary. `canary` is its manifest, as `Asked.canary` wants it."""

    canary: Canary
    uid: str

    @property
    def owner(self) -> Json:
        """The owner reference of what is made for this Canary."""
        raise NotImplementedError


class CanaryStore:
    """The rollouts that the cluster's Canary resources ask for. `provider` is the one of a Canary that names none."""

    def __init__(self, cluster: Cluster, *, provider: str = "istio") -> None:
        self._cluster = cluster
        self._provider = provider

    def held(self, rollout: Rollout) -> Held:
        """The Canary behind a rollout that was loaded. Raises WorldError when it is gone. Costs nothing."""
        raise NotImplementedError

    async def keys(self) -> tuple[str, ...]:
        raise NotImplementedError

    async def load(self, key: str) -> Stored | None:
        raise NotImplementedError

    async def commit(self, key: str, status: Status, version: str) -> str:
        raise NotImplementedError
