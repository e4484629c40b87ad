"""The primary copy of a Deployment or a DaemonSet.

    copy = primary_copy(target, copying)                        made when the rollout is initialised
    wanted = promoted(found, target, copying)                   the same copy with what the target carries now
    wanted = given_back(found, kept)                            the same copy with what it carried before

What a copy has of its own: its name and owner, the value of the selector label (`podinfo-primary`), the configs that it
reads, the pods that it keeps away from, and two annotations: which revision it carries, and an id on its pods that
changes with the revision, so that changed configs restart them. A promotion changes what comes from the target and
leaves what others have put on the copy since: their labels, their annotations, an autoscaler's replicas.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from attrs import frozen

from canarycore.errors import Refused
from canarycore_kubernetes.api.kinds import DAEMON_SET, DEPLOYMENT
from canarycore_kubernetes.api.metadata import (
    CONTENTS,
    KEPT_REVISIONS,
    REVISION,
    drop_gitops_keys,
    has_prefix,
    primary_name,
    select_by_prefix,
)
from canarycore_kubernetes.workloads.configs import use_copies
from canarycore_kubernetes.workloads.revision import FLAGGER_ID, SCALED_TO_ZERO, pod_selectors, rename_in_selector

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from canarycore_runtime.mesh import Json

SELECTOR_LABELS = ("app", "name", "app.kubernetes.io/name")
"""Labels that may tell the primary's pods from the target's, the first that a selector has."""

_PARTS = {
    DEPLOYMENT.kind: ("progressDeadlineSeconds", "minReadySeconds", "revisionHistoryLimit", "strategy"),
    DAEMON_SET.kind: ("minReadySeconds", "revisionHistoryLimit", "updateStrategy"),
}
"""What is copied of a spec besides its template and its replicas."""

_CLUSTERS_OWN = ("deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation")
"""Annotations that Kubernetes counts with."""


@frozen(kw_only=True)
class Copying:
    """How a copy is made.

    owner: the reference to the Canary. revision: what the copy will carry, and contents what its configs hold. labels:
    the selector labels. prefixes: of labels that the copy gets too. copied: the configs (kind, name) of which it reads
    copies. autoscaled: whether the replicas are an autoscaler's.
    """

    owner: Json
    revision: str
    contents: tuple[str, ...] = ()
    labels: tuple[str, ...] = SELECTOR_LABELS
    prefixes: tuple[str, ...] = ()
    copied: Collection[tuple[str, str]] = ()
    autoscaled: bool = False


def selector_label(workload: Json, labels: Collection[str]) -> tuple[str, str]:
    """The label by which a workload's pods are selected, and its value. Raises Refused if it is none of `labels`."""
    matched = workload["spec"].get("selector", {}).get("matchLabels") or {}
    for label in labels:
        if label in matched:
            return label, str(matched[label])
    metadata = workload["metadata"]
    raise Refused(
        f"{workload['kind'].lower()} {metadata['name']}.{metadata['namespace']} spec.selector.matchLabels must contain "
        f"one of [{' '.join(labels)}]: found {', '.join(matched) or 'none'}. Add one of them to the selector and the "
        "pods, or name the one that is there with --selector-labels."
    )


def primary_copy(target: Json, copying: Copying) -> Json:
    """A primary that carries what the target does. Raises Refused where the target cannot have one."""
    _refuse_on_delete(target)
    metadata, spec = target["metadata"], target["spec"]
    label, value = selector_label(target, copying.labels)
    annotations = {
        key: text for key, text in drop_gitops_keys(metadata.get("annotations")).items() if key not in _CLUSTERS_OWN
    }
    copy: Json = {
        "apiVersion": target["apiVersion"],
        "kind": target["kind"],
        "metadata": {
            "name": primary_name(metadata["name"]),
            "namespace": metadata["namespace"],
            "labels": select_by_prefix(metadata.get("labels"), copying.prefixes) | {label: primary_name(value)},
            "annotations": annotations | _carrying(copying.revision, copying.contents),
            "ownerReferences": [copying.owner],
        },
        "spec": {
            **{part: spec[part] for part in _PARTS[target["kind"]] if part in spec},
            "selector": {"matchLabels": {label: primary_name(value)}},
            "template": _template(target, copying),
        },
    }
    if target["kind"] == DEPLOYMENT.kind:
        copy["spec"]["replicas"] = spec.get("replicas") or 1
    return copy


