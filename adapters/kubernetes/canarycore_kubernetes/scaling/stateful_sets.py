"""The StatefulSets of rollouts by partition: their caches, and the only writes to them.

    scaled = ScaledSet(cluster, key="default/db", name="db", promoted=status.promoted)
    shares = await scaled.observe()                                  # from caches; a change wakes the rollout
    await scaled.write(weight=20)                                    # the marks, and the partition that follows
    await scaled.evict_next()                                        # one pod of the way back

A write reads the StatefulSet from the server, compares, and sends one merge patch under the version that it read. The
patch has the marks of the rollout (annotations) and the partition that they require. So no process sees one without the
other. Pods go by evictions: these respect PodDisruptionBudgets, and name the pod's uid, so that a repeated eviction
meets no later pod of that name.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from canarycore.errors import Conflict, Refused, WorldError
from canarycore.foreign import get_integer, get_items, get_mapping, get_text, get_texts
from canarycore.manifest.routing import MOST_ORDINALS, find_partition_obstacle
from canarycore.text import clip
from canarycore_kubernetes.api.budget import demand_small
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.client import ApiError, NotFound
from canarycore_kubernetes.api.kinds import POD, STATEFUL_SET
from canarycore_kubernetes.api.metadata import REVISION, UP, get_annotation, written_at
from canarycore_kubernetes.api.ownership import BlockedError, MissingObjectError, ownership_of
from canarycore_kubernetes.api.snapshots import OUR_MANAGERS
from canarycore_kubernetes.scaling.partition import (
    OrdinalPod,
    PartitionRecord,
    RevisionShares,
    StatefulSetFacts,
)
from canarycore_runtime.workloads.pod_split import ANNOTATION as SPLIT
from canarycore_runtime.workloads.pod_split import PodSplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from canarycore_kubernetes.api.cache import Cache
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_runtime.mesh import Json

PARTITION = "canarycore/partition"
"""The annotation with the partition that the controller wrote last, and the owner's own."""

MARKS = (REVISION, UP, SPLIT, PARTITION)
"""The annotations of a StatefulSet under a rollout."""

OF_STATEFUL_SETS = "statefulset.kubernetes.io/pod-name"
"""The label of the pods of StatefulSets. The cache asks for no other pods."""

REVISION_OF_POD = "controller-revision-hash"
"""The label with a pod's revision."""

LONGEST_IMAGE = 255
"""Most characters of an image."""

MOST_TEMPLATE_VALUES = 20_000
"""The most items and entries, with their names, in a pod template."""


# caches ---------------------------------------------------------------------------------------------------------------


@cache
def stateful_sets(clock: Callable[[], float] = time.time) -> View[StatefulSetFacts]:
    """Return the view of StatefulSets: the same one for one clock, as a cluster has one a kind."""
    return View(kind=STATEFUL_SET, project=partial(stateful_set_facts, clock=clock))


def ordinal_pod(body: Json, _: OrdinalPod | None = None) -> OrdinalPod:
    """Return the projection of a pod."""
    metadata = body["metadata"]
    conditions = {get_text(each, "type"): get_text(each, "status") for each in get_items(body, "status", "conditions")}
    owners = [each for each in get_items(metadata, "ownerReferences") if each.get("controller") is True]
    is_leaving = "deletionTimestamp" in metadata
    return OrdinalPod(
        name=metadata["name"],
        uid=get_text(metadata, "uid"),
        owner=get_text(owners[0], "uid") if owners else "",
        revision=get_texts(metadata, "labels").get(REVISION_OF_POD, ""),
        is_ready=conditions.get("Ready") == "True" and not is_leaving,
        is_leaving=is_leaving,
    )


ORDINAL_PODS: View[OrdinalPod] = View(kind=POD, project=ordinal_pod, selector=OF_STATEFUL_SETS)


