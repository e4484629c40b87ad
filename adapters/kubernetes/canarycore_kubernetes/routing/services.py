"""The Services of a rollout: the apex that users call, and one for each side.

    canary, primary, apex = services(context, ports)

An apex that somebody else made stays its owner's: the router changes only its selector, and only after the primary's
pods answer. A target that is a Service itself has no such Services: the workload copies it as it copies a Deployment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.foreign import get_integer, get_items, get_mapping, get_text, get_texts
from canarycore.manifest import CustomMetadata, UnmanagedMetadata
from canarycore_kubernetes.api.kinds import SERVICE
from canarycore_kubernetes.workloads.facts import TCP
from canarycore_runtime.mesh import GITOPS_OPT_OUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from canarycore_kubernetes.workloads.facts import Port
    from canarycore_runtime.mesh import Json, RenderContext

HTTP = "http"
"""The name of the port, unless the owner gives one."""

_SET_AT_CREATION = ("type", "clusterIP")
"""Fields that the router sets only in a new Service: later they are immutable, or somebody else's decision."""


def services(
    context: RenderContext,
    ports: Iterable[Port],
    foreign_apex: Json | None = None,
    apex_pods: Mapping[str, str] | None = None,
) -> tuple[Json, Json, Json]:
    """Return the Services of canary and primary, and the apex.

    ports: the ports of the target's containers, for `portDiscovery`. foreign_apex: the apex if somebody else made it.
    Its requests go on to the sides, so these get all its ports. apex_pods: the labels that the apex selects; the
    primary's by default.
    """
    own, ports = _port(context, tuple(ports)), tuple(ports)
    listed = [own, *(_discovered_ports(own, ports) if context.service.port_discovery else ())]
    sides = [*listed, *_further_ports(context, foreign_apex, listed)]
    return (
        _service(context, context.canary_service, context.service.canary, context.pods.canary, sides),
        _service(context, context.primary, context.service.primary, context.pods.primary, sides),
        _service(context, context.apex, context.service.apex, apex_pods or context.pods.primary, listed),
    )


def only_selector(service: Json) -> Json:
    """Return the part of a Service that is changed where somebody else made it."""
    metadata = {name: service["metadata"][name] for name in ("name", "namespace")}
    spec = {"selector": service["spec"]["selector"]}
    return {**service, "metadata": {**metadata, "annotations": GITOPS_OPT_OUT}, "spec": spec}


def fit_to_service(service: Json, existing: Json, context: RenderContext) -> Json:
    """Return the Service as it can replace the existing one, with the values that others may set there."""
    before = get_mapping(existing, "spec")
    preset = {name: before[name] for name in _SET_AT_CREATION if name in before}
    spec = {name: preset.get(name, value) for name, value in service["spec"].items()}
    spec["ports"] = _merge_ports(spec["ports"], get_items(before, "ports"))
    names, metadata = context.service.unmanaged_metadata or UnmanagedMetadata(), dict(service["metadata"])
    for section, unmanaged in (("labels", names.labels), ("annotations", names.annotations)):
        theirs = get_texts(existing, "metadata", section)
        metadata[section] = {
            name: theirs.get(name, text) if name in unmanaged else text for name, text in metadata[section].items()
        }
    return {**service, "metadata": metadata, "spec": spec}


# ---------------------------------------------------------------------------------------------------------- details


def _service(
    context: RenderContext, name: str, metadata: CustomMetadata | None, pods: Mapping[str, str], ports: list[Json]
) -> Json:
    service, metadata = context.service, metadata or CustomMetadata()
    spec: Json = {"type": "ClusterIP", "selector": dict(pods), "ports": ports}
    if service.headless:
        spec["clusterIP"] = "None"
    if service.traffic_distribution:
        spec["trafficDistribution"] = service.traffic_distribution
    labels = dict(metadata.labels) | {context.pods.label: name}
    return _object(context.namespace, name, labels, dict(metadata.annotations) | GITOPS_OPT_OUT, spec)


def _object(namespace: str, name: str, labels: Json, annotations: Json, spec: Json) -> Json:
    return {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations},
        "spec": spec,
    }


def _port(context: RenderContext, ports: Iterable[Port]) -> Json:
    """Return the port of `spec.service`: of the protocol of the containers' port that it leads to, or else TCP."""
    service = context.service
    application = {"appProtocol": service.app_protocol} if service.app_protocol else {}
    target = service.target_port or context.port
    protocols = [port.protocol for port in ports if target in (port.name, port.number)]
    return {
        "name": service.port_name or HTTP,
        "protocol": TCP if TCP in protocols or not protocols else protocols[0],
        "port": context.port,
        "targetPort": target,
        **application,
    }


def _discovered_ports(own: Json, ports: Iterable[Port]) -> Iterator[Json]:
    """Yield the containers' ports other than `own`, without those that clash with a port before them.

    Two ports clash that share a name, or both the number and the protocol.
    """
    names, numbers = {own["name"]}, {(own["port"], own["protocol"])}
    for port in ports:
        is_own = own["targetPort"] in (port.name, port.number) and port.protocol == own["protocol"]
        if is_own or port.name in names or (port.number, port.protocol) in numbers:
            continue
        names.add(port.name)
        numbers.add((port.number, port.protocol))
        yield {"name": port.name, "protocol": port.protocol, "port": port.number, "targetPort": port.number}


def _further_ports(context: RenderContext, apex: Json | None, listed: list[Json]) -> Iterator[Json]:
    """Yield the ports of an apex that are not listed.

    A gateway of Istio finds the port of a side only if that has one, so beside a gateway the sides stay as they are.
    """
    if context.service.delegation or set(context.service.gateways) - {_SIDECARS}:
        return
    names, numbers = {port["name"] for port in listed}, {_number(port) for port in listed}
    for port in get_items(apex, "spec", "ports"):
        number, protocol = _number(port)
        if number is None or (number, protocol) in numbers:
            continue
        name = get_text(port, "name")
        unique = name if name and name not in names else f"{protocol.lower()}-{number}"
        names.add(unique)
        application = {"appProtocol": port["appProtocol"]} if get_text(port, "appProtocol") else {}
        target = port.get("targetPort") or number
        yield {"name": unique, "protocol": protocol, "port": number, "targetPort": target, **application}


_SIDECARS = "mesh"
"""Istio's name for the gateway of all sidecars."""


def _merge_ports(ports: list[Json], existing: list[Json]) -> list[Json]:
    """Return the ports in the order of the existing ones, with the node ports that those have."""
    places = {_number(port): place for place, port in enumerate(existing)}
    node_ports = {_number(port): {"nodePort": port["nodePort"]} for port in existing if "nodePort" in port}
    ordered = sorted(ports, key=lambda port: places.get(_number(port), len(existing)))
    return [port | node_ports.get(_number(port), {}) for port in ordered]


def _number(port: Json) -> tuple[int | None, str]:
    """Return the number and the protocol of a Service's port, which together tell it from the others."""
    return get_integer(port, "port"), get_text(port, "protocol") or TCP
