"""Autoscalers: the pause of the target's, and its copy for the primary.

A HorizontalPodAutoscaler leaves a workload at zero alone and needs no pause. A ScaledObject of KEDA does not, so an
annotation of KEDA's pauses it at zero. The primary's copy follows its original only when a revision is promoted:
limits are part of the rollout.
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
from canarycore_runtime.mesh import LAST_APPLIED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from canarycore.manifest import Canary
    from canarycore_runtime.mesh import Json

PAUSED = "autoscaling.keda.sh/paused-replicas"
"""KEDA's annotation that fixes a workload at a number of replicas."""

PAUSE: Json = {"metadata": {"annotations": {PAUSED: "0"}}}
RESUME: Json = {"metadata": {"annotations": {PAUSED: None}}}
"""Merge patches of a ScaledObject."""


@frozen
class ScalerFacts:
    """The projection of an autoscaler that a cache keeps."""

    minimum: int = 1
    """The least replicas of the workload while it runs."""

    paused: bool | None = None
    """Whether it is paused at zero; None for a kind that needs no pause."""

    scales: tuple[str, str] = ("", "")
    """The kind and the name of the workload; a part is empty where the autoscaler does not name it."""

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
    """Return the kind and the name of the workload that an autoscaler scales."""
    target = get_mapping(body, "spec", "scaleTargetRef")
    return get_text(target, "kind"), get_text(target, "name")


SCALERS: dict[str, View[ScalerFacts]] = {
    HPA.kind: View(kind=HPA, project=_hpa_facts),
    SCALED_OBJECT.kind: View(kind=SCALED_OBJECT, project=_scaled_object_facts),
}
"""The views of autoscalers, by the kind in `spec.autoscalerRef`."""


def primary_scaler(scaler: Json, canary: Canary, owner: Json) -> Json:
    """Return the copy of the target's autoscaler for the primary, with the primary's own limits and queries."""
    reference = canary.spec.autoscaler_ref
    assert reference is not None, "a found autoscaler has a reference"
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


def with_scale(scaler: Json, copy: Json) -> Json:
    """Return the primary's autoscaler with the spec of a new copy; the metadata of others stay."""
    return deepcopy(scaler) | {"spec": copy["spec"]}


def _complete_hpa(copy: Json, _: Json, canary: Canary) -> None:
    target = canary.spec.target_ref
    for metric in get_items(copy["spec"], "metrics"):
        described = get_mapping(metric, "object", "describedObject")
        if (get_text(described, "kind"), get_text(described, "name")) == (target.kind, target.name):
            described["name"] = primary_name(target.name)
    _limit(copy["spec"], canary, "minReplicas", "maxReplicas")


def _complete_scaled_object(copy: Json, scaler: Json, canary: Canary) -> None:
    annotations = drop_gitops_keys(scaler["metadata"].get("annotations"))
    copy["metadata"]["annotations"] = {
        key: text for key, text in annotations.items() if key not in (PAUSED, LAST_APPLIED)
    }
    spec = copy["spec"]
    _limit(spec, canary, "minReplicaCount", "maxReplicaCount")
    advanced = spec["advanced"] = get_mapping(spec, "advanced")
    hpa = advanced["horizontalPodAutoscalerConfig"] = get_mapping(advanced, "horizontalPodAutoscalerConfig")
    if get_text(hpa, "name"):
        hpa["name"] = primary_name(hpa["name"])
    for trigger in get_items(spec, "triggers"):
        _query_primary(trigger, canary)


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


def _query_primary(trigger: Json, canary: Canary) -> None:
    """Give a trigger the primary's query; without one, put the primary's names into the trigger's own query."""
    reference, metadata = canary.spec.autoscaler_ref, get_mapping(trigger, "metadata")
    queries = dict(reference.primary_scaler_queries) if reference else {}
    if queries:
        if get_text(trigger, "name") in queries:
            trigger["metadata"] = metadata | {"query": queries[trigger["name"]]}
    elif get_text(metadata, "query"):
        target = canary.spec.target_ref.name
        apex = (canary.spec.service.name if canary.spec.service else "") or target
        names = {f"{apex}-canary": primary_name(apex)}
        names |= {name: primary_name(target) for name in (target, f"{target}-canary")}
        metadata["query"] = rename_in_query(metadata["query"], names)


# the names in a query -----------------------------------------------------------------------------------------------

SHARED = re.compile(r"namespace|cluster|container|image|host|path|uri|url", re.IGNORECASE)
"""Labels with the same value for a primary and its target: their names have one of these words."""

_QUOTED = re.compile("|".join(rf"{mark}(?:[^{mark}\\]|\\.)*(?:{mark}|\Z|\\\Z)" for mark in "\"'`"), re.DOTALL)
_LABEL = re.compile(r"(?:^|[^\w.])([A-Za-z_][\w.]*+)\W*+$")
_TAG = re.compile(r"(?<![\w.:/-])([A-Za-z_][\w.-]*+):([\w.-]++)(?![\w.:/-])")

_LONGEST_LABEL = 256
"""Characters before a value in which its label stands."""


def rename_in_query(query: str, names: Mapping[str, str]) -> str:
    """Return a query with other names at the known places. names: the new name of each name.

    A query is text of another system, so the known places are few: a quoted value (PromQL, NRQL, SQL), and a tag of
    Datadog (`app:web`). The value names the app as a whole, or begins a pattern of its pods' names (`web-[0-9a-z]+`).
    All other text stays: names of metrics, paths and hosts, and the values of labels that both sides share.
    """
    rename = _Renaming(names)
    parts, end = [], 0
    for quoted in _QUOTED.finditer(query):
        parts.append(_TAG.sub(rename.tag, query[end : quoted.start()]))
        end = quoted.end()
        label = _LABEL.search(query[max(0, quoted.start() - _LONGEST_LABEL) : quoted.start()])
        text = quoted.group()
        is_known = text[-1] == text[0] and not (label and SHARED.search(label[1]))
        parts.append(text[0] + rename.value(text[1:-1]) + text[-1] if len(text) > 1 and is_known else text)
    return "".join([*parts, _TAG.sub(rename.tag, query[end:])])


class _Renaming:
    """The replacement of names in values."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        # at the start of the value or of an alternative; at its end, or where a pattern goes on
        self._place = re.compile(
            rf"(?:(?<=[\^(|])|(?<!.))(?:{either})(?=$|[)|(\[*%]|\.[*+]|-[\[(*%]|-\.[*+]|-\\)", re.DOTALL
        )

    def value(self, text: str) -> str:
        return self._place.sub(lambda match: self._names[match.group()], text)

    def tag(self, match: re.Match[str]) -> str:
        label, value = match.groups()
        return match.group() if SHARED.search(label) else f"{label}:{self._names.get(value, value)}"
