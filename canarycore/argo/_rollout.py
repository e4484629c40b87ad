"""A Rollout of Argo as a Deployment and a Canary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from canarycore.argo._analysis import ChecksOfAnalyses, Templates
from canarycore.argo._document import DocumentPart, Json, drop_none, make_resource
from canarycore.argo._gaps import Gaps
from canarycore.argo._strategy import INTERVAL, convert_blue_green, convert_canary
from canarycore.bounds import REVISIONS
from canarycore.foreign import get_value
from canarycore.manifest.routing import PROVIDER_CAPABILITIES, SPLIT_ONLY, ProviderCapabilities
from canarycore.text import shorten

NO_ANALYSIS: Json = {"interval": f"{INTERVAL}s", "threshold": 1, "iterations": 1}
"""The analysis of a Rollout without steps: the definition of a Canary requires one, though it is skipped."""

Objects = Mapping[tuple[str, str], Json]
"""The other objects of the files, by kind and name."""


def convert_rollout(rollout: DocumentPart, templates: Templates, objects: Objects, gaps: Gaps) -> list[Json]:
    """Return the Deployment, the Canary and the MetricTemplates of a Rollout. Report what has no equivalent."""
    rollout.take("apiVersion"), rollout.take("kind"), rollout.take("metadata"), rollout.take("status")
    spec, metadata = rollout.at("spec"), dict(rollout.at("metadata").value or {})
    name, namespace = str(metadata.get("name") or "rollout"), str(metadata.get("namespace") or "")
    checks = ChecksOfAnalyses(rollout=name, namespace=namespace, templates=templates, gaps=gaps)
    strategy = spec.at("strategy")
    blue_green, canary = strategy.at("blueGreen"), strategy.at("canary")
    can = _capabilities(canary)
    analysis = convert_blue_green(blue_green, checks) if blue_green else convert_canary(canary, checks, gaps, can)
    if analysis and checks.metrics:
        analysis["metrics"] = checks.metrics
    window = _rollback_window(spec.at("rollbackWindow"), gaps)
    if analysis and window:
        analysis["rollbackWindow"] = window
    target, deployment = _target(spec, metadata, canary, gaps)
    service = _service(blue_green or canary, deployment or objects.get(("Deployment", target["name"]), {}), objects)
    body: Json = {"targetRef": target, "service": service}
    body = {**_provider(canary, service, objects, gaps, is_blue_green=bool(blue_green)), **body}
    deadline = spec.number("progressDeadlineSeconds")
    if deadline is not None:
        body["progressDeadlineSeconds"] = deadline
    if spec.take("progressDeadlineAbort") is not True:
        gaps.report(
            spec.at("progressDeadlineAbort"),
            "false, or nothing",
            "true: the deadline rolls back here",
            "Set analysis.onFailure: freeze for a rollout that stops instead.",
        )
    if spec.take("paused") is True:
        body["suspend"] = True
    body |= {"analysis": analysis} if analysis else {"skipAnalysis": True, "analysis": NO_ANALYSIS}
    gaps.report_unread(rollout)
    resource = make_resource("Canary", name, namespace, body)
    return [*([deployment] if deployment else []), resource, *checks.documents]


def _rollback_window(window: DocumentPart, gaps: Gaps) -> Json:
    """Return the window in which a return skips all steps; empty where there is none, as in Argo for 0 revisions."""
    revisions = window.number("revisions") or 0
    if revisions > REVISIONS.most:
        gaps.report(
            window.at("revisions"),
            str(revisions),
            f"at most {REVISIONS.most}",
            "The status remembers that many promoted revisions: write a lower number.",
        )
    return {"revisions": min(revisions, REVISIONS.most)} if revisions > 0 else {}


def _target(spec: DocumentPart, metadata: Json, canary: DocumentPart, gaps: Gaps) -> tuple[Json, Json]:
    """Return the reference to the target, and the Deployment that a Rollout has inside."""
    reference = spec.at("workloadRef")
    if reference:
        wanted = ("apiVersion", "kind", "name")
        target = {name: reference.text(name) for name in wanted}
        if spec.number("replicas") is not None:
            gaps.report(
                spec.at("replicas"),
                str(spec.at("replicas").value),
                "the replicas of the Deployment",
                "Set spec.replicas of the Deployment, which Argo scaled to 0.",
            )
        return target, {}
    names = ("replicas", "selector", "template", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
    inner = drop_none({name: spec.take(name) for name in names})
    update = drop_none({name: canary.take(name) for name in ("maxSurge", "maxUnavailable")})
    if update:
        inner["strategy"] = {"type": "RollingUpdate", "rollingUpdate": update}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": str(metadata.get("name") or "rollout")}
    return target, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": inner}


def _service(strategy: DocumentPart, deployment: Mapping[str, Any], objects: Objects) -> Json:
    """Return the section `service`: the Service that clients call, and its ports."""
    routing = strategy.at("trafficRouting")
    roots = [routing.at(mesh).text("rootService") for mesh in ("alb", "smi") if routing.at(mesh)]
    services = [*roots, strategy.text("activeService"), strategy.text("stableService")]
    strategy.take("previewService"), strategy.take("canaryService")  # the controller makes one
    name = next((each for each in services if each), "") or _selecting(deployment, objects)
    ports = get_value(objects.get(("Service", name), {}), "spec", "ports")
    ports = ports if isinstance(ports, list) and ports else []
    first = ports[0] if ports and isinstance(ports[0], Mapping) else _container_port(deployment)
    service: Json = {"name": name} if name else {}
    service |= {"port": first.get("port") or first.get("containerPort") or 80}
    if first.get("targetPort") is not None:
        service["targetPort"] = first["targetPort"]
    if first.get("name"):
        service["portName"] = first["name"]
    if len(ports) > 1:
        service["portDiscovery"] = True
    return service


def _selecting(deployment: Mapping[str, Any], objects: Objects) -> str:
    """Return the name of the first Service that selects the pods of a Deployment; empty if there is none."""
    labels = get_value(deployment, "spec", "template", "metadata", "labels")
    if not isinstance(labels, Mapping):
        return ""
    for (kind, name), body in objects.items():
        selector = get_value(body, "spec", "selector")
        if kind == "Service" and isinstance(selector, Mapping) and selector and selector.items() <= labels.items():
            return name
    return ""


def _container_port(deployment: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the first port of the first container that has one."""
    containers = get_value(deployment, "spec", "template", "spec", "containers")
    for container in containers if isinstance(containers, list) else []:
        ports = container.get("ports") if isinstance(container, Mapping) else None
        if isinstance(ports, list) and ports and isinstance(ports[0], Mapping):
            return {"containerPort": ports[0].get("containerPort"), "name": ports[0].get("name")}
    return {}


