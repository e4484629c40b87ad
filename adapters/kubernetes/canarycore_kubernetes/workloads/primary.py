"""The primary copy of a Deployment or a DaemonSet.

    primary_copy(target, copying)                        the new primary of an initialised rollout
    promoted_copy(primary, target, copying, names)       the primary with the target's revision
    restored_copy(primary, template, ...)                the primary with a saved revision
    returned_target(target, primary, pods, originals)    the target with the primary's revision
    with_past_template(target, template)                 the target with an earlier template of its own

A copy differs from its target in its name and owner, the value of the selector label (`podinfo-primary`), also in the
selectors by which its pods join or avoid each other, and the configs that it reads. One annotation names its revision.
Another, on its pods, changes with the revision, so that changed configs restart them. A promotion changes the fields
that come from the target. It leaves those that others have set since: labels, annotations, an autoscaler's replicas.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from attrs import field, frozen

from canarycore.errors import Refused
from canarycore.foreign import get_mapping, get_texts
from canarycore_kubernetes.api.kinds import DAEMON_SET, DEPLOYMENT
from canarycore_kubernetes.api.metadata import (
    CONTENTS,
    KEPT_REVISIONS,
    REVISION,
    drop_gitops_keys,
    get_annotation,
    has_prefix,
    is_gitops_key,
    primary_name,
    select_by_prefix,
)
from canarycore_kubernetes.selection.selectors import (
    SelectorMismatchError,
    differing_labels,
    existing_selectors,
    find_selector_label,
    new_selectors,
    tells_apart,
    workload_selector,
)
from canarycore_kubernetes.workloads.configs import use_copies
from canarycore_kubernetes.workloads.revision import FLAGGER_ID, SCALED_TO_ZERO, pod_selectors, rename_in_selector
from canarycore_runtime.mesh import LAST_APPLIED
from canarycore_runtime.workloads.written_size import ANNOTATION, WrittenSize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from canarycore_runtime.mesh import Json, PodSelectors

SELECTOR_LABELS = ("app", "name", "app.kubernetes.io/name")
"""Labels that can tell the primary's pods from the target's. The first one in a selector counts."""

_PARTS = {
    DEPLOYMENT.kind: ("progressDeadlineSeconds", "minReadySeconds", "revisionHistoryLimit", "strategy"),
    DAEMON_SET.kind: ("minReadySeconds", "revisionHistoryLimit", "updateStrategy"),
}
"""The parts of a spec that are copied, besides its template and its replicas."""

_BOOKKEEPING = (
    "deployment.kubernetes.io/revision",
    "deprecated.daemonset.template.generation",
    LAST_APPLIED,
    ANNOTATION,
)
"""Annotations about the target itself: those in which Kubernetes counts its revisions, the file of its owner, and the
size of a step."""


@frozen(kw_only=True)
class Copying:
    """The parameters of a copy."""

    owner: Json
    """The owner reference to the Canary."""

    revision: str
    """The revision of the copy."""

    contents: tuple[str, ...] = ()
    """The names and checksums of the configs of this revision."""

    labels: tuple[str, ...] = SELECTOR_LABELS
    """The selector labels."""

    selector: Mapping[str, str] | None = None
    """The selector of the existing primary, which is immutable; None for a new primary."""

    prefixes: tuple[str, ...] = ()
    """Prefixes of the labels that the copy gets from the target."""

    copies: Mapping[tuple[str, str], str] = field(factory=dict)
    """The names of the copies that it reads, by the kind and the name of the config."""

    keeps_replicas: bool = False
    """Whether a promotion leaves the replicas: an autoscaler sets them, or a split by numbers of pods."""


def selectors_of(target: Json, copying: Copying) -> PodSelectors:
    """Return the selectors of a target and of its primary.

    Raise SelectorMismatchError where those of an existing primary do not fit, and Refused where a new primary can have
    none.
    """
    labels, metadata, matched = copying.labels, target["metadata"], workload_selector(target)
    if copying.selector is not None:
        if not tells_apart(matched, copying.selector):
            raise SelectorMismatchError(
                target["kind"], metadata["name"], metadata["namespace"], matched, copying.selector
            )
        return existing_selectors(matched, copying.selector, labels)
    label = find_selector_label(matched, labels)
    if label:
        return new_selectors(matched, label)
    raise Refused(
        f"{target['kind'].lower()} {metadata['name']}.{metadata['namespace']} spec.selector.matchLabels must contain "
        f"one of [{' '.join(labels)}]: found {', '.join(matched) or 'none'}. Add one of them to the selector and the "
        "pods, or name a present one with --selector-labels."
    )


def primary_copy(target: Json, copying: Copying) -> Json:
    """Return a primary with the target's revision. Raise Refused where the target cannot have a primary."""
    _refuse_on_delete(target)
    metadata, spec = target["metadata"], target["spec"]
    pods = selectors_of(target, copying)
    annotations = {
        key: text for key, text in drop_gitops_keys(metadata.get("annotations")).items() if key not in _BOOKKEEPING
    }
    copy: Json = {
        "apiVersion": target["apiVersion"],
        "kind": target["kind"],
        "metadata": {
            "name": primary_name(metadata["name"]),
            "namespace": metadata["namespace"],
            "labels": select_by_prefix(metadata.get("labels"), copying.prefixes)
            | {pods.label: pods.primary[pods.label]},
            "annotations": annotations | _marks(copying.revision, copying.contents),
            "ownerReferences": [copying.owner],
        },
        "spec": {
            **{part: spec[part] for part in _PARTS[target["kind"]] if part in spec},
            "selector": {"matchLabels": dict(pods.primary)},
            "template": _template(target, copying, pods),
        },
    }
    if target["kind"] == DEPLOYMENT.kind:
        copy["spec"]["replicas"] = own_replicas(target) or 1
    return copy


