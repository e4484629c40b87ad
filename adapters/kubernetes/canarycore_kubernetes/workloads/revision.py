"""The revision of a workload: a hash of what its owner wrote.

    shape, configs = fingerprint(template)            what a cache keeps of a pod template
    revision = identity(shape, names)                 the hash, with the contents of the configs that it names

Theory of operation. The API server fills a template with defaults, more with each release, and a hash over them would
start canaries when a cluster is upgraded: so known defaults are taken away first. The content of ConfigMaps and Secrets
is not part of the template, and arrives by other watches: so the template is reduced once, to a hash in which each
config stands as a number, and the configs' names and checksums are put in where the revision is asked for.

A primary copy differs from its target in a few names: its selector label, its config copies, the pods that it keeps
away from. `fingerprint` of a primary takes these back, so that a primary that somebody else made (Flagger) has the same
revision as the target that it was copied from, though nobody wrote it down.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from canarycore.foreign import get_items, get_list, get_mapping, get_text
from canarycore_kubernetes.api.metadata import GITOPS_DOMAIN, PRIMARY_SUFFIX
from canarycore_kubernetes.workloads.configs import config_spots, used_configs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from canarycore_kubernetes.workloads.configs import ConfigFacts, ConfigUse
    from canarycore_runtime.mesh import Json

FLAGGER_ID = "flagger-id"
"""The annotation of a primary's pods that makes a promotion a rolling update even where only configs changed."""

SCALED_TO_ZERO = "flagger.app/scale-to-zero"
"""The node selector that keeps a DaemonSet from running anywhere."""

_LENGTH = 16


@frozen
class Fingerprint:
    """A pod template, reduced. `configs` in the order in which the template first names them."""

    shape: str
    configs: tuple[ConfigUse, ...] = ()


def fingerprint(template: Json, *, labels: Iterable[str] = (), name: str = "", tracked: bool = True) -> Fingerprint:
    """The reduction of a pod template.

    name: of the primary copy whose template this is; empty for a target. labels: the selector labels, of which a copy
    changes the values. tracked: whether configs belong to the revision; else their names are text as any other.
    """
    written = without_defaults(template)
    metadata, spec = get_mapping(written, "metadata"), get_mapping(written, "spec")
    get_mapping(spec, "nodeSelector").pop(SCALED_TO_ZERO, None)
    annotations, pod_labels = get_mapping(metadata, "annotations"), get_mapping(metadata, "labels")
    for key in [key for key in annotations if key == FLAGGER_ID or GITOPS_DOMAIN in key]:
        del annotations[key]
    for key in [key for key in pod_labels if GITOPS_DOMAIN in key]:
        del pod_labels[key]
    if name.endswith(PRIMARY_SUFFIX):
        _take_back(pod_labels, spec, set(labels), name)
    configs = used_configs(config_spots(spec)) if tracked else ()
    numbers = {(use.kind, use.name): number for number, use in enumerate(configs)}
    for spot in tuple(config_spots(spec)) if tracked else ():
        spot.holder[spot.key] = numbers[spot.kind, spot.use.name]
    return Fingerprint(digest(_pruned(written)), configs)


def identity(shape: str, contents: Iterable[str]) -> str:
    """The revision: a shape, and for each config that it has what it is called and holds."""
    return _hash("\n".join((shape, *contents)))  # no name of an object has a line break


def contents(configs: Iterable[ConfigUse], held: Mapping[ConfigUse, ConfigFacts | None], *, text: bool) -> list[str]:
    """What a target's configs are called and hold; those that it shares with its primary are names only.

    text: what Flagger looks at of them, rather than all.
    """
    return [_content(str(use), held[use], text=text) for use in configs]


def copied_contents(
    configs: Iterable[ConfigUse], held: Mapping[ConfigUse, ConfigFacts | None], *, text: bool
) -> list[str]:
    """The same of a primary, of which the configs are copies, in the originals' names."""
    return [
        _content(str(use).removesuffix(PRIMARY_SUFFIX), facts, text=text) if _is_copy(use, facts) else str(use)
        for use, facts in ((use, held[use]) for use in configs)
    ]


def _is_copy(use: ConfigUse, facts: ConfigFacts | None) -> bool:
    """Tell whether a config is a copy that was made for a primary."""
    return use.name.endswith(PRIMARY_SUFFIX) and facts is not None and bool(facts.ownership.canaries)


def _content(name: str, facts: ConfigFacts | None, *, text: bool) -> str:
    if facts is None or facts.shared:
        return name
    return f"{name}:{facts.text if text else facts.checksum}"


def digest(value: object) -> str:
    """A hash over canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return _hash(canonical)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_LENGTH]


# ------------------------------------------------------------------------------------------------- what a copy changed


def _take_back(pod_labels: Json, spec: Json, labels: set[str], name: str) -> None:
    """Undo what a copy of this name has of its own."""
    for label in labels & pod_labels.keys():
        pod_labels[label] = str(pod_labels[label]).removesuffix(PRIMARY_SUFFIX)
    for selector in pod_selectors(spec):
        rename_in_selector(selector, labels, name, name.removesuffix(PRIMARY_SUFFIX))


def pod_selectors(spec: Json) -> Iterable[Json]:
    """The label selectors of topology spread and pod anti-affinity: which pods the pods of this spec keep away from."""
    for constraint in get_items(spec, "topologySpreadConstraints"):
        yield get_mapping(constraint, "labelSelector")
    apart = get_mapping(spec, "affinity", "podAntiAffinity")
    for weighted in get_items(apart, "preferredDuringSchedulingIgnoredDuringExecution"):
        yield get_mapping(weighted, "podAffinityTerm", "labelSelector")
    for term in get_items(apart, "requiredDuringSchedulingIgnoredDuringExecution"):
        yield get_mapping(term, "labelSelector")


def rename_in_selector(selector: Json, labels: Iterable[str], old: str, new: str) -> None:
    """Where a selector asks for pods called `old` by one of `labels`, let it ask for `new`."""
    matched = get_mapping(selector, "matchLabels")
    for label in labels:
        if matched.get(label) == old:
            matched[label] = new
    for expression in get_items(selector, "matchExpressions"):
        values = get_list(expression, "values")
        if get_text(expression, "key") in labels and old in values:
            values[values.index(old)] = new


# --------------------------------------------------------------------------------------------- what the API server adds


@frozen
class _Section:
    """A part of an object: values that the server fills in, and parts of parts (of each item, if it is a list)."""

    defaults: Mapping[str, Any] = field(factory=dict)
    parts: Mapping[str, _Section] = field(factory=dict)


def without_defaults(template: Json) -> Json:
    """A pod template without what the API server fills in; a copy that may be changed."""
    written: Json = _written(template, _TEMPLATE)
    return written


def _written(value: object, section: _Section) -> Any:
    if isinstance(value, list):
        return [_written(item, section) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _written(item, section.parts.get(key, _PLAIN)) for key, item in value.items()}
    for key, default in section.defaults.items():
        if key in kept and kept[key] == (default(value) if callable(default) else default):
            del kept[key]
    return kept


_MEANT = ("labelSelector", "namespaceSelector")
"""Empty, they match everything; absent, nothing."""


def _pruned(value: object) -> object:
    """Without what is empty, which the server writes, or leaves out, as it likes."""
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    if not isinstance(value, dict):
        return value
    pruned = {name: _pruned(item) for name, item in value.items()}
    return {name: item for name, item in pruned.items() if name in _MEANT or item not in (None, "", [], {})}


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
