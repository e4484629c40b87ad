"""A manifest's objects as a bench takes them. Everything here is data: nothing runs.

The routing objects, the policy and the Services stay the owner's. A bench has no containers, no outside network and no
autoscaler, so the pods run the rehearsal's versions, metrics come from the Prometheus of the bench, and the bench
answers webhooks. Each change is a remark. A Canary that a bench cannot rehearse is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field

from canarycore.errors import CanaryError
from canarycore.foreign import get_integer, get_items, get_mapping, get_text, get_value
from canarycore_planes.bench import PROMETHEUS, DataPlane, Entry
from canarycore_planes.control_plane.api import Json
from canarycore_planes.data_planes.catalog import DATA_PLANES

HOOKS = 8090
"""The port of the server that answers webhooks."""

MOST_PODS = 3
"""The largest number of pods of each side."""

_CONTAINER_PORT = 8080
_GRACE = 20
_APPLIED = ("Service", "Ingress", "HTTPProxy")
"""The kinds of owners' objects that a bench needs."""
_SILENT = ("Canary", "Deployment", "MetricTemplate", "Namespace")
"""The kinds that need no remark: they have remarks of their own, or make no difference."""
_ROLLBACK = "rollback"


class Unrehearsable(CanaryError):
    """A manifest that the bench cannot rehearse. The message has the value found, the value expected and the remedy."""


@define
class StagedManifest:
    """The objects of a manifest for a bench."""

    canary: Json
    """The Canary."""
    deployment: Json
    """Its target."""
    objects: list[Json]
    """The other objects, in the order of the manifest."""
    host: str
    """The host of requests."""
    remarks: list[str] = field(factory=list)
    """The differences from the manifest, for people."""

    @property
    def namespaces(self) -> list[str]:
        """The namespaces of all objects."""
        bodies = (self.canary, self.deployment, *self.objects)
        return list(dict.fromkeys(body["metadata"]["namespace"] for body in bodies))


def stage(
    documents: Iterable[Mapping[str, Any]],
    canary: Mapping[str, Any],
    plane: str,
    gates: Mapping[str, bool] | None = None,
) -> StagedManifest:
    """Return the objects of a manifest for a bench. Raises Unrehearsable.

    documents: all documents of the manifest. canary: the Canary to rehearse. gates: the answers of gates, by name; all
    others are open.
    """
    data_plane = DATA_PLANES[plane]
    own = _copy(canary)
    namespace = own["metadata"].setdefault("namespace", "default")
    named = (body for body in documents if get_text(body, "kind") and get_text(body, "metadata", "name"))
    bodies = [_in_namespace(_copy(body), namespace) for body in named]
    _demand(own, plane, data_plane)
    remarks: list[str] = []
    templates = list(_stage_templates(own, bodies, remarks))
    _stage_canary(own, data_plane, gates or {}, remarks)
    owners = [_stage_object(body, remarks) for body in bodies if body["kind"] in _APPLIED]
    entry, host = _find_entry(own, owners, data_plane, remarks)
    left_out = [f"{body['kind']} {body['metadata']['name']}" for body in bodies
                if body["kind"] not in (*_APPLIED, *_SILENT)]  # fmt: skip
    if left_out:
        remarks.append(f"left out, as a bench has no use for them: {', '.join(left_out)}")
    deployment = _stage_deployment(own, bodies, data_plane, remarks)
    return StagedManifest(own, deployment, [*templates, *owners, *entry], host, remarks)


# ------------------------------------------------------------------------------------------------------------- refusals


