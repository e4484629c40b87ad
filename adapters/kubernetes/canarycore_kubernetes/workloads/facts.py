"""Deployments and DaemonSets as they are held: what their owner wrote, reduced, and how their pods are.

views = pod_views(Reading(labels=...))
facts = (await cluster.cache(views[DEPLOYMENT]).ready()).look("default", "podinfo", key)
"""

from __future__ import annotations

import time
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from canarycore.foreign import get_integer, get_items, get_mapping, get_text, get_texts, get_time
from canarycore_kubernetes.api.budget import demand_small
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.kinds import DAEMON_SET, DEPLOYMENT
from canarycore_kubernetes.api.metadata import CONTENTS, KEPT_REVISIONS, REVISION, get_annotation, get_annotation_list
from canarycore_kubernetes.api.ownership import UNOWNED, Ownership, ownership_of
from canarycore_kubernetes.workloads.configs import ConfigUse
from canarycore_kubernetes.workloads.primary import SELECTOR_LABELS
from canarycore_kubernetes.workloads.revision import SCALED_TO_ZERO, contents, copied_contents, fingerprint, identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from canarycore_kubernetes.workloads.configs import ConfigFacts
    from canarycore_runtime.mesh import Json, Kind


@frozen(kw_only=True)
class ReadingOptions:
    """How workloads are read.

    labels: the selector labels. tracked: whether configs belong to a revision. secrets: whether Secrets are read; else
    each is taken to hold what it held when the primary was promoted.
    """

    labels: tuple[str, ...] = SELECTOR_LABELS
    tracked: bool = True
    secrets: bool = True
    clock: Callable[[], float] = time.time


@frozen
class Port:
    """A port of a container. An unnamed one is called as Flagger calls it: `tcp-<container>-<position>`."""

    name: str
    number: int


@frozen(kw_only=True)
class WrittenTemplate:
    """What an owner wrote: it changes only with the generation.

    shape and configs: see `revision`. label: the one by which pods are selected, and its value; empty where the
    selector has none of the selector labels. ports: of all containers but the proxies of meshes.
    """

    uid: str
    generation: int
    shape: str
    configs: tuple[ConfigUse, ...]
    label: tuple[str, str]
    ports: tuple[Port, ...]


@frozen(kw_only=True)
class PodFacts:
    """What is held of a Deployment or a DaemonSet.

    carries: the revision that its annotation names; empty where it has none. contents: the configs that belong to that
    revision, and what they hold. kept: the revisions that it can be restored to. ownership: whose it is. The rest is as
    in `Workload`.
    """

    written: WrittenTemplate
    carries: str
    contents: tuple[str, ...]
    kept: tuple[str, ...]
    desired: int
    updated: int
    ready: int
    total: int
    unready_since: float | None = None
    stuck: str = ""
    ownership: Ownership = UNOWNED


@cache
def pod_views(reading: ReadingOptions) -> Mapping[Kind, View[PodFacts]]:
    """How Deployments and DaemonSets are held. The same views for the same reading: a cluster has one per kind."""
    return {kind: View(kind=kind, project=partial(pod_facts, reading)) for kind in (DEPLOYMENT, DAEMON_SET)}


def pod_facts(reading: ReadingOptions, body: Json, before: PodFacts | None = None) -> PodFacts:
    """The projection of a Deployment or a DaemonSet. `before`: what was held of it until now."""
    metadata = body["metadata"]
    written = None if before is None else before.written
    if written is None or (written.uid, written.generation) != (metadata["uid"], metadata.get("generation", 0)):
        written = _written(reading, body)
    facts = PodFacts(
        written=written,
        carries=get_annotation(body, REVISION),
        contents=get_annotation_list(body, CONTENTS),
        kept=get_annotation_list(body, KEPT_REVISIONS),
        ownership=ownership_of(body),
        **_COUNTS[body["kind"]](body),
    )
    if body["kind"] == DAEMON_SET.kind and facts.desired:
        return evolve(facts, unready_since=_still_since(facts, before, reading.clock))
    return facts


# ------------------------------------------------------------------------------------------------- what its owner wrote


def _written(reading: ReadingOptions, body: Json) -> WrittenTemplate:
    metadata, template = body["metadata"], get_mapping(body, "spec", "template")
    demand_small(template, values=MOST_TEMPLATE_VALUES)
    matched = get_texts(body, "spec", "selector", "matchLabels")
    label = next((label for label in reading.labels if label in matched), "")
    reduced = fingerprint(template, labels=reading.labels, name=metadata["name"], tracked=reading.tracked)
    return WrittenTemplate(
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        shape=reduced.shape,
        configs=reduced.configs,
        label=(label, matched.get(label, "")),
        ports=tuple(_ports(template)),
    )


