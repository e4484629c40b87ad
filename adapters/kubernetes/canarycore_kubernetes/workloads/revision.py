"""The revision of a workload: a hash of its owner's pod template and configs.

    fingerprint(template)          the shape and the configs of a pod template, which a cache keeps
    identity(shape, contents)      the revision: the hash of the shape and of the contents of the configs

Theory of operation. The API server fills defaults into a template, more with each release. A hash over them would start
canaries when a cluster is upgraded, so known defaults are removed first. The contents of ConfigMaps and Secrets are not
part of the template and arrive by other watches. So a template is reduced once, to a hash in which a number replaces
each config's name, and `identity` adds the names and checksums of the configs later.

A primary differs from its target in a few names: its selector label, its copies of configs, and the pods that it keeps
away from. `fingerprint` undoes these differences. So a primary that Flagger copied has the revision of its target,
although no annotation names it.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from canarycore.foreign import get_items, get_list, get_mapping, get_text
from canarycore_kubernetes.api.metadata import (
    PRIMARY_SUFFIX,
    REVISION_LENGTH,
    is_gitops_key,
    primary_label,
    target_label,
)
from canarycore_kubernetes.workloads.configs import config_places, used_configs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from canarycore_kubernetes.workloads.configs import ConfigFacts, ConfigUse
    from canarycore_runtime.mesh import Json

FLAGGER_ID = "flagger-id"
"""The annotation of a primary's pods that makes a promotion a rolling update even if only configs changed."""

SCALED_TO_ZERO = "flagger.app/scale-to-zero"
"""The node selector that scales a DaemonSet to zero: no node has this label."""


@frozen
class Fingerprint:
    """A reduced pod template."""

    shape: str
    """A hash in which numbers replace the names of the configs."""

    configs: tuple[ConfigUse, ...] = ()
    """The configs, in the order in which the template first names them."""


def fingerprint(
    template: Json,
    *,
    labels: Iterable[str] = (),
    name: str = "",
    selected: tuple[str, str] = ("", ""),
    tracked: bool = True,
) -> Fingerprint:
    """Reduce a pod template.

    labels: the selector labels, whose values a primary changes. name: the name of the workload. selected: the label
    that selects its pods, and its value. tracked: whether configs belong to the revision; if not, their names are text
    like any other.
    """
    written = without_defaults(template)
    metadata, spec = get_mapping(written, "metadata"), get_mapping(written, "spec")
    get_mapping(spec, "nodeSelector").pop(SCALED_TO_ZERO, None)
    annotations, pod_labels = get_mapping(metadata, "annotations"), get_mapping(metadata, "labels")
    for key in [key for key in annotations if key == FLAGGER_ID or is_gitops_key(key)]:
        del annotations[key]
    for key in [key for key in pod_labels if is_gitops_key(key)]:
        del pod_labels[key]
    if name.endswith(PRIMARY_SUFFIX):
        _undo_copy(pod_labels, spec, set(labels), name.removesuffix(PRIMARY_SUFFIX), selected)
    else:
        _shorten_labels(pod_labels, spec, set(labels), name, selected)
    configs = used_configs(config_places(spec)) if tracked else ()
    numbers = {(use.kind, use.name): number for number, use in enumerate(configs)}
    for place in tuple(config_places(spec)) if tracked else ():
        place.section[place.key] = numbers[place.kind, place.use.name]
    return Fingerprint(digest(_pruned(written)), configs)


def identity(shape: str, contents: Iterable[str]) -> str:
    """Return the revision: the hash of a shape, and of the names and checksums of its configs."""
    return _hash("\n".join((shape, *contents)))  # no name of an object has a line break


def contents(configs: Iterable[ConfigUse], facts: Mapping[ConfigUse, ConfigFacts | None], *, text: bool) -> list[str]:
    """Return the names and checksums of a target's configs; the names alone of those that it shares with its primary.

    text: whether checksums leave out binary data, as Flagger's do.
    """
    return [_content(str(use), facts[use], text=text) for use in configs]


