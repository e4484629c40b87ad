"""The fields of a Canary that may name another namespace, and the refusal of those that do.

On a cluster with tenants, a reference to another namespace lets one tenant use or steer the objects of another: attach
a route to its gateway, take over the requests for its Service, read its provider's address. `check_namespaces` refuses
each of them. A field is in `_FIELDS` or it cannot name a namespace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attrs import frozen

from canarycore.errors import Problem
from canarycore.manifest._alerts._subscriptions import find_subscribed_providers
from canarycore.manifest._model import Canary
from canarycore.text import LONGEST_SHOWN

MESH = "mesh"
"""Istio's reserved gateway name for all sidecars."""


@frozen(kw_only=True)
class NamespacedReference:
    """A text in a manifest that names an object or a host."""

    path: str
    """Path of the text."""
    kind: str
    """Kind of the object, in words."""
    text: str
    """The text."""
    namespace: str
    """Namespace of the object; empty: the Canary's own."""
    is_gateway: bool = False
    """Whether the object is a gateway, which Canaries of several namespaces may share."""


def check_namespaces(canary: Canary, *, gateways: Iterable[str] = ()) -> tuple[Problem, ...]:
    """Return a problem for each reference of the Canary to another namespace.

    gateways: namespaces whose gateways every Canary may use.
    """
    shared = frozenset(gateways)
    return tuple(
        _problem(canary, reference)
        for reference in references(canary)
        if reference.namespace not in {"", canary.namespace}
        and not (reference.is_gateway and reference.namespace in shared)
    )


def references(canary: Canary) -> Iterator[NamespacedReference]:
    """Find all references of a Canary that could name another namespace."""
    for read in _FIELDS:
        yield from read(canary)


def _problem(canary: Canary, reference: NamespacedReference) -> Problem:
    return Problem(
        path=reference.path,
        found=_cut(f"{reference.kind} {reference.text}"),
        expected=f"one in namespace {canary.namespace}",
        remedy=_GATEWAY_REMEDY if reference.is_gateway else _REMEDY,
        rule="cross-namespace",
    )


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


_BLOCKED = "Cross-namespace references are blocked by --no-cross-namespace-refs:"
_REMEDY = f"{_BLOCKED} make one in the Canary's namespace and name that, or start the controller without the option."
_GATEWAY_REMEDY = (
    f"{_BLOCKED} make a gateway in the Canary's namespace, or start the controller with the gateway's namespace in "
    "--shared-gateway-namespaces."
)


# the fields -----------------------------------------------------------------------------------------------------------


def _upstream(canary: Canary) -> Iterator[NamespacedReference]:
    upstream = canary.spec.upstream_ref
    if upstream is not None:
        yield _object("spec.upstreamRef", "gloo upstream", upstream.name, upstream.namespace)


def _templates(canary: Canary) -> Iterator[NamespacedReference]:
    for index, metric in enumerate(canary.analysis.metrics if canary.analysis else ()):
        if metric.template_ref is not None:
            path = f"{canary.analysis_path}.metrics[{index}].templateRef"
            kind = "analysis template" if metric.template_ref.is_analysis else "metric template"
            yield _object(path, kind, metric.template_ref.name, metric.template_ref.namespace)


def _alert_providers(canary: Canary) -> Iterator[NamespacedReference]:
    for index, alert in enumerate(canary.analysis.alerts if canary.analysis else ()):
        if alert.provider_ref is not None:
            path = f"{canary.analysis_path}.alerts[{index}].providerRef"
            yield _object(path, "alert provider", alert.provider_ref.name, alert.provider_ref.namespace)


def _subscriptions(canary: Canary) -> Iterator[NamespacedReference]:
    for path, provider in find_subscribed_providers(canary.subscriptions).items():
        text = f"{provider.name}.{provider.namespace}"
        yield NamespacedReference(path=path, kind="alert provider", text=text, namespace=provider.namespace)


def _gateway_refs(canary: Canary) -> Iterator[NamespacedReference]:
    """Find Gateway API parents. The route takes over the requests of a parent Service, so that is no shared gateway."""
    service = canary.spec.service
    for index, parent in enumerate(service.gateway_refs if service else ()):
        kind = parent.kind or "Gateway"
        path = f"spec.service.gatewayRefs[{index}]"
        yield _object(path, kind, parent.name, parent.namespace or "", is_gateway=kind == "Gateway")


