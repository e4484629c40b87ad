"""The partition of a StatefulSet: the number of its pods that have the newest revision, and the next step towards it.

Theory of operation. A StatefulSet runs two revisions by itself. Its pods have ordinals, and
`updateStrategy.rollingUpdate.partition` divides them: a pod from the partition on gets the newest revision
(`status.updateRevision`), a pod below it the one before (`status.currentRevision`). Both sides of a rollout are views
of this one object:

    the stable side    the pods of the recorded revision (the annotation REVISION), which a promotion changes
    the canary         all other pods

The controller of Kubernetes replaces pods from the highest ordinal down, one after the other, and waits until each is
ready. It never takes a pod below the partition back. So a way back needs two steps: the partition rises, and an
eviction removes each pod below it that has not the stable revision. Kubernetes then creates that pod again with the
stable one.

`required_partition` depends on the object alone, on its annotations, its replicas and its status. So each step is
absolute, and another process goes on with it:

    the recorded revision is not complete    0: Kubernetes rolls it out to all pods, and then makes it current
    nothing to roll out, or no rollout       ALL_STABLE: no later revision starts by itself, not even on further pods
    a rollout at a weight                    the replicas without the canary's share; each side keeps one pod at least

A revision that the StatefulSet can no longer produce is not the stable one. This happens when its owner brings a third
revision before a promotion is complete. The current revision is then stable again: the half promotion goes back.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore import Routes, Workload
from canarycore_runtime.workloads.pod_split import ALL, count_pods

if TYPE_CHECKING:
    from canarycore_kubernetes.api.ownership import Ownership

ALL_STABLE = 2**31 - 1
"""The partition at rest: the greatest one, so that no later number of replicas exceeds it."""

_RECORD = re.compile(r"set=([0-9]{1,10}),owner=([0-9]{1,10})")


@frozen(kw_only=True)
class PartitionRecord:
    """The record of the partitions of a StatefulSet, in one of its annotations."""

    set_to: int
    """The partition that the controller wrote last."""
    owner: int = 0
    """The partition that the owner had before."""

    def __str__(self) -> str:
        return f"set={self.set_to},owner={self.owner}"

    @classmethod
    def parse(cls, text: str) -> PartitionRecord | None:
        """Return the record of a text; None if it is none."""
        match = _RECORD.fullmatch(text)
        if match is None or max(int(match[1]), int(match[2])) > ALL_STABLE:
            return None
        return cls(set_to=int(match[1]), owner=int(match[2]))


@frozen(kw_only=True)
class StatefulSetFacts:
    """The projection of a StatefulSet that a cache keeps."""

    uid: str
    generation: int
    replicas: int
    """The replicas of its spec."""
    first: int
    """The ordinal of its first pod."""
    partition: int
    """The partition of its spec."""
    current: str
    """The revision of the pods below the partition."""
    update: str
    """The revision of the owner's template, as far as Kubernetes has seen it."""
    is_observed: bool
    """Whether Kubernetes has seen the last change of the spec."""
    ready: int
    """The pods that are available."""
    recorded: str
    """The revision of the stable side, by the controller's annotation; empty without one."""
    takes_part: bool
    """Whether the canary takes part in a rollout."""
    weight: int
    """The canary's recorded weight in percent."""
    record: PartitionRecord | None
    obstacle: str
    """Why its spec allows no rollout by partition, with the remedy; empty if it does."""
    ownership: Ownership
    image: str = ""
    revised_at: float | None = None
    """When the owner last wrote the template, at the latest (seconds since the epoch); None if unknown."""
    unready_since: float | None = None
    """Since when pods are missing and no count changes; None while all are available."""


@frozen(kw_only=True)
class OrdinalPod:
    """The projection of a pod of a StatefulSet."""

    name: str
    uid: str
    owner: str
    """The uid of its controller."""
    revision: str
    is_ready: bool
    """Whether it serves."""
    is_leaving: bool
    """Whether it is being deleted."""