def copied_contents(
    configs: Iterable[ConfigUse], facts: Mapping[ConfigUse, ConfigFacts | None], *, text: bool
) -> list[str]:
    """Return the names and checksums of a primary's configs, each copy under its original's name.

    text: whether checksums leave out binary data, as Flagger's do.
    """
    return [
        _content(str(use).removesuffix(PRIMARY_SUFFIX), config, text=text) if _is_copy(use, config) else str(use)
        for use, config in ((use, facts[use]) for use in configs)
    ]


def _is_copy(use: ConfigUse, facts: ConfigFacts | None) -> bool:
    """Check whether a config is a copy for a primary."""
    return use.name.endswith(PRIMARY_SUFFIX) and facts is not None and bool(facts.ownership.canaries)


def _content(name: str, facts: ConfigFacts | None, *, text: bool) -> str:
    if facts is None or facts.is_shared:
        return name
    return f"{name}:{facts.text if text else facts.checksum}"


def digest(value: object) -> str:
    """Return a hash over canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return _hash(canonical)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:REVISION_LENGTH]


# ------------------------------------------------------------------------------------------------------ undoing a copy


def _undo_copy(pod_labels: Json, spec: Json, labels: set[str], name: str, selected: tuple[str, str]) -> None:
    """Undo the changes that a primary has against its target. name: the target's name.

    In selectors Flagger's copies change the Deployment's name, under any selector label; ours change the pods' label.
    """
    for label in labels & pod_labels.keys():
        pod_labels[label] = str(pod_labels[label]).removesuffix(PRIMARY_SUFFIX)
    for label, value in (selected, *((label, primary_label(name)) for label in labels)):
        for selector in pod_selectors(spec):
            rename_in_selector(selector, label, value, value.removesuffix(PRIMARY_SUFFIX))


def _shorten_labels(pod_labels: Json, spec: Json, labels: set[str], name: str, selected: tuple[str, str]) -> None:
    """Replace a target's labels that are too long for its primary by the part that both have."""
    for label in labels & pod_labels.keys():
        if isinstance(pod_labels[label], str):
            pod_labels[label] = target_label(pod_labels[label])
    for label, value in (selected, *((label, name) for label in labels)):
        if target_label(value) != value:
            for selector in pod_selectors(spec):
                rename_in_selector(selector, label, value, target_label(value))


def pod_selectors(spec: Json, namespace: str = "") -> Iterable[Json]:
    """Yield the label selectors of topology spread and of pod affinity: the pods that these pods join or avoid.

    namespace: leave out the terms that select only pods of other namespaces than this one.
    """
    for constraint in get_items(spec, "topologySpreadConstraints"):
        yield get_mapping(constraint, "labelSelector")
    for side in ("podAffinity", "podAntiAffinity"):
        preferred = get_items(spec, "affinity", side, "preferredDuringSchedulingIgnoredDuringExecution")
        required = get_items(spec, "affinity", side, "requiredDuringSchedulingIgnoredDuringExecution")
        for term in (*(get_mapping(weighted, "podAffinityTerm") for weighted in preferred), *required):
            namespaces = get_list(term, "namespaces")
            if not (namespace and namespaces) or namespace in namespaces or "namespaceSelector" in term:
                yield get_mapping(term, "labelSelector")


def rename_in_selector(selector: Json, label: str, old: str, new: str) -> None:
    """Replace the value `old` of a label in a selector by `new`."""
    matched = get_mapping(selector, "matchLabels")
    if matched.get(label) == old:
        matched[label] = new
    for expression in get_items(selector, "matchExpressions"):
        if get_text(expression, "key") == label and "values" in expression:
            expression["values"] = [new if value == old else value for value in get_list(expression, "values")]


# ------------------------------------------------------------------------------------------- the API server's defaults