MOST_TEMPLATE_VALUES = 20_000
"""Items and entries, with their names, in a pod template that is read: enough for 4,000 environment variables."""

PROXIES = ("istio-proxy", "envoy")
"""Containers that a mesh has put beside the owner's."""


def _ports(template: Json) -> Iterator[Port]:
    for container in get_items(template, "spec", "containers"):
        name = get_text(container, "name")
        for position, port in enumerate(get_items(container, "ports")):
            number = get_integer(port, "containerPort")
            if number is not None and name not in PROXIES:
                yield Port(get_text(port, "name") or f"tcp-{name}-{position}", number)


# ----------------------------------------------------------------------------------------------------- how its pods are


def _deployment(body: Json) -> dict[str, Any]:
    """Counts and trouble. Until the Deployment's controller has seen a change, no pod is known to be of it."""
    status, seen = _status(body)
    replicas = get_integer(body, "spec", "replicas")
    desired = 1 if replicas is None else replicas
    conditions = {get_text(one, "type"): one for one in get_items(status, "conditions")} if seen and desired else {}
    available, progressing = conditions.get("Available", {}), conditions.get("Progressing", {})
    lacks = available.get("status") == "False" and available.get("reason") == "MinimumReplicasUnavailable"
    late = progressing.get("reason") == "ProgressDeadlineExceeded"
    return {
        "desired": desired,
        "updated": _count(status, "updatedReplicas") if seen else 0,
        "ready": _count(status, "availableReplicas"),
        "total": _count(status, "replicas"),
        "unready_since": get_time(available, "lastUpdateTime") if lacks else None,
        "stuck": f'deployment "{body["metadata"]["name"]}" exceeded its progress deadline' if late else "",
    }


def _daemon_set(body: Json) -> dict[str, Any]:
    """Counts. One that may run somewhere is wanted on one node at least, or nothing at all would count as ready."""
    status, seen = _status(body)
    at_zero = SCALED_TO_ZERO in get_mapping(body, "spec", "template", "spec", "nodeSelector")
    return {
        "desired": 0 if at_zero else max(1, _count(status, "desiredNumberScheduled")),
        "updated": _count(status, "updatedNumberScheduled") if seen else 0,
        "ready": _count(status, "numberAvailable"),
        "total": _count(status, "currentNumberScheduled") + _count(status, "numberMisscheduled"),
    }


_COUNTS: dict[str, Callable[[Json], dict[str, Any]]] = {
    DEPLOYMENT.kind: _deployment,
    DAEMON_SET.kind: _daemon_set,
}


def _status(body: Json) -> tuple[Json, bool]:
    """The status, and whether it is about what the owner wrote last."""
    status = get_mapping(body, "status")
    return status, _count(body, "metadata", "generation") <= _count(status, "observedGeneration")


def _count(body: Json, *path: str) -> int:
    """A number that a controller leaves out where it is 0."""
    return get_integer(body, *path) or 0


def _still_since(facts: PodFacts, before: PodFacts | None, clock: Callable[[], float]) -> float | None:
    """Since when pods are missing and nothing happens; a DaemonSet does not say so itself."""
    if facts.desired == facts.updated == facts.total <= facts.ready:
        return None
    if before is None or before.unready_since is None or _counts(before) != _counts(facts):
        return clock()
    return before.unready_since


def _counts(facts: PodFacts) -> tuple[int, ...]:
    return facts.written.generation, facts.desired, facts.updated, facts.ready, facts.total


# ------------------------------------------------------------------------------------------------- what they carry


def revisions(
    target: PodFacts | None,
    primary: PodFacts | None,
    mine: Mapping[ConfigUse, ConfigFacts | None],
    copies: Mapping[ConfigUse, ConfigFacts | None],
) -> tuple[str, str]:
    """The revisions that the target and the primary carry; empty for one that does not exist.

    mine and copies: what is known of the configs that each names; of a primary that says what they held not needed.

    A primary that says nothing was made by Flagger: then both sides are reduced to what Flagger looks at, and one that
    is as its target would be copied carries the target's revision. Nothing is written to find that out. Where both
    sides are the same they have one name, that of the primary, whatever a newer Kubernetes fills into the same
    template, and whatever hash a newer release of ours has.
    """
    told = primary.carries if primary is not None else ""
    unmarked = primary is not None and not told
    wanted = carried = ""
    if target is not None:
        wanted = identity(target.written.shape, contents(target.written.configs, mine, text=unmarked))
    if primary is not None and (unmarked or wanted != told):
        written = primary.written
        held = primary.contents if told or primary.contents else copied_contents(written.configs, copies, text=True)
        carried = identity(written.shape, held)
    if unmarked:
        return wanted, carried
    return (told if told and wanted == carried else wanted), told