def _mirrors(canary: Canary) -> Iterator[NamespacedReference]:
    service = canary.spec.service
    for index, mirror in enumerate(service.mirror if service else ()):
        backend = mirror.backend_ref
        path = f"spec.service.mirror[{index}].backendRef"
        yield _object(path, "backend", backend.name, backend.namespace or "")


def _istio_gateways(canary: Canary) -> Iterator[NamespacedReference]:
    service = canary.spec.service
    lists: list[tuple[str, Iterable[str]]] = [("spec.service", service.gateways if service else ())]
    matches = {"spec.service.match": service.match if service else (), **canary.matches}
    for path, conditions in matches.items():
        lists += ((f"{path}[{index}]", match.gateways) for index, match in enumerate(conditions))
    for path, names in lists:
        for index, name in enumerate(names):
            yield NamespacedReference(
                path=f"{path}.gateways[{index}]",
                kind="gateway",
                text=name,
                namespace=_gateway_namespace(name),
                is_gateway=True,
            )


def _hosts(canary: Canary) -> Iterator[NamespacedReference]:
    """Find hosts of the route. In the mesh `app.other` is a Service of another namespace, at a gateway a domain."""
    service = canary.spec.service
    if service is None:
        return
    in_mesh = MESH in service.gateways if service.gateways else not service.gateway_refs
    for index, host in enumerate(service.hosts):
        yield _host(f"spec.service.hosts[{index}]", "host", host, in_mesh=in_mesh)


def _service_name(canary: Canary) -> Iterator[NamespacedReference]:
    """Find the name of the Service that users call, which is a host of the route too."""
    service = canary.spec.service
    if service is not None and service.name:
        yield _host("spec.service.name", "service", service.name, in_mesh=True)


def _rewrites(canary: Canary) -> Iterator[NamespacedReference]:
    rewrite = canary.spec.service.rewrite if canary.spec.service else None
    if rewrite is not None and rewrite.authority:
        yield _host("spec.service.rewrite.authority", "host", rewrite.authority.partition(":")[0], in_mesh=False)


def _backends(canary: Canary) -> Iterator[NamespacedReference]:
    """Find virtual services of App Mesh, by their names or by ARNs that end in a name."""
    service = canary.spec.service
    for index, backend in enumerate(service.backends if service else ()):
        name = backend.rpartition("virtualService/")[2]
        yield _host(f"spec.service.backends[{index}]", "virtual service", name, in_mesh=True)


_FIELDS: tuple[Callable[[Canary], Iterator[NamespacedReference]], ...] = (
    _upstream,
    _templates,
    _alert_providers,
    _subscriptions,
    _gateway_refs,
    _mirrors,
    _istio_gateways,
    _service_name,
    _hosts,
    _rewrites,
    _backends,
)


# names ----------------------------------------------------------------------------------------------------------------


def _object(path: str, kind: str, name: str, namespace: str, *, is_gateway: bool = False) -> NamespacedReference:
    return NamespacedReference(
        path=f"{path}.namespace", kind=kind, text=f"{name}.{namespace}", namespace=namespace, is_gateway=is_gateway
    )


def _host(path: str, kind: str, host: str, *, in_mesh: bool) -> NamespacedReference:
    return NamespacedReference(path=path, kind=kind, text=host, namespace=_host_namespace(host, in_mesh=in_mesh))


def _gateway_namespace(name: str) -> str:
    """Return the namespace of an Istio gateway: `namespace/name`, or `name.namespace` and its longer forms."""
    namespace, slash, _ = name.partition("/")
    if slash:
        return "" if namespace == "." else namespace
    labels = name.split(".")
    return labels[1] if len(labels) > 1 else ""


_ANY = "*"
_CLUSTER = ("svc", "cluster", "local")


def _host_namespace(host: str, *, in_mesh: bool) -> str:
    """Return the namespace of a Service by its name in the cluster's DNS; empty for other names, `*` for several."""
    labels = host.lower().rstrip(".").split(".")
    if "svc" in labels[1:]:
        return labels[labels.index("svc", 1) - 1]
    if labels == [_ANY]:
        return _ANY if in_mesh else ""
    if labels[0] == _ANY and tuple(labels[1:]) == _CLUSTER[-len(labels) + 1 :]:
        return _ANY
    return labels[1] if in_mesh and len(labels) == 2 else ""