@frozen
class _Section:
    """The defaults of one part of an object, or of each item of a list."""

    defaults: Mapping[str, Any] = field(factory=dict)
    """The values that the server fills in, by the field's name; a function gets the section."""

    parts: Mapping[str, _Section] = field(factory=dict)
    """The sections within this one."""


def without_defaults(template: Json) -> Json:
    """Return a copy of a pod template without the API server's defaults."""
    written: Json = _without_defaults(template, _TEMPLATE)
    return written


def _without_defaults(value: object, section: _Section) -> Any:
    if isinstance(value, list):
        return [_without_defaults(item, section) for item in value]
    if not isinstance(value, dict):
        return value
    fields = {key: _without_defaults(item, section.parts.get(key, _PLAIN)) for key, item in value.items()}
    for key, default in section.defaults.items():
        if key in fields and fields[key] == (default(value) if callable(default) else default):
            del fields[key]
    return fields


_SELECTORS = ("labelSelector", "namespaceSelector")
"""Fields that match everything when empty, and nothing when absent."""


def _pruned(value: object) -> object:
    """Return a value without empty fields, which the server may write or leave out."""
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    if not isinstance(value, dict):
        return value
    pruned = {name: _pruned(item) for name, item in value.items()}
    return {name: item for name, item in pruned.items() if name in _SELECTORS or item not in (None, "", [], {})}


def _pull_policy(container: Json) -> str:
    name = str(container.get("image", "")).rpartition("/")[2]
    tagged = "@" in name or (":" in name and not name.endswith(":latest"))
    return "IfNotPresent" if tagged else "Always"


_PLAIN = _Section()
_HTTP_GET = _Section({"path": "/", "scheme": "HTTP"})
_HANDLER = {"httpGet": _HTTP_GET}
_PROBE = _Section(
    {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
    _HANDLER,
)
_FIELD = _Section({}, {"fieldRef": _Section({"apiVersion": "v1"})})
_FILES = _Section({"defaultMode": 0o644}, {"items": _FIELD})
_CONTAINER = _Section(
    {
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": _pull_policy,
    },
    {
        "ports": _Section({"protocol": "TCP"}),
        "env": _Section({}, {"valueFrom": _FIELD}),
        "livenessProbe": _PROBE,
        "readinessProbe": _PROBE,
        "startupProbe": _PROBE,
        "lifecycle": _Section({}, {"postStart": _Section({}, _HANDLER), "preStop": _Section({}, _HANDLER)}),
        "securityContext": _Section({"procMount": "Default"}),
    },
)
_CLAIM = _Section({}, {"spec": _Section({"volumeMode": "Filesystem"})})
_PROJECTED = _Section(
    {},
    {
        "serviceAccountToken": _Section({"expirationSeconds": 3600}),
        "downwardAPI": _Section({}, {"items": _FIELD}),
    },
)
_VOLUME = _Section(
    {},
    {
        "configMap": _FILES,
        "secret": _FILES,
        "downwardAPI": _FILES,
        "projected": _Section({"defaultMode": 0o644}, {"sources": _PROJECTED}),
        "ephemeral": _Section({}, {"volumeClaimTemplate": _CLAIM}),
        "iscsi": _Section({"iscsiInterface": "default"}),
        "rbd": _Section({"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"}),
        "azureDisk": _Section({"cachingMode": "ReadWrite", "fsType": "ext4", "kind": "Shared", "readOnly": False}),
        "scaleIO": _Section({"storageMode": "ThinProvisioned", "fsType": "xfs"}),
    },
)
_TEMPLATE = _Section(
    {},
    {
        "spec": _Section(
            {
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 30,
                "dnsPolicy": "ClusterFirst",
                "schedulerName": "default-scheduler",
                "serviceAccount": lambda spec: spec.get("serviceAccountName"),
            },
            {"containers": _CONTAINER, "initContainers": _CONTAINER, "volumes": _VOLUME},
        )
    },
)
"""The defaults of a pod template (Kubernetes: pkg/apis/core/v1/defaults.go)."""