# providers --------------------------------------------------------------------------------------------------------


def _capabilities(canary: DocumentPart) -> ProviderCapabilities:
    """Return the capabilities of the provider of a Rollout; only weights where it is unknown; pods without one."""
    names = [name for name in _PROVIDERS if canary.at("trafficRouting", name)]
    return PROVIDER_CAPABILITIES.get(names[0], SPLIT_ONLY) if names else PROVIDER_CAPABILITIES["replicas"]


def _provider(canary: DocumentPart, service: Json, objects: Objects, gaps: Gaps, *, is_blue_green: bool) -> Json:
    """Return the provider, and the reference to the route that it changes. `service` gets the provider's fields."""
    routing = canary.at("trafficRouting")
    names = [name for name in _PROVIDERS if routing.at(name)]
    if names:
        return _PROVIDERS[names[0]](routing.at(names[0]), service, objects, gaps)
    if is_blue_green:
        return {"provider": "kubernetes"}
    if routing:
        return {}  # the gap is the part that nobody has read
    return {"provider": "replicas"}


def _read_istio(node: DocumentPart, service: Json, objects: Objects, gaps: Gaps) -> Json:
    virtual = node.at("virtualService") or next(iter(node.items("virtualServices")), node.at("virtualService"))
    name = virtual.text("name")
    virtual.take("routes")
    node.take("destinationRule")
    spec = get_value(objects.get(("VirtualService", name), {}), "spec")
    for field in ("hosts", "gateways"):
        values = spec.get(field) if isinstance(spec, Mapping) else None
        if isinstance(values, list) and values:
            service[field] = list(values)
    _report_other_name(virtual, "VirtualService", name, service, gaps, "delete yours after the rollout has begun")
    return {"provider": "istio"}


def _read_nginx(node: DocumentPart, service: Json, objects: Objects, gaps: Gaps) -> Json:
    del service, objects, gaps
    return {"provider": "nginx", "ingressRef": _ingress(node, "stableIngress", "stableIngresses")}


def _read_alb(node: DocumentPart, service: Json, objects: Objects, gaps: Gaps) -> Json:
    del objects, gaps
    port = node.number("servicePort")
    if port:
        service["port"] = port
    return {"provider": "alb", "ingressRef": _ingress(node, "ingress", "ingresses")}


def _read_apisix(node: DocumentPart, service: Json, objects: Objects, gaps: Gaps) -> Json:
    del service, objects, gaps
    name = node.at("route").text("name")
    node.at("route").take("rules")
    reference = {"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "name": name}
    return {"provider": "apisix", "routeRef": reference}


def _read_smi(node: DocumentPart, service: Json, objects: Objects, gaps: Gaps) -> Json:
    del service, objects, gaps
    node.take("trafficSplitName")
    return {"provider": "smi:v1alpha1"}


def _read_traefik(node: DocumentPart, service: Json, objects: Objects, gaps: Gaps) -> Json:
    del objects
    name = node.text("weightedTraefikServiceName")
    _report_other_name(node, "TraefikService", name, service, gaps, "refer to it in your IngressRoute")
    return {"provider": "traefik"}


def _read_appmesh(node: DocumentPart, service: Json, objects: Objects, gaps: Gaps) -> Json:
    del service, objects, gaps
    node.take("virtualService"), node.take("virtualNodeGroup")
    return {"provider": "appmesh:v1beta2"}


def _ingress(node: DocumentPart, one: str, many: str) -> Json:
    """Return a reference to the Ingress, the first of several. The others stay unread, so each is a gap."""
    name = node.text(one) or next((part.text() for part in node.items(many)), "")
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": name}


def _report_other_name(node: DocumentPart, kind: str, name: str, service: Json, gaps: Gaps, remedy: str) -> None:
    """Report a routing object whose name is not the Service's, which is the name of the controller's own."""
    if name and name != service.get("name"):
        remedy = f"The controller makes one with the name of the Service: {remedy}."
        gaps.report(node, f"the {kind} {shorten(name)}", f"the {kind} of the controller", remedy)


_PROVIDERS: dict[str, Callable[[DocumentPart, Json, Objects, Gaps], Json]] = {
    "istio": _read_istio,
    "nginx": _read_nginx,
    "alb": _read_alb,
    "apisix": _read_apisix,
    "smi": _read_smi,
    "traefik": _read_traefik,
    "appMesh": _read_appmesh,
}


def index_objects(documents: Iterable[Mapping[str, Any]]) -> Objects:
    """Return the objects of some documents by kind and name."""
    objects: dict[tuple[str, str], Json] = {}
    for body in documents:
        kind, name = body.get("kind"), get_value(body, "metadata", "name")
        if isinstance(kind, str) and isinstance(name, str):
            objects.setdefault((kind, name), dict(body))
    return objects
