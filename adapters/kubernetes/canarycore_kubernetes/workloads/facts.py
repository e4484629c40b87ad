"""The facts that caches keep of Deployments and DaemonSets: the owner's template, reduced, and the state of the pods.

views = pod_views(ReadingOptions(labels=...))
facts = (await cluster.cache(views[DEPLOYMENT]).ready()).look("default", "podinfo", key)
"""

from __future__ import annotations

import re
import time
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from canarycore.bounds import LABEL
from canarycore.foreign import get_integer, get_items, get_mapping, get_text, get_texts, get_time
from canarycore.text import clip, compose_name
from canarycore_kubernetes.api.budget import demand_small
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.kinds import DAEMON_SET, DEPLOYMENT
from canarycore_kubernetes.api.metadata import (
    CONTENTS,
    KEPT_REVISIONS,
    REVISION,
    get_annotation,
    get_annotation_list,
    written_at,
)
from canarycore_kubernetes.api.ownership import UNOWNED, Ownership, ownership_of
from canarycore_kubernetes.api.snapshots import OUR_MANAGERS
from canarycore_kubernetes.selection.selectors import (
    find_selector_label,
    new_selectors,
    replaced_label,
    workload_selector,
)
from canarycore_kubernetes.workloads.configs import ConfigUse
from canarycore_kubernetes.workloads.primary import SELECTOR_LABELS
from canarycore_kubernetes.workloads.revision import SCALED_TO_ZERO, contents, copied_contents, fingerprint, identity
from canarycore_runtime.workloads import written_size
from canarycore_runtime.workloads.pod_split import ANNOTATION, PodSplit
from canarycore_runtime.workloads.written_size import WrittenSize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from canarycore_kubernetes.workloads.configs import ConfigFacts
    from canarycore_runtime.mesh import Json, Kind, PodSelectors


@frozen(kw_only=True)
class ReadingOptions:
    """How the controller reads workloads."""

    labels: tuple[str, ...] = SELECTOR_LABELS
    """The selector labels, the controller's option --selector-labels."""

    tracked: bool = True
    """Whether configs belong to a revision, the controller's option --enable-config-tracking."""

    secrets: bool = True
    """Whether Secrets are read. If not, each counts as unchanged since the primary was promoted."""

    clock: Callable[[], float] = time.time
    """Seconds since the epoch."""


TCP = "TCP"
"""The protocol of a port that names none."""


@frozen
class Port:
    """A port of a container. An unnamed one has Flagger's name: `tcp-<container>-<position>`, or `udp-…`, `sctp-…`."""

    name: str
    number: int
    protocol: str = TCP


@frozen(kw_only=True)
class WrittenTemplate:
    """The part of a workload that its owner writes, reduced. It changes only with the generation."""

    uid: str
    """The uid of the workload."""

    generation: int

    shape: str
    """The hash of the pod template (see `revision.fingerprint`)."""

    configs: tuple[ConfigUse, ...]
    """The configs that the pod template names, if they belong to a revision."""

    pods: PodSelectors
    """The labels that select the pods, and those of a primary that is created now. Both are empty where the selector
    has no selector label."""

    selector: Mapping[str, str]
    """The labels that select the pods, whether or not a selector label is among them. A primary's never change."""

    labels: Mapping[str, str]
    """The labels of the pods."""

    ports: tuple[Port, ...]
    """The ports of all containers except the proxies of meshes."""

    image: str = ""
    """The image of the first container that is no proxy of a mesh, shortened to LONGEST_IMAGE."""

    written_at: float | None = None
    """When the owner last wrote the pod template, at the latest (seconds since the epoch); None if unknown."""


@frozen(kw_only=True)
class PodFacts:
    """The projection of a Deployment or a DaemonSet that a cache keeps. Its counts are those of `Workload`."""

    template: WrittenTemplate

    revision: str
    """The revision that the annotation REVISION names; empty where there is none."""

    contents: tuple[str, ...]
    """The names and checksums of the configs of that revision (the annotation CONTENTS)."""

    saved_revisions: tuple[str, ...]
    """The revisions to which the workload can be restored, newest first."""

    desired: int
    updated: int
    ready: int
    total: int
    unready_since: float | None = None
    stuck: str = ""
    refused_pods: str = ""
    """Why the cluster refuses to create pods, without their names; empty if it does not."""
    ownership: Ownership = UNOWNED
    split: PodSplit | None = None
    """The split by numbers of pods that the annotation of a primary records."""
    size: WrittenSize | None = None
    """The size of a step that the annotation of a target records."""

    @property
    def whole(self) -> int:
        """The replicas of the app, all of which a primary has outside of a split by numbers of pods."""
        return self.desired if self.split is None else max(self.split.replicas, self.desired)

    @property
    def own(self) -> int:
        """The replicas that the owner wants, of a target that may have the size of a step."""
        return self.desired if self.size is None else self.size.find_own(self.desired)