def promoted_copy(found: Json, target: Json, copying: Copying, kept: Iterable[str]) -> Json:
    """The primary `found` with what the target carries. kept: the revisions that it can go back to, newest first."""
    wanted, fresh = deepcopy(found), primary_copy(target, copying)
    metadata, spec = wanted["metadata"], wanted["spec"]
    others = {key: text for key, text in metadata.get("labels", {}).items() if not has_prefix(key, copying.prefixes)}
    metadata["labels"] = others | fresh["metadata"]["labels"]
    metadata["annotations"] = {
        **_unmarked(found),
        **fresh["metadata"]["annotations"],
        KEPT_REVISIONS: ",".join(kept),
    }
    for part in _PARTS[target["kind"]]:
        spec[part] = fresh["spec"].get(part)
    if target["spec"].get("replicas") and not copying.autoscaled:
        spec["replicas"] = target["spec"]["replicas"]
    spec["template"] = fresh["spec"]["template"]
    return wanted


def restored_copy(found: Json, template: Json, revision: str, contents: Iterable[str]) -> Json:
    """The primary `found` with a pod template that it carried before."""
    return marked_copy(found, revision, contents) | {"spec": found["spec"] | {"template": template}}


def marked_copy(found: Json, revision: str, contents: Iterable[str]) -> Json:
    """The primary `found`, said to carry this revision."""
    annotations = _unmarked(found) | _carrying(revision, contents)
    return found | {"metadata": found["metadata"] | {"annotations": annotations}}


def _carrying(revision: str, contents: Iterable[str]) -> Json:
    told = {REVISION: revision, CONTENTS: ",".join(contents)}
    return {key: text for key, text in told.items() if text}


def _unmarked(found: Json) -> Json:
    annotations = found["metadata"].get("annotations") or {}
    return {key: text for key, text in annotations.items() if key not in (REVISION, CONTENTS)}


def _template(target: Json, copying: Copying) -> Json:
    template: Json = deepcopy(target["spec"]["template"])
    metadata, spec = template.setdefault("metadata", {}), template["spec"]
    label, value = selector_label(target, copying.labels)
    metadata["labels"] = drop_gitops_keys(metadata.get("labels")) | {label: primary_name(value)}
    metadata["annotations"] = drop_gitops_keys(metadata.get("annotations")) | {FLAGGER_ID: _id_of(copying.revision)}
    use_copies(spec, copying.copied)
    if target["kind"] == DEPLOYMENT.kind:
        name = target["metadata"]["name"]
        for selector in pod_selectors(spec):
            rename_in_selector(selector, copying.labels, name, primary_name(name))
    else:
        (spec.get("nodeSelector") or {}).pop(SCALED_TO_ZERO, None)
        if not spec.get("nodeSelector"):
            spec.pop("nodeSelector", None)
    return template


def _id_of(revision: str) -> str:
    """The same for the same revision: a promotion that is repeated restarts nothing."""
    return str(uuid5(NAMESPACE_URL, f"canarycore:{revision}"))


def _refuse_on_delete(target: Json) -> None:
    strategy = (target["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
    if strategy != "RollingUpdate":
        name = f"{target['metadata']['name']}.{target['metadata']['namespace']}"
        raise Refused(
            f"daemonset {name} must have RollingUpdate strategy but have {strategy}, "
            "which replaces no pods. Set spec.updateStrategy.type to RollingUpdate."
        )
