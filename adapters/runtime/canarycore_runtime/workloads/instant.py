"""A base for workloads without pods: a feature flag, a model behind a proxy, a configuration.

Such a thing is a pointer. The owner names a candidate, everybody gets the stable version, and a promotion moves the
pointer: nothing starts, nothing scales, and each version is ready at once. A subclass says where both names are stored:

    class Models(InstantWorkload):
        async def candidate(self, rollout): return self.registry["candidate"]
        async def stable(self, rollout): return self.registry["stable"]
        async def set_stable(self, rollout, revision): self.registry["stable"] = revision

`Ladder(in_place=True)` fits it: the candidate gets all requests before it becomes the stable version. The router sends
the candidate's share to the candidate, and all others to the stable version.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from canarycore import Workload
from canarycore.errors import Refused
from canarycore_runtime.ports import Workloads

if TYPE_CHECKING:
    from canarycore import Rollout


class InstantWorkload(ABC):
    """The port WorkloadPort for a thing without pods. A subclass reads and sets the names of two versions.

    Its methods raise what a port may raise (`ports.ALLOWED_ERRORS`): WorldError or OSError to get another attempt. A
    version that cannot serve yet is no candidate yet: `candidate` then returns the stable version.
    """

    def __init__(self) -> None:
        self._former: dict[str, str] = {}
        """The version before the last promotion, by the key of the rollout. Its loss costs the way back only."""
        self._given_back: dict[str, str] = {}
        """The candidate at the time of `restore`, by the key of the rollout."""

    @abstractmethod
    async def candidate(self, rollout: Rollout) -> str:
        """Return the name of the newest version that the owner wants; empty if there is none."""

    @abstractmethod
    async def stable(self, rollout: Rollout) -> str:
        """Return the name of the version that the users outside of the rollout get; empty before the first."""

    @abstractmethod
    async def set_stable(self, rollout: Rollout, revision: str) -> None:
        """Declare a version the stable one, durably. A repeated call changes nothing."""

    async def restorable(self, rollout: Rollout) -> tuple[str, ...]:
        """Return the versions that can become stable again: by default the last one that this object replaced.

        Override it where a store of versions survives the process.
        """
        former = self._former.get(_key(rollout))
        return () if former is None else (former,)

    # the port -------------------------------------------------------------------------------------------------------

    async def observe(self, rollout: Rollout) -> Workloads:
        """Return the candidate as the target and the stable version as the primary, both ready."""
        candidate = await self.candidate(rollout)
        return Workloads(
            target=_ready(candidate),
            primary=_ready(await self.stable(rollout)),
            restorable=await self.restorable(rollout),
            is_restored=self._given_back.get(_key(rollout)) == candidate,
        )

    async def initialise(self, rollout: Rollout, revision: str) -> None:
        """Declare the first version the stable one."""
        if not await self.stable(rollout):
            await self._check_candidate(rollout, revision)
            await self.set_stable(rollout, revision)

    async def promote(self, rollout: Rollout, revision: str) -> None:
        """Declare the candidate the stable version. Raises Refused if the candidate is another one."""
        stable = await self.stable(rollout)
        if stable == revision:
            return
        await self._check_candidate(rollout, revision)
        await self.set_stable(rollout, revision)
        self._former[_key(rollout)] = stable

    async def restore_primary(self, rollout: Rollout, revision: str) -> None:
        """Declare an earlier version the stable one again. Raises Refused for a version that is not restorable."""
        if await self.stable(rollout) == revision:
            return
        known = await self.restorable(rollout)
        if revision not in known:
            raise Refused(
                f"found revision {revision}, expected one to return to: {', '.join(known) or 'none is known'}"
            )
        await self.set_stable(rollout, revision)

    async def scale_up(self, rollout: Rollout) -> None:
        """Do nothing: there are no replicas."""
        del rollout

    async def scale_down(self, rollout: Rollout) -> None:
        """Do nothing: there are no replicas."""
        del rollout

    async def pause_scaler(self, rollout: Rollout) -> None:
        """Do nothing: there is no autoscaler."""
        del rollout

    async def resume_scaler(self, rollout: Rollout) -> None:
        """Do nothing: there is no autoscaler."""
        del rollout

    async def restore(self, rollout: Rollout) -> None:
        """Do nothing but note it: the router gives the traffic back, and both versions stay."""
        self._given_back[_key(rollout)] = await self.candidate(rollout)

    async def _check_candidate(self, rollout: Rollout, revision: str) -> None:
        candidate = await self.candidate(rollout)
        if candidate != revision:
            raise Refused(f"the candidate is {candidate or 'missing'}, expected {revision}")


def _key(rollout: Rollout) -> str:
    return f"{rollout.namespace}/{rollout.name}"


def _ready(revision: str) -> Workload | None:
    """Return a workload of one unit that is ready; None without a version."""
    if not revision:
        return None
    return Workload(revision=revision, desired=1, updated=1, ready=1, total=1, has_replicas=False)