def stateful_set_facts(
    body: Json, before: StatefulSetFacts | None = None, *, clock: Callable[[], float] = time.time
) -> StatefulSetFacts:
    """Return the projection of a StatefulSet. before: its last projection."""
    demand_small(get_mapping(body, "spec", "template"), values=MOST_TEMPLATE_VALUES)
    generation = get_integer(body, "metadata", "generation") or 0
    replicas = get_integer(body, "spec", "replicas")
    recorded_split = PodSplit.parse(get_annotation(body, SPLIT))
    containers = get_items(body, "spec", "template", "spec", "containers")
    facts = StatefulSetFacts(
        uid=body["metadata"]["uid"],
        generation=generation,
        replicas=1 if replicas is None else replicas,
        first=get_integer(body, "spec", "ordinals", "start") or 0,
        partition=get_integer(body, *_PARTITION_PATH) or 0,
        current=get_text(body, "status", "currentRevision"),
        update=get_text(body, "status", "updateRevision"),
        is_observed=generation <= (get_integer(body, "status", "observedGeneration") or 0),
        ready=get_integer(body, "status", "availableReplicas") or 0,
        recorded=get_annotation(body, REVISION),
        takes_part=bool(get_annotation(body, UP)),
        weight=0 if recorded_split is None else recorded_split.weight,
        record=PartitionRecord.parse(get_annotation(body, PARTITION)),
        obstacle=str(find_partition_obstacle(body) or ""),
        ownership=ownership_of(body),
        image=clip(next((get_text(each, "image") for each in containers), ""), LONGEST_IMAGE),
        revised_at=written_at(body, ("spec", "template"), but=OUR_MANAGERS),
    )
    return evolve(facts, unready_since=_unready_since(facts, before, clock))


_PARTITION_PATH = ("spec", "updateStrategy", "rollingUpdate", "partition")


def _unready_since(
    facts: StatefulSetFacts, before: StatefulSetFacts | None, clock: Callable[[], float]
) -> float | None:
    """Return since when pods are missing and no count changes: the status of a StatefulSet has no such time."""
    is_promoted = facts.recorded in ("", facts.current)
    is_moving = facts.takes_part and facts.update not in ("", facts.recorded)
    if facts.ready == facts.replicas and is_promoted and not is_moving:
        return None
    if before is None or before.unready_since is None or _counts(before) != _counts(facts):
        return clock()
    return before.unready_since


def _counts(facts: StatefulSetFacts) -> tuple[object, ...]:
    return facts.ready, facts.replicas, facts.partition, facts.update


# one StatefulSet ------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class MarkChange:
    """A change of the marks of a rollout."""

    marks: Mapping[str, str | None] = field(factory=dict)
    """The annotations; None removes one."""
    weight: int | None = None
    """The canary's weight in percent; None leaves it."""


