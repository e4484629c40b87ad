"""Autoscalers: the primary's copy of the target's, and how the target's own is held off.

A HorizontalPodAutoscaler lets a workload at zero alone, so it is never paused. KEDA's ScaledObject does not, and is
paused at zero by the annotation that KEDA has for this. The primary's copy follows its original when a revision is
promoted, and not before: limits are part of what is rolled out.
"""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.foreign import get_integer, get_items, get_mapping, get_text
from canarycore_kubernetes.api.budget import demand_small
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.kinds import HPA, SCALED_OBJECT
from canarycore_kubernetes.api.metadata import drop_gitops_keys, get_annotation, primary_name
from canarycore_kubernetes.api.ownership import UNOWNED, Ownership, ownership_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore.manifest import Canary
    from canarycore_runtime.mesh import Json

PAUSED = "autoscaling.keda.sh/paused-replicas"
"""KEDA's annotation that holds a workload at a number of replicas."""

PAUSE: Json = {"metadata": {"annotations": {PAUSED: "0"}}}
RESUME: Json = {"metadata": {"annotations": {PAUSED: None}}}
"""Merge patches of a ScaledObject."""


@frozen
class ScalerFacts:
    """What is held of an autoscaler.

    minimum: the least replicas that it runs, when it runs any. paused: whether it is held off at zero; None where that
    need not be. scales: kind and name of the workload; a part is empty where nothing says it. ownership: whose it
    is.
    """

    minimum: int = 1
    paused: bool | None = None
    scales: tuple[str, str] = ("", "")
    ownership: Ownership = UNOWNED


def _hpa_facts(body: Json, _: ScalerFacts | None = None) -> ScalerFacts:
    demand_small(body.get("spec"))
    return ScalerFacts(minimum=get_integer(body, "spec", "minReplicas") or 1, ownership=ownership_of(body))


def _scaled_object_facts(body: Json, _: ScalerFacts | None = None) -> ScalerFacts:
    demand_small(body.get("spec"))
    return ScalerFacts(
        minimum=get_integer(body, "spec", "minReplicaCount") or 1,
        paused=get_annotation(body, PAUSED) == "0",
        scales=_scaled_by(body),
        ownership=ownership_of(body),
    )


def _scaled_by(body: Json) -> tuple[str, str]:
    """The kind and the name of the workload that an autoscaler scales."""
    target = get_mapping(body, "spec", "scaleTargetRef")
    return get_text(target, "kind"), get_text(target, "name")


SCALERS: dict[str, View[ScalerFacts]] = {
    HPA.kind: View(kind=HPA, project=_hpa_facts),
    SCALED_OBJECT.kind: View(kind=SCALED_OBJECT, project=_scaled_object_facts),
}
"""By the kind in `spec.autoscalerRef`."""


def primary_scaler(scaler: Json, canary: Canary, owner: Json) -> Json:
    """The copy of the target's autoscaler that scales the primary, with the limits and queries meant for it."""
    reference = canary.spec.autoscaler_ref
    assert reference is not None, "there is a scaler, so it was referred to"
    metadata = scaler["metadata"]
    copy: Json = {
        "apiVersion": scaler["apiVersion"],
        "kind": scaler["kind"],
        "metadata": {
            "name": primary_name(reference.name),
            "namespace": metadata["namespace"],
            "labels": drop_gitops_keys(metadata.get("labels")),
            "ownerReferences": [owner],
        },
        "spec": deepcopy(get_mapping(scaler, "spec")),
    }
    scaled = get_mapping(scaler, "spec", "scaleTargetRef")
    copy["spec"]["scaleTargetRef"] = {**scaled, "name": primary_name(canary.spec.target_ref.name)}
    _COMPLETE[scaler["kind"]](copy, scaler, canary)
    return copy


def with_scale(found: Json, wanted: Json) -> Json:
    """The primary's autoscaler that was found, scaling as wanted; what others put on it since is left."""
    return deepcopy(found) | {"spec": wanted["spec"]}


def _complete_hpa(copy: Json, _: Json, canary: Canary) -> None:
    _limit(copy["spec"], canary, "minReplicas", "maxReplicas")


def _complete_scaled_object(copy: Json, scaler: Json, canary: Canary) -> None:
    annotations = drop_gitops_keys(scaler["metadata"].get("annotations"))
    copy["metadata"]["annotations"] = {key: text for key, text in annotations.items() if key != PAUSED}
    spec = copy["spec"]
    _limit(spec, canary, "minReplicaCount", "maxReplicaCount")
    advanced = spec["advanced"] = get_mapping(spec, "advanced")
    hpa = advanced["horizontalPodAutoscalerConfig"] = get_mapping(advanced, "horizontalPodAutoscalerConfig")
    if get_text(hpa, "name"):
        hpa["name"] = primary_name(hpa["name"])
    for trigger in get_items(spec, "triggers"):
        _ask_about_primary(trigger, canary)


_COMPLETE: dict[str, Callable[[Json, Json, Canary], None]] = {
    HPA.kind: _complete_hpa,
    SCALED_OBJECT.kind: _complete_scaled_object,
}


def _limit(spec: Json, canary: Canary, minimum: str, maximum: str) -> None:
    reference = canary.spec.autoscaler_ref
    replicas = reference and reference.primary_scaler_replicas
    if replicas and replicas.min_replicas is not None:
        spec[minimum] = replicas.min_replicas
    if replicas and replicas.max_replicas is not None:
        spec[maximum] = replicas.max_replicas


def _ask_about_primary(trigger: Json, canary: Canary) -> None:
    """Give a trigger the query that is meant for the primary, or else ask its own about the primary's name."""
    reference, metadata = canary.spec.autoscaler_ref, get_mapping(trigger, "metadata")
    queries = dict(reference.primary_scaler_queries) if reference else {}
    if queries:
        if get_text(trigger, "name") in queries:
            trigger["metadata"] = metadata | {"query": queries[trigger["name"]]}
    elif get_text(metadata, "query"):
        target = canary.spec.target_ref.name
        metadata["query"] = re.sub(f"{re.escape(target)}(-canary)?", primary_name(target), metadata["query"])