def promoted_copy(primary: Json, target: Json, copying: Copying, saved: Iterable[str]) -> Json:
    """Return the primary with the target's revision. saved: the saved revisions, newest first."""
    promoted, fresh = deepcopy(primary), primary_copy(target, copying)
    metadata, spec = promoted["metadata"], promoted["spec"]
    others = {key: text for key, text in metadata.get("labels", {}).items() if not has_prefix(key, copying.prefixes)}
    metadata["labels"] = others | fresh["metadata"]["labels"]
    metadata["annotations"] = {
        **_unmarked(primary),
        **fresh["metadata"]["annotations"],
        KEPT_REVISIONS: ",".join(saved),
    }
    for part in _PARTS[target["kind"]]:
        spec[part] = fresh["spec"].get(part)
    if own_replicas(target) and not copying.keeps_replicas:
        spec["replicas"] = own_replicas(target)
    spec["template"] = fresh["spec"]["template"]
    return promoted


def own_replicas(target: Json) -> int:
    """Return the replicas that a target's owner wants, whatever size a step has given it; 0 if it is scaled to zero."""
    desired, size = target["spec"].get("replicas") or 0, WrittenSize.parse(get_annotation(target, ANNOTATION))
    return desired if size is None else size.find_own(desired)


def restored_copy(
    primary: Json, template: Json, revision: str, contents: Iterable[str], copies: Mapping[tuple[str, str], str]
) -> Json:
    """Return the primary with the saved pod template of an earlier revision.

    copies: the present names of the copies that the template reads, by their kind and their name at that time.
    """
    template = deepcopy(template)
    use_copies(get_mapping(template, "spec"), copies)
    return marked_copy(primary, revision, contents) | {"spec": primary["spec"] | {"template": template}}