@cache
def pod_views(reading: ReadingOptions) -> Mapping[Kind, View[PodFacts]]:
    """Return the views of Deployments and DaemonSets: the same ones for equal options, as a cluster has one a kind."""
    return {kind: View(kind=kind, project=partial(pod_facts, reading)) for kind in (DEPLOYMENT, DAEMON_SET)}


def pod_facts(reading: ReadingOptions, body: Json, before: PodFacts | None = None) -> PodFacts:
    """Return the projection of a Deployment or a DaemonSet. before: its last projection."""
    metadata = body["metadata"]
    template = None if before is None else before.template
    if template is None or (template.uid, template.generation) != (metadata["uid"], metadata.get("generation", 0)):
        template = _template(reading, body)
    facts = PodFacts(
        template=template,
        revision=get_annotation(body, REVISION),
        contents=get_annotation_list(body, CONTENTS),
        saved_revisions=get_annotation_list(body, KEPT_REVISIONS),
        ownership=ownership_of(body),
        split=PodSplit.parse(get_annotation(body, ANNOTATION)),
        size=WrittenSize.parse(get_annotation(body, written_size.ANNOTATION)),
        **_COUNTS[body["kind"]](body),
    )
    if body["kind"] == DAEMON_SET.kind and facts.desired:
        return evolve(facts, unready_since=_unready_since(facts, before, reading.clock))
    return facts


# ------------------------------------------------------------------------------------------------ the owner's template


def _template(reading: ReadingOptions, body: Json) -> WrittenTemplate:
    metadata, template = body["metadata"], get_mapping(body, "spec", "template")
    demand_small(template, values=MOST_TEMPLATE_VALUES)
    selector, labels_of_pods = workload_selector(body), get_texts(template, "metadata", "labels")
    label = find_selector_label(selector, reading.labels)
    replaced = replaced_label(selector, reading.labels)
    labels = tuple(dict.fromkeys((*reading.labels, *([replaced] if replaced else ()))))
    selected = replaced or label
    reduced = fingerprint(
        template,
        labels=labels,
        name=metadata["name"],
        selected=(selected, selector.get(selected, "")),
        tracked=reading.tracked,
    )
    return WrittenTemplate(
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        shape=reduced.shape,
        configs=reduced.configs,
        pods=new_selectors(selector, label),
        selector=selector,
        labels=selector if labels_of_pods == selector else labels_of_pods,  # most are equal, and share their memory
        ports=tuple(_ports(template)),
        image=_image(template),
        written_at=written_at(body, ("spec", "template"), but=OUR_MANAGERS),
    )


MOST_TEMPLATE_VALUES = 20_000
"""The most items and entries, with their names, in a pod template: enough for 4,000 environment variables."""

PROXIES = ("istio-proxy", "envoy")
"""Containers that a mesh injects beside the owner's."""

LONGEST_IMAGE = 255
"""Most characters of an image."""


def _image(template: Json) -> str:
    containers = get_items(template, "spec", "containers")
    images = (get_text(one, "image") for one in containers if get_text(one, "name") not in PROXIES)
    return clip(next(images, ""), LONGEST_IMAGE)


def _ports(template: Json) -> Iterator[Port]:
    for container in get_items(template, "spec", "containers"):
        name = get_text(container, "name")
        for position, port in enumerate(get_items(container, "ports")):
            number = get_integer(port, "containerPort")
            protocol = get_text(port, "protocol") or TCP
            if number is not None and name not in PROXIES:
                composed = compose_name(f"{protocol.lower()}-{name}", f"-{position}", LABEL.most)
                yield Port(get_text(port, "name") or composed, number, protocol)


# ----------------------------------------------------------------------------------------------- the state of the pods


