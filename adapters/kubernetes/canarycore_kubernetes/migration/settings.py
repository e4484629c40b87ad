"""The settings of an installed Flagger, under the names of the values of its chart.

read_deployment(body)          those of its Deployment
read_values(values, "file")    those of a values file of its chart
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from canarycore.foreign import get_integer, get_items, get_list, get_mapping, get_text, get_texts
from canarycore_kubernetes.api.metadata import drop_gitops_keys
from canarycore_kubernetes.deploy.objects import POD_ANNOTATIONS
from canarycore_kubernetes.migration.flags import FLAGS_BY_NAME, parse_flags
from canarycore_runtime.mesh import LAST_APPLIED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from canarycore_runtime.mesh import Json

PROGRAM = "flagger"
"""The name of Flagger's container, and the last part of its image's name."""

_HELM_RELEASE = "meta.helm.sh/release-name"
_BOOKKEEPING = ("deployment.kubernetes.io/", "meta.helm.sh/", "helm.sh/", "app.kubernetes.io/", "checksum/")
"""Prefixes of labels and annotations that a tool writes for itself."""

_POD = ("nodeSelector", "tolerations", "affinity")
_MESH_KUBECONFIG = "kubeconfig-service-mesh"


@frozen(kw_only=True)
class FlaggerSettings:
    """The settings of an installed Flagger."""

    source: str
    """The place of the settings: a Deployment or a file."""
    is_chart: bool = False
    """Whether these are values of the chart, whose defaults apply to the other ones."""
    namespace: str = ""
    """The namespace of Flagger; empty if unknown."""
    name: str = PROGRAM
    """The name of Flagger's Deployment."""
    release: str = ""
    """The Helm release that installed Flagger; empty if none did."""
    values: Mapping[str, Any] = field(factory=dict)
    """The settings by the path of the chart's value."""
    flags: Mapping[str, str] = field(factory=dict)
    """The flags that no value of the chart sets."""


def is_flagger(deployment: Json) -> bool:
    """Return whether a Deployment runs Flagger."""
    return _container(deployment) is not None


def _container(deployment: Json) -> Json | None:
    for container in get_items(deployment, "spec", "template", "spec", "containers"):
        image = get_text(container, "image").partition("@")[0].rpartition("/")[2].partition(":")[0]
        if PROGRAM in (image, get_text(container, "name")):
            return container
    return None


def read_deployment(body: Json, account: Json | None = None) -> FlaggerSettings:
    """Return the settings of Flagger's Deployment. account: its service account, if it is known."""
    metadata, pod = get_mapping(body, "metadata"), get_mapping(body, "spec", "template", "spec")
    container = _container(body) or {}
    command = [str(part) for name in ("command", "args") for part in get_list(container, name)]
    flags = parse_flags(command)
    values: dict[str, Any] = {
        flag.value: text == "true" if flag.is_switch else text
        for name, text in flags.items()
        if (flag := FLAGS_BY_NAME.get(name)) is not None and flag.value and name != _MESH_KUBECONFIG
    }
    if values.get("leaderElection.enabled"):
        values["leaderElection.replicaCount"] = get_integer(body, "spec", "replicas")
    values |= {name: pod.get(name) for name in _POD}
    values["podPriorityClassName"] = pod.get("priorityClassName")
    values["resources"], values["env"] = container.get("resources"), container.get("env")
    values["securityContext.context"] = container.get("securityContext")
    secrets = get_items(pod, "imagePullSecrets")
    values["image.pullSecret"] = get_text(secrets[0], "name") if secrets else ""
    values["imagePullSecrets"] = list(secrets[1:])
    template = get_mapping(body, "spec", "template", "metadata")
    selector = get_texts(body, "spec", "selector", "matchLabels")
    values["annotations"] = _own_keys(get_texts(metadata, "annotations"), {})
    values["podAnnotations"] = _own_keys(get_texts(template, "annotations"), POD_ANNOTATIONS)
    values["podLabels"] = _own_keys(get_texts(template, "labels"), selector)
    values["serviceAccount.annotations"] = _own_keys(get_texts(account, "metadata", "annotations"), {})
    values |= _volumes(pod, container, flags.get(_MESH_KUBECONFIG, ""))
    values["affinity"] = _without_own_pods(values["affinity"], selector)
    return FlaggerSettings(
        source=f"Deployment {get_text(metadata, 'namespace') or 'default'}/{get_text(metadata, 'name')}",
        namespace=get_text(metadata, "namespace"),
        name=get_text(metadata, "name"),
        release=get_text(metadata, "annotations", _HELM_RELEASE),
        values=_without_empty(values),
        flags={name: text for name, text in flags.items() if not getattr(FLAGS_BY_NAME.get(name), "value", "")},
    )


def read_values(values: Json, source: str) -> FlaggerSettings:
    """Return the settings of a values file of Flagger's chart."""
    return FlaggerSettings(source=source, is_chart=True, values=_without_empty(dict(_leaves(values))))


_TABLES = ("labels", "additionalLabels", "annotations", "context", "resources", "nodeSelector", "affinity")
_TOP_TABLES = (
    "podAnnotations",
    "podLabels",
    "deploymentLabels",
    "annotations",
    "resources",
    "nodeSelector",
    "affinity",
)


def _leaves(values: Json, start: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of each setting; a table of free names is one setting."""
    for name, value in values.items():
        is_table = name in (_TABLES if start else _TOP_TABLES)
        if isinstance(value, dict) and not is_table:
            yield from _leaves(value, f"{start}{name}.")
        else:
            yield f"{start}{name}", value


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in values.items() if value not in (None, "", [], {}, ())}


def _own_keys(keys: Mapping[str, str], usual: Mapping[str, str]) -> dict[str, str]:
    """Return labels or annotations that a user has set. usual: those that an installation has anyway."""
    return {
        key: value
        for key, value in drop_gitops_keys(keys).items()
        if usual.get(key) != value and key != LAST_APPLIED and not key.startswith(_BOOKKEEPING)
    }


def _volumes(pod: Json, container: Json, kubeconfig: str) -> dict[str, Any]:
    """Return the values for the volumes; the one with the kubeconfig of the mesh has values of its own."""
    folder, _, key = kubeconfig.rpartition("/")
    mounts = list(get_items(container, "volumeMounts"))
    of_mesh = next((mount for mount in mounts if folder and get_text(mount, "mountPath") == folder), None)
    name = get_text(of_mesh, "name")
    volumes = list(get_items(pod, "volumes"))
    secret = next((get_text(each, "secret", "secretName") for each in volumes if name and each.get("name") == name), "")
    if secret:
        volumes = [each for each in volumes if each.get("name") != name]
        mounts = [mount for mount in mounts if mount is not of_mesh]
    return {
        "additionalVolumes": volumes,
        "additionalVolumeMounts": mounts,
        "controlplane.kubeconfig.secretName": secret,
        "controlplane.kubeconfig.key": key if secret else "",
    }


def _without_own_pods(affinity: Any, selector: Mapping[str, str]) -> Any:
    """Return an affinity without terms that keep Flagger's own pods apart: the installation has such a term itself."""
    if not isinstance(affinity, dict):
        return affinity
    text = json.dumps(affinity.get("podAntiAffinity"))
    if any(json.dumps(value) in text for value in selector.values()):
        return {name: value for name, value in affinity.items() if name != "podAntiAffinity"}
    return affinity
