"""The Services of a rollout: the apex that users call, and one for each side.

    canary, primary, apex = services(asked, ports)

A Service that was there before stays its owner's: of it nothing but the selector is changed, and that last of all, when
the primary's pods answer. Where the target is a Service itself there are none of these: it is copied, as workloads are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.foreign import get_integer, get_items, get_mapping, get_texts
from canarycore.manifest import CustomMetadata, UnmanagedMetadata
from canarycore_kubernetes.api.kinds import SERVICE
from canarycore_runtime.mesh import GITOPS_OPT_OUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from canarycore_kubernetes.workloads.facts import Port
    from canarycore_runtime.mesh import Json, RenderContext

HTTP = "http"
"""The port's name, if the owner gives none."""

_AT_CREATION = ("type", "clusterIP")
"""What is ours only when the Service is made: later it cannot be changed, or is somebody's decision."""


def services(asked: RenderContext, ports: Iterable[Port]) -> tuple[Json, Json, Json]:
    """The Services of canary and primary, and the apex. ports: of the target's containers, for `portDiscovery`."""
    listed = [_port(asked), *(_discovered(asked, ports) if asked.service.port_discovery else ())]
    return (
        _service(asked, asked.canary_service, asked.service.canary, asked.pods, listed),
        _service(asked, asked.primary, asked.service.primary, asked.primary_pods, listed),
        _service(asked, asked.apex, asked.service.apex, asked.primary_pods, listed),
    )


def only_selector(service: Json) -> Json:
    """What of a Service is changed where somebody else made it."""
    metadata = {name: service["metadata"][name] for name in ("name", "namespace")}
    spec = {"selector": service["spec"]["selector"]}
    return {**service, "metadata": {**metadata, "annotations": GITOPS_OPT_OUT}, "spec": spec}


def fitted(service: Json, found: Json, asked: RenderContext) -> Json:
    """The Service as it can be written over what is there, with what others decide as they have decided."""
    before = get_mapping(found, "spec")
    there = {name: before[name] for name in _AT_CREATION if name in before}
    spec = {name: there.get(name, value) for name, value in service["spec"].items()}
    spec["ports"] = _over(spec["ports"], get_items(before, "ports"))
    names, metadata = asked.service.unmanaged_metadata or UnmanagedMetadata(), dict(service["metadata"])
    for section, unmanaged in (("labels", names.labels), ("annotations", names.annotations)):
        theirs = get_texts(found, "metadata", section)
        metadata[section] = {
            name: theirs.get(name, text) if name in unmanaged else text for name, text in metadata[section].items()
        }
    return {**service, "metadata": metadata, "spec": spec}


# ---------------------------------------------------------------------------------------------------------- details


def _service(
    asked: RenderContext, name: str, metadata: CustomMetadata | None, pods: tuple[str, str], ports: list[Json]
) -> Json:
    (label, value), service, metadata = pods, asked.service, metadata or CustomMetadata()
    spec: Json = {"type": "ClusterIP", "selector": {label: value}, "ports": ports}
    if service.headless:
        spec["clusterIP"] = "None"
    if service.traffic_distribution:
        spec["trafficDistribution"] = service.traffic_distribution
    labels = dict(metadata.labels) | {label: name}
    return _object(asked.namespace, name, labels, dict(metadata.annotations) | GITOPS_OPT_OUT, spec)


def _object(namespace: str, name: str, labels: Json, annotations: Json, spec: Json) -> Json:
    return {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations},
        "spec": spec,
    }


def _port(asked: RenderContext) -> Json:
    service = asked.service
    protocol = {"appProtocol": service.app_protocol} if service.app_protocol else {}
    target = service.target_port or asked.port
    name = service.port_name or HTTP
    return {"name": name, "protocol": "TCP", "port": asked.port, "targetPort": target, **protocol}


def _discovered(asked: RenderContext, ports: Iterable[Port]) -> Iterator[Json]:
    """The containers' other ports. One that has the main port's name or number has no room beside it."""
    service = asked.service
    target = service.target_port or asked.port
    names, numbers = {service.port_name or HTTP}, {asked.port}
    for port in ports:
        if target in (port.name, port.number) or port.name in names or port.number in numbers:
            continue
        names.add(port.name)
        numbers.add(port.number)
        yield {"name": port.name, "protocol": "TCP", "port": port.number, "targetPort": port.number}


def _over(ports: list[Json], found: list[Json]) -> list[Json]:
    """The ports as they are wanted, with what the API server or somebody else gave to those that are there."""
    places = {get_integer(port, "port"): place for place, port in enumerate(found)}
    given = {get_integer(port, "port"): {key: port[key] for key in ("nodePort",) if key in port} for port in found}
    ordered = sorted(ports, key=lambda port: places.get(port["port"], len(found)))
    return [port | given.get(port["port"], {}) for port in ordered]