def _deployment(body: Json) -> dict[str, Any]:
    """Return the counts and troubles of a Deployment. Its pods count as updated once its controller saw the change."""
    status, is_current = _status(body)
    replicas = get_integer(body, "spec", "replicas")
    desired = 1 if replicas is None else replicas
    conditions = (
        {get_text(condition, "type"): condition for condition in get_items(status, "conditions")}
        if is_current and desired
        else {}
    )
    available, progressing = conditions.get("Available", {}), conditions.get("Progressing", {})
    lacks = available.get("status") == "False" and available.get("reason") == "MinimumReplicasUnavailable"
    late = progressing.get("reason") == "ProgressDeadlineExceeded"
    return {
        "desired": desired,
        "updated": _count(status, "updatedReplicas") if is_current else 0,
        "ready": _count(status, "availableReplicas"),
        "total": _count(status, "replicas"),
        "unready_since": get_time(available, "lastUpdateTime") if lacks else None,
        "refused_pods": _refused_pods(conditions),
        "stuck": f'deployment "{body["metadata"]["name"]}" exceeded its progress deadline' if late else "",
    }


def _refused_pods(conditions: Mapping[str, Json]) -> str:
    """Return why a Deployment's ReplicaSet cannot create pods. Each attempt has another name for the pod."""
    failure = conditions.get("ReplicaFailure", {})
    return _POD_NAME.sub("a pod", get_text(failure, "message")) if failure.get("status") == "True" else ""


_POD_NAME = re.compile(r'pods "[^"]*"')


def _daemon_set(body: Json) -> dict[str, Any]:
    """Return the counts of a DaemonSet. Unless scaled to zero, it desires a pod at least: with none it is not ready."""
    status, is_current = _status(body)
    at_zero = SCALED_TO_ZERO in get_mapping(body, "spec", "template", "spec", "nodeSelector")
    return {
        "desired": 0 if at_zero else max(1, _count(status, "desiredNumberScheduled")),
        "updated": _count(status, "updatedNumberScheduled") if is_current else 0,
        "ready": _count(status, "numberAvailable"),
        "total": _count(status, "currentNumberScheduled") + _count(status, "numberMisscheduled"),
    }


_COUNTS: dict[str, Callable[[Json], dict[str, Any]]] = {
    DEPLOYMENT.kind: _deployment,
    DAEMON_SET.kind: _daemon_set,
}


def _status(body: Json) -> tuple[Json, bool]:
    """Return the status, and whether it is about the newest generation."""
    status = get_mapping(body, "status")
    return status, _count(body, "metadata", "generation") <= _count(status, "observedGeneration")


def _count(body: Json, *path: str) -> int:
    """Return a number that controllers leave out when it is 0."""
    return get_integer(body, *path) or 0


def _unready_since(facts: PodFacts, before: PodFacts | None, clock: Callable[[], float]) -> float | None:
    """Return since when pods are missing and no count changes: the status of a DaemonSet has no such time."""
    if facts.desired == facts.updated == facts.total <= facts.ready:
        return None
    if before is None or before.unready_since is None or _counts(before) != _counts(facts):
        return clock()
    return before.unready_since


def _counts(facts: PodFacts) -> tuple[int, ...]:
    return facts.template.generation, facts.desired, facts.updated, facts.ready, facts.total


# ----------------------------------------------------------------------------------------------------------- revisions


def revisions(
    target: PodFacts | None,
    primary: PodFacts | None,
    target_configs: Mapping[ConfigUse, ConfigFacts | None],
    primary_configs: Mapping[ConfigUse, ConfigFacts | None],
) -> tuple[str, str]:
    """Return the revisions of the target and of the primary; empty for one that does not exist.

    target_configs, primary_configs: the facts of the configs that each names; those of a primary with an annotation of
    its revision are not needed.

    Flagger made a primary without this annotation. Both sides are then reduced to the parts that Flagger compares, and
    a primary that equals a copy of its target has the target's revision. Equal sides have one revision, the primary's:
    so neither defaults of a newer Kubernetes nor hashes of a newer canarycore start a rollout.
    """
    annotated = primary.revision if primary is not None else ""
    is_flaggers = primary is not None and not annotated
    target_revision = computed = ""
    if target is not None:
        configs = contents(target.template.configs, target_configs, text=is_flaggers)
        target_revision = identity(target.template.shape, configs)
    if primary is not None and (is_flaggers or target_revision != annotated):
        template = primary.template
        is_recorded = bool(annotated or primary.contents)
        carried = primary.contents if is_recorded else copied_contents(template.configs, primary_configs, text=True)
        computed = identity(template.shape, carried)
    if is_flaggers:
        return target_revision, computed
    return (annotated if annotated and target_revision == computed else target_revision), annotated