def returned_target(target: Json, primary: Json, pods: PodSelectors, originals: Mapping[tuple[str, str], str]) -> Json:
    """Return the target with the pod template of its primary, whose differences are undone.

    originals: the name of the config for each copy that the primary reads, by the kind and the name of the copy.
    """
    template, own = deepcopy(primary["spec"]["template"]), target["spec"]["template"]
    metadata, spec, name = template.setdefault("metadata", {}), template["spec"], target["metadata"]["name"]
    annotations = {key: text for key, text in get_texts(metadata, "annotations").items() if key != FLAGGER_ID}
    metadata["labels"] = get_texts(metadata, "labels") | dict(pods.canary) | _gitops_keys(own, "labels")
    metadata["annotations"] = annotations | _gitops_keys(own, "annotations")
    if not metadata["annotations"]:
        del metadata["annotations"]  # the preview would show them as a change
    use_copies(spec, originals)
    for selector in pod_selectors(spec, target["metadata"]["namespace"]):
        for label in differing_labels(pods.canary, pods.primary):
            rename_in_selector(selector, label, pods.primary[label], pods.canary[label])
            rename_in_selector(selector, label, primary_name(name), name)  # as Flagger's copies have it
    if SCALED_TO_ZERO in get_mapping(own, "spec", "nodeSelector"):
        spec["nodeSelector"] = get_mapping(spec, "nodeSelector") | {SCALED_TO_ZERO: "true"}
    return target | {"spec": target["spec"] | {"template": template}}


def with_past_template(target: Json, template: Json) -> Json:
    """Return the target with an earlier pod template of its own; the keys of GitOps tools and the scale stay."""
    template, own = deepcopy(template), target["spec"]["template"]
    metadata, spec = template.setdefault("metadata", {}), template["spec"]
    for part in ("labels", "annotations"):
        kept = drop_gitops_keys(metadata.get(part)) | _gitops_keys(own, part)
        if kept or part in get_mapping(own, "metadata"):
            metadata[part] = kept
        else:
            metadata.pop(part, None)
    get_mapping(spec, "nodeSelector").pop(SCALED_TO_ZERO, None)
    if SCALED_TO_ZERO in get_mapping(own, "spec", "nodeSelector"):
        spec["nodeSelector"] = get_mapping(spec, "nodeSelector") | {SCALED_TO_ZERO: "true"}
    return target | {"spec": target["spec"] | {"template": template}}


def _gitops_keys(template: Json, part: str) -> dict[str, str]:
    return {key: text for key, text in get_texts(template, "metadata", part).items() if is_gitops_key(key)}


def marked_copy(primary: Json, revision: str, contents: Iterable[str]) -> Json:
    """Return the primary with annotations that name this revision and its configs."""
    annotations = _unmarked(primary) | _marks(revision, contents)
    return primary | {"metadata": primary["metadata"] | {"annotations": annotations}}


def _marks(revision: str, contents: Iterable[str]) -> Json:
    marks = {REVISION: revision, CONTENTS: ",".join(contents)}
    return {key: text for key, text in marks.items() if text}


def _unmarked(primary: Json) -> Json:
    annotations = primary["metadata"].get("annotations") or {}
    return {key: text for key, text in annotations.items() if key not in (REVISION, CONTENTS)}


def _template(target: Json, copying: Copying, pods: PodSelectors) -> Json:
    template: Json = deepcopy(target["spec"]["template"])
    metadata, spec = template.setdefault("metadata", {}), template["spec"]
    metadata["labels"] = drop_gitops_keys(metadata.get("labels")) | dict(pods.primary)
    metadata["annotations"] = drop_gitops_keys(metadata.get("annotations")) | {FLAGGER_ID: _id_of(copying.revision)}
    use_copies(spec, copying.copies)
    for selector in pod_selectors(spec, target["metadata"]["namespace"]):
        for label in differing_labels(pods.canary, pods.primary):
            rename_in_selector(selector, label, pods.canary[label], pods.primary[label])
    if target["kind"] == DAEMON_SET.kind:
        (spec.get("nodeSelector") or {}).pop(SCALED_TO_ZERO, None)
        if not spec.get("nodeSelector"):
            spec.pop("nodeSelector", None)
    return template


def _id_of(revision: str) -> str:
    """Return the same id for the same revision, so that a repeated promotion restarts no pods."""
    return str(uuid5(NAMESPACE_URL, f"canarycore:{revision}"))


def _refuse_on_delete(target: Json) -> None:
    strategy = (target["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
    if strategy != "RollingUpdate":
        name = f"{target['metadata']['name']}.{target['metadata']['namespace']}"
        raise Refused(
            f"daemonset {name} must have RollingUpdate strategy but have {strategy}, "
            "which replaces no pods. Set spec.updateStrategy.type to RollingUpdate."
        )