@frozen(kw_only=True)
class ScaledSet:
    """The StatefulSet of one rollout."""

    cluster: Cluster
    namespace: str
    name: str
    key: str
    """The rollout's key."""
    promoted: str = ""
    """The promoted revision by the rollout's status."""
    clock: Callable[[], float] = time.time

    async def observe(self) -> RevisionShares | None:
        """Return the shares from the caches; None where the StatefulSet is missing. A change wakes the rollout."""
        cache = await self.cluster.cache(stateful_sets(self.clock)).ready()
        facts = cache.look(self.namespace, self.name, self.key)
        return None if facts is None else self._shares(facts, await self.cluster.cache(ORDINAL_PODS).ready())

    def _shares(self, facts: StatefulSetFacts, pods: Cache[OrdinalPod]) -> RevisionShares:
        ordinals = range(facts.first, facts.first + min(facts.replicas, MOST_ORDINALS))
        each = [pods.look(self.namespace, f"{self.name}-{ordinal}", self.key) for ordinal in ordinals]
        own = tuple(pod if pod is not None and pod.owner == facts.uid else None for pod in each)
        return RevisionShares(facts=facts, pods=own, promoted=self.promoted)

    async def write(self, marks: Mapping[str, str | None], *, weight: int | None = None) -> None:
        """Change the marks of the rollout, and the partition that they require, in one write.

        marks: annotations; None removes one. weight: the canary's weight in percent; None leaves it.
        """
        await self.change(lambda _: MarkChange(marks=marks, weight=weight))

    async def change(self, edit: Callable[[RevisionShares], MarkChange | None]) -> None:
        """Make the change that `edit` returns for the StatefulSet as the server has it; None changes nothing."""

        def rewrite(body: Json, before: RevisionShares) -> Json:
            change = edit(before)
            return body if change is None else self._changed(body, before, change)

        await self._rewrite(rewrite)

    async def _rewrite(self, rewrite: Callable[[Json, RevisionShares], Json]) -> None:
        """Write what `rewrite` returns for the StatefulSet as the server has it."""
        pods = await self.cluster.cache(ORDINAL_PODS).ready()

        def rewritten(body: Json) -> Json:
            return rewrite(body, self._shares(stateful_set_facts(body, clock=self.clock), pods))

        await self.cluster.rewrite(STATEFUL_SET, self.namespace, self.name, rewritten)

    def _changed(self, body: Json, before: RevisionShares, change: MarkChange) -> Json:
        """Return the StatefulSet with the marks of a change, and the partition that they require."""
        present = get_texts(body, "metadata", "annotations")
        changed: dict[str, str | None] = {REVISION: before.stable or None, **change.marks}
        if change.weight is not None:
            changed[SPLIT] = str(PodSplit(weight=change.weight))
        after = {name: text for name, text in {**present, **changed}.items() if text is not None}
        marked = {**body, "metadata": {**body["metadata"], "annotations": after}}
        partition = evolve(before, facts=stateful_set_facts(marked, clock=self.clock)).required_partition
        owner = before.facts.partition if before.facts.record is None else before.facts.record.owner
        if REVISION in after:
            after[PARTITION] = str(PartitionRecord(set_to=partition, owner=owner))
        return {**marked, "spec": with_partition(body["spec"], partition)}

    async def give_back(self) -> None:
        """Remove the marks, and give the owner's partition back."""
        with suppress(MissingObjectError):
            await self._rewrite(_unmarked)

    async def evict_next(self) -> None:
        """Evict the next pod of the way back, if one may go now.

        Kubernetes must have seen the partition: it would create the pod with the same revision again. Raise WorldError
        where a PodDisruptionBudget keeps it.
        """
        body = await self.cluster.require(STATEFUL_SET, self.namespace, self.name)
        facts, pods = stateful_set_facts(body, clock=self.clock), await self.cluster.cache(ORDINAL_PODS).ready()
        shares = self._shares(facts, pods)
        pod = shares.next_eviction() if shares.facts.is_observed else None
        if pod is None:
            return
        try:
            await self.cluster.client.evict(self.namespace, pod.name, uid=pod.uid)
        except (NotFound, Conflict):
            return  # another pod has its name already
        except ApiError as error:
            if error.status != _TOO_MANY_REQUESTS:
                raise
            raise WorldError(
                f"StatefulSet {self.name}.{self.namespace}: the pod {pod.name} cannot go back to the stable revision:"
                f" {error.answer}"
            ) from error

    def demand_sound(self, shares: RevisionShares) -> None:
        """Raise BlockedError where the spec of the StatefulSet allows no rollout."""
        if shares.facts.obstacle:
            raise BlockedError(f"canary {self.key}, StatefulSet {self.name}, {shares.facts.obstacle}")

    def demand_revision(self, shares: RevisionShares, revision: str) -> None:
        """Raise Refused unless the owner's template is this revision."""
        facts = shares.facts
        if facts.update != revision:
            raise Refused(f"statefulset {self.name}.{self.namespace} carries {facts.update}, not {revision}")
        if not facts.is_observed:
            raise Conflict(f"statefulset {self.name}.{self.namespace}: Kubernetes has yet to see its last change")

    def demand_rest(self, shares: RevisionShares) -> None:
        """Raise Refused while Kubernetes rolls another revision out: a partition would stop it half-way."""
        if shares.facts.current != shares.facts.update:
            raise Refused(
                f"StatefulSet {self.name}.{self.namespace} is in a rollout of its own: found the revisions"
                f" {shares.facts.current} and {shares.facts.update}, expected one. Wait until all its pods are ready."
            )


_TOO_MANY_REQUESTS = 429


def _unmarked(body: Json, _: RevisionShares) -> Json:
    """Return the StatefulSet without marks, with its owner's partition; unchanged if it has none."""
    present = get_texts(body, "metadata", "annotations")
    record = PartitionRecord.parse(present.get(PARTITION, ""))
    if not present.keys() & set(MARKS):
        return body
    after = {name: text for name, text in present.items() if name not in MARKS}
    spec = body["spec"] if record is None else with_partition(body["spec"], record.owner)
    return {**body, "metadata": {**body["metadata"], "annotations": after}, "spec": spec}


def with_partition(spec: Json, partition: int) -> Json:
    """Return the spec with a partition."""
    strategy = get_mapping(spec, "updateStrategy")
    rolling = get_mapping(strategy, "rollingUpdate") | {"partition": partition}
    return spec | {"updateStrategy": {**strategy, "type": "RollingUpdate", "rollingUpdate": rolling}}