def _demand(canary: Json, plane: str, data_plane: DataPlane) -> None:
    """Raise Unrehearsable for a Canary that needs what the data plane does not have."""
    found = get_text(canary, "spec", "provider")
    if found not in ("", data_plane.provider):
        fitting = [name for name, other in DATA_PLANES.items() if other.provider == found]
        remedy = (
            f"Use --plane {fitting[0]}." if fitting else "Leave --plane out: the embedded Envoy rehearses any provider."
        )
        raise _refuse("spec.provider", found, f"{data_plane.provider} (--plane {plane})", remedy)
    kind = get_text(canary, "spec", "targetRef", "kind")
    if kind != "Deployment":
        raise _refuse(
            "spec.targetRef.kind", kind, "Deployment", "Leave --plane out: the embedded Envoy rehearses others."
        )
    for name in data_plane.spec.keys() - canary["spec"].keys() - {"service"}:
        raise _refuse(f"spec.{name}", "nothing", f"a value, as {data_plane.title} routes by it", "Add it.")


def _refuse(path: str, found: object, expected: str, remedy: str) -> Unrehearsable:
    return Unrehearsable(f"{path}: found {found or 'nothing'}, expected {expected}. {remedy}")


# ------------------------------------------------------------------------------------------------------------- objects


def _copy(body: Mapping[str, Any]) -> Json:
    """Return a document as plain data, which JSON can carry."""
    copy: Json = json.loads(json.dumps(body, default=str))
    return copy


def _in_namespace(body: Json, namespace: str) -> Json:
    body["metadata"].setdefault("namespace", namespace)
    return body


def _stage_object(body: Json, remarks: list[str]) -> Json:
    body.pop("status", None)
    sections = (get_mapping(body, "spec"), get_mapping(body, "spec", "virtualhost"))
    if [section for section in sections if section.pop("tls", None) is not None]:
        remarks.append(f"{body['kind']} {body['metadata']['name']}: without TLS, as a bench has no certificates")
    return body


def _stage_canary(canary: Json, data_plane: DataPlane, gates: Mapping[str, bool], remarks: list[str]) -> None:
    spec = canary["spec"]
    canary.pop("status", None)
    spec["provider"] = data_plane.provider
    if spec.pop("autoscalerRef", None):
        remarks.append("spec.autoscalerRef: left out, as a bench has no autoscaler")
    if spec.pop("metricsServer", None):
        remarks.append("spec.metricsServer: left out, as the Prometheus of the bench has the metrics")
    analysis = spec.get("analysis") or spec.get("canaryAnalysis") or {}
    if analysis.pop("alerts", None):
        remarks.append("spec.analysis.alerts: left out, as a bench has no outside network")
    hooks = get_items(analysis, "webhooks")
    analysis["webhooks"] = [_stage_hook(dict(hook), gates) for hook in hooks]
    if hooks:
        remarks.append(f"the bench answers the webhooks: {', '.join(str(hook.get('name')) for hook in hooks)}")


def _stage_hook(hook: Json, gates: Mapping[str, bool]) -> Json:
    """Lead a hook to the bench. A gate is open by default, but a rollback has to be asked for."""
    is_open = gates.get(str(hook.get("name")), hook.get("type") != _ROLLBACK)
    return {**hook, "url": f"http://127.0.0.1:{HOOKS}/{'open' if is_open else 'closed'}"}


def _stage_templates(canary: Json, bodies: Sequence[Json], remarks: list[str]) -> Iterator[Json]:
    """Yield the MetricTemplates of the Canary's checks, which ask the Prometheus of the bench."""
    for path, reference in _references(canary["spec"], "spec"):
        name = get_text(reference, "name")
        home = get_text(reference, "namespace") or canary["metadata"]["namespace"]
        template = _find(bodies, "MetricTemplate", home, name)
        if template is None:
            raise _refuse(path, f"{home}/{name}, which the file lacks", "a MetricTemplate of the file", "Add it.")
        kind = get_text(template, "spec", "provider", "type")
        if kind != "prometheus":
            raise _refuse(
                f"{path} (spec.provider.type of the MetricTemplate {name})", kind, "prometheus",
                "A bench has no outside network: leave the check out, or leave --plane out and use --metric.",
            )  # fmt: skip
        if get_text(template, "spec", "provider", "address") == PROMETHEUS:
            continue  # another check names it too
        template["spec"]["provider"] = {"type": kind, "address": PROMETHEUS}
        remarks.append(f"MetricTemplate {name}: asks the Prometheus of the bench, which scrapes the proxy and the pods")
        yield template