@frozen(kw_only=True)
class RevisionShares:
    """The pods of a StatefulSet by their revisions."""

    facts: StatefulSetFacts
    pods: tuple[OrdinalPod | None, ...]
    """A pod, or None, for each of its replicas in the order of the ordinals."""
    promoted: str = ""
    """The promoted revision by the rollout's status, which counts where the annotation is missing."""

    # revisions ------------------------------------------------------------------------------------------------------

    @property
    def stable(self) -> str:
        """The revision of the stable side; empty before the rollout begins."""
        facts = self.facts
        recorded = facts.recorded or self.promoted
        if not recorded or not (facts.current and facts.update) or recorded in (facts.current, facts.update):
            return recorded
        return facts.current

    @property
    def is_promoting(self) -> bool:
        """Whether Kubernetes has yet to give all pods the stable revision."""
        return bool(self.stable) and self.facts.current != self.stable

    @property
    def has_candidate(self) -> bool:
        """Whether the owner's template is another revision than the stable one, and takes part in a rollout."""
        facts = self.facts
        return facts.takes_part and bool(self.stable) and not self.is_promoting and facts.update != self.stable

    # pods -----------------------------------------------------------------------------------------------------------

    @property
    def existing(self) -> tuple[OrdinalPod, ...]:
        """The pods that exist and stay."""
        return tuple(pod for pod in self.pods if pod is not None and not pod.is_leaving)

    @property
    def stable_pods(self) -> tuple[OrdinalPod, ...]:
        """The pods of the stable revision."""
        return tuple(pod for pod in self.existing if pod.revision == self.stable)

    @property
    def canary_pods(self) -> tuple[OrdinalPod, ...]:
        """The pods of any other revision."""
        return tuple(pod for pod in self.existing if pod.revision != self.stable)

    @property
    def share(self) -> int:
        """The canary's number of pods for the recorded weight. At 100 percent, as a failover has it, it stays."""
        facts, most = self.facts, max(0, self.facts.replicas - 1)
        if not self.has_candidate:
            return 0
        if facts.weight == ALL:
            return max(min(1, most), min(facts.replicas - facts.partition, most))
        return min(count_pods(facts.replicas, facts.weight).canary if facts.weight else 1, most)

    @property
    def required_partition(self) -> int:
        """The partition that the StatefulSet must have."""
        if not self.stable:
            return self.facts.partition
        if self.is_promoting:
            return 0
        return self.facts.replicas - self.share if self.has_candidate else ALL_STABLE

    @property
    def surplus(self) -> tuple[OrdinalPod, ...]:
        """The canary's pods below the required partition, which Kubernetes does not take back by itself."""
        below = self.pods[: self.required_partition]
        return tuple(pod for pod in below if pod is not None and not pod.is_leaving and pod.revision != self.stable)

    def next_eviction(self) -> OrdinalPod | None:
        """Return the pod to evict next: one that serves nothing, or one while all others serve; None for now.

        Pods go one after the other, so that at most one pod that serves is missing at each moment.
        """
        surplus = self.surplus
        if not surplus or any(pod is not None and pod.is_leaving for pod in self.pods):
            return None
        idle = [pod for pod in surplus if not pod.is_ready]
        if idle:
            return idle[-1]
        all_serve = all(pod is not None and pod.is_ready for pod in self.pods)
        return surplus[-1] if all_serve and self.facts.ready >= self.facts.replicas else None

    # views ----------------------------------------------------------------------------------------------------------

    def canary(self) -> Workload:
        """Return the canary's side. Before a rollout begins, and once it is promoted, all pods are the target's."""
        facts, pods = self.facts, self.existing
        is_whole = not self.stable or (facts.takes_part and facts.update == self.stable)
        desired = facts.replicas if is_whole else self.share
        if not is_whole:
            pods = () if self.is_promoting else self.canary_pods
            desired = desired or len(pods)
        return self._side(facts.update or facts.current, desired, pods)

    def primary(self) -> Workload | None:
        """Return the stable side; None before the rollout begins.

        It desires the pods that the canary does not have. So it is whole while the canary's pods go back one by one,
        and has all pods at the end of a promotion.
        """
        if not self.stable:
            return None
        if self.is_promoting:
            return self._side(self.stable, self.facts.replicas, self.existing)
        return self._side(self.stable, max(0, self.facts.replicas - len(self.canary_pods)), self.stable_pods)

    def _side(self, revision: str, desired: int, pods: tuple[OrdinalPod, ...]) -> Workload:
        updated = sum(pod.revision == revision for pod in pods)
        ready = sum(pod.is_ready for pod in pods)
        is_whole = desired == updated == len(pods) == ready
        return Workload(
            revision=revision,
            desired=desired,
            updated=updated,
            ready=ready,
            total=len(pods),
            unready_since=None if is_whole else self.facts.unready_since,
            revised_at=self.facts.revised_at,
        )

    def routes(self) -> Routes | None:
        """Return the shares in force; None while pods are on their way to them.

        A partition that somebody else wrote counts as other shares, so that the rollout repairs and reports it. They
        are below 100 percent, which would look like a failover.
        """
        facts = self.facts
        if not self.stable:
            return None
        if facts.partition != self.required_partition:
            is_foreign = facts.record is not None and facts.partition != facts.record.set_to
            weight = min(ALL - 1, ALL * max(0, facts.replicas - facts.partition) // max(1, facts.replicas))
            return Routes(weight=weight) if is_foreign and weight != facts.weight else None
        if self.surplus:
            return None
        above = self.pods[self.required_partition :] if self.has_candidate else ()
        is_there = all(pod is not None and pod.revision == facts.update for pod in above)
        return Routes(weight=facts.weight) if is_there else None