def _references(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield the references to MetricTemplates in a part of a Canary, with their paths."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name == "templateRef":
                yield f"{path}.{name}", part
            else:
                yield from _references(part, f"{path}.{name}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _references(part, f"{path}[{number}]")


def _find(bodies: Iterable[Json], kind: str, namespace: str, name: str) -> Json | None:
    places = (
        body for body in bodies
        if (body["kind"], body["metadata"]["namespace"], body["metadata"].get("name")) == (kind, namespace, name)
    )  # fmt: skip
    return next(places, None)


def _find_entry(
    canary: Json, owners: Sequence[Json], data_plane: DataPlane, remarks: list[str]
) -> tuple[list[Json], str]:
    """Return the host of requests, with the object that leads it in if the file has none."""
    metadata, spec = canary["metadata"], canary["spec"]
    hosts = (data_plane.read_host(body) for body in owners)
    found = next(filter(None, hosts), "")
    if found:
        return [], found.replace("*", "any", 1) if found.startswith("*") else found
    name = get_text(spec, "ingressRef", "name")
    if name and _find(owners, "Ingress", metadata["namespace"], name):
        return [], f"{metadata['name']}.test"  # an Ingress of all hosts
    service = spec["service"]
    entry = Entry(
        host=f"{metadata['name']}.test",
        service=service.get("name") or spec["targetRef"]["name"],
        port=get_integer(service, "port") or 80,
        name=name or f"{metadata['name']}-entry",
        namespace=metadata["namespace"],
    )
    body = data_plane.entry(entry)
    remarks.append(f"the file leads no host in: added the {body['kind']} {entry.name} for {entry.host}")
    return [body], entry.host


def _stage_deployment(canary: Json, bodies: Sequence[Json], data_plane: DataPlane, remarks: list[str]) -> Json:
    """Return the target with one container, whose image the rehearsal sets."""
    metadata, spec = canary["metadata"], canary["spec"]
    name, namespace = spec["targetRef"]["name"], metadata["namespace"]
    own = _find(bodies, "Deployment", namespace, name) or {}
    if own:
        remarks.append(f"Deployment {name}: its pods run the versions of the rehearsal, not its images")
    template = get_mapping(own, "spec", "template", "metadata")
    template = template if get_mapping(template, "labels") else {"labels": {"app": name}}
    replicas = get_value(own, "spec", "replicas")
    replicas = replicas if isinstance(replicas, int) else 2
    if replicas > MOST_PODS:
        remarks.append(f"Deployment {name}: {MOST_PODS} pods in place of {replicas}")
    port_name, port = _container_port(spec["service"], own)
    container: Json = {"name": "app", "ports": [{"name": port_name, "containerPort": port}]}
    if data_plane.pre_stop:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": data_plane.pre_stop}}}
    kept = {key: value for key, value in get_mapping(own, "metadata").items() if key in ("labels", "annotations")}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**kept, "name": name, "namespace": namespace},
        "spec": {
            "replicas": min(replicas, MOST_PODS),
            "selector": get_value(own, "spec", "selector") or {"matchLabels": template["labels"]},
            "template": {
                "metadata": dict(template),
                "spec": {"terminationGracePeriodSeconds": _GRACE, "containers": [container]},
            },
        },
    }


def _container_port(service: Json, deployment: Json) -> tuple[str, int]:
    """Return the name and number of the port to which the Service of the Canary leads."""
    target = service.get("targetPort", service.get("port", 80))
    if isinstance(target, int) or str(target).isdecimal():
        return "http", int(str(target))
    containers = get_items(deployment, "spec", "template", "spec", "containers")
    ports = {port.get("name"): port.get("containerPort") for each in containers for port in get_items(each, "ports")}
    number = ports.get(target)
    return str(target), number if isinstance(number, int) else _CONTAINER_PORT
