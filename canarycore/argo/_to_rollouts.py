"""Canaries as Rollouts of Argo, where nothing gets lost.

The conversion reads a Canary part by part. A part that it has not read is a gap. Then it converts its own result back:
a policy that differs from the first one is a gap too. A Canary with a gap stays as it is, with all that belongs to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
from attrs import evolve, frozen

from canarycore._spec import Check, Rollout
from canarycore.argo._conditions import simplify
from canarycore.argo._document import DocumentPart, Json, drop_none
from canarycore.argo._gaps import Gaps
from canarycore.argo._rollout import Objects, index_objects
from canarycore.argo._strategy import INTERVAL
from canarycore.argo._to_canaries import Conversion, to_canaries
from canarycore.argo._write_strategy import WrittenMetrics, write_blue_green, write_canary
from canarycore.foreign import get_mapping, get_value
from canarycore.manifest import Canary, MetricTemplate, parse, resolve
from canarycore.manifest._resolve import UNROUTED
from canarycore.text import shorten

IN_DEPLOYMENT = ("replicas", "selector", "template", "minReadySeconds", "revisionHistoryLimit")
"""The fields of a Deployment that a Rollout has too."""


def is_canary(document: Mapping[str, Any]) -> bool:
    """Return whether a document is a Canary."""
    return document.get("kind") == "Canary" and str(document.get("apiVersion")).startswith("flagger.app/")


def to_rollouts(bodies: list[Json]) -> list[Conversion]:
    """Convert each document. A Deployment and MetricTemplates become part of the Rollout.

    Raises ManifestError if a Canary is invalid.
    """
    objects = index_objects(body for body in bodies if not is_canary(body))
    templates = _read_templates(objects) if any(map(is_canary, bodies)) else {}
    pieces: dict[int, Conversion] = {}
    replaced: set[tuple[str, str]] = set()
    kept: set[tuple[str, str]] = set()
    for index, body in enumerate(bodies):
        if not is_canary(body):
            continue
        gaps = Gaps(to="Rollout")
        written = _write_rollout(DocumentPart(body), objects, templates, gaps)
        if gaps.problems:
            kept |= written.replaced
        else:
            replaced |= written.replaced
        documents = (body,) if gaps.problems else written.documents
        pieces[index] = Conversion(documents=documents, gaps=tuple(gaps.problems))
    return [
        pieces.get(index) or Conversion(documents=() if _key(body) in replaced - kept else (body,))
        for index, body in enumerate(bodies)
    ]


@frozen(kw_only=True)
class _WrittenRollout:
    """The Rollout of a Canary with its other objects, and the objects that became part of it."""

    documents: tuple[Json, ...] = ()
    replaced: frozenset[tuple[str, str]] = frozenset()
    """The kind and the name of each."""


def _write_rollout(canary: DocumentPart, objects: Objects, templates: _Templates, gaps: Gaps) -> _WrittenRollout:
    """Return the Rollout of a Canary. Without a gap it converts back into the same Canary."""
    before = _read_policy(canary.value, objects, templates)
    canary.take("apiVersion"), canary.take("kind"), canary.take("status")
    name, namespace = canary.at("metadata").text("name"), canary.at("metadata").text("namespace")
    spec = canary.at("spec")
    analysis = spec.at("analysis") or spec.at("canaryAnalysis")
    metrics = WrittenMetrics(name, namespace, objects, gaps)
    deployment = _find_deployment(spec.at("targetRef"), name, objects, gaps)
    services = _Services(name=spec.at("service").text("name") or name, namespace=namespace, part=spec.at("service"))
    routing, others = _write_routing(spec, services, gaps)
    strategy = _write_strategy(spec.text("provider"), analysis, metrics, services, deployment)
    strategy |= {"trafficRouting": routing} if routing else {}
    fields = {name: get_value(deployment, "spec", name) for name in IN_DEPLOYMENT} | {
        "progressDeadlineSeconds": spec.number("progressDeadlineSeconds"),
        "progressDeadlineAbort": True,
        "paused": spec.take("suspend") is True or None,
        "rollbackWindow": drop_none({"revisions": analysis.at("rollbackWindow").number("revisions")}) or None,
        "strategy": {"blueGreen" if spec.text("provider") == UNROUTED else "canary": strategy},
    }
    metadata = get_mapping(deployment, "metadata") | ({"namespace": namespace} if namespace else {})
    rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": metadata, "spec": drop_none(fields)}
    made = [body for body in (*services.write(deployment), *others) if _key(body) not in objects]
    gaps.report_unread(canary)
    documents = (rollout, *metrics.documents, *made)
    if not gaps.problems:
        _compare(canary, before, _read_back(documents, objects), gaps)
    replaced = {("Deployment", name), *(("MetricTemplate", each) for each in metrics.used)}
    return _WrittenRollout(documents=documents, replaced=frozenset(replaced))


def _find_deployment(reference: DocumentPart, name: str, objects: Objects, gaps: Gaps) -> Json:
    """Return the target; an empty mapping for one that a Rollout cannot have inside."""
    deployment, given = objects.get(("Deployment", name), {}), reference.take()
    if not deployment or given != {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}:
        expected = f"apps/v1, Deployment {name}, which is among the files"
        gaps.report(reference, shorten(str(given)), expected, "Add its file. It has the name of the Canary.")
    return deployment


def _write_strategy(
    provider: str, analysis: DocumentPart, metrics: WrittenMetrics, services: _Services, deployment: Json
) -> Json:
    """Return the strategy without its routing."""
    for field, value in (("interval", f"{INTERVAL}s"), ("threshold", 1)):
        if analysis.take(field) != value:
            found = shorten(analysis.at(field).value)
            metrics.gaps.report(analysis.at(field), found, str(value), _REMEDIES[field])
    if provider == UNROUTED:
        names = {"activeService": services.name, "previewService": services.canary}
        return names | write_blue_green(analysis, metrics)
    names = {"stableService": services.name, "canaryService": services.canary}
    return names | get_mapping(deployment, "spec", "strategy", "rollingUpdate") | write_canary(analysis, metrics)


@frozen(kw_only=True)
class _Services:
    """The Services that a Rollout needs: it makes none itself."""

    name: str
    namespace: str
    part: DocumentPart

    @property
    def canary(self) -> str:
        return f"{self.name}-canary"

    def write(self, deployment: Json) -> list[Json]:
        """Return the Services."""
        part = self.part
        port = {"name": part.text("portName"), "port": part.number("port"), "targetPort": part.take("targetPort")}
        spec = {
            "selector": get_value(deployment, "spec", "selector", "matchLabels"),
            "ports": [{name: value for name, value in port.items() if value}],
        }
        names = (self.name, self.canary)
        return [self.make("v1", "Service", name, spec) for name in names]

    def make(self, version: str, kind: str, name: str, spec: Json) -> Json:
        metadata = {"name": name} | ({"namespace": self.namespace} if self.namespace else {})
        return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


# routing ----------------------------------------------------------------------------------------------------------


def _write_routing(spec: DocumentPart, services: _Services, gaps: Gaps) -> tuple[Json, list[Json]]:
    """Return the field `trafficRouting`, and the objects that it refers to."""
    provider = spec.text("provider")
    write = _PROVIDERS.get(provider)
    if write is None:
        gaps.report(
            spec.at("provider"),
            shorten(provider) or "nothing",
            f"one of {', '.join(_PROVIDERS)}",
            "Write the trafficRouting of this provider by hand.",
        )
        return {}, []
    return write(spec, services)


def _write_none(spec: DocumentPart, services: _Services) -> tuple[Json, list[Json]]:
    del spec, services
    return {}, []


def _write_nginx(spec: DocumentPart, services: _Services) -> tuple[Json, list[Json]]:
    del services
    return {"nginx": {"stableIngress": _take_name(spec.at("ingressRef"))}}, []


def _write_apisix(spec: DocumentPart, services: _Services) -> tuple[Json, list[Json]]:
    del services
    return {"apisix": {"route": {"name": _take_name(spec.at("routeRef"))}}}, []


def _write_istio(spec: DocumentPart, services: _Services) -> tuple[Json, list[Json]]:
    section = spec.at("service")
    sides = ((services.name, 100), (services.canary, 0))
    destinations = [{"destination": {"host": host}, "weight": weight} for host, weight in sides]
    given = drop_none({"hosts": section.take("hosts"), "gateways": section.take("gateways")})
    routes = {"hosts": [services.name]} | given | {"http": [{"name": "primary", "route": destinations}]}
    virtual = services.make("networking.istio.io/v1beta1", "VirtualService", services.name, routes)
    return {"istio": {"virtualService": {"name": services.name, "routes": ["primary"]}}}, [virtual]


def _write_traefik(spec: DocumentPart, services: _Services) -> tuple[Json, list[Json]]:
    port = spec.at("service").number("port")
    sides = ((services.name, 100), (services.canary, 0))
    weighted = [{"name": name, "port": port, "weight": weight} for name, weight in sides]
    body = services.make("traefik.io/v1alpha1", "TraefikService", services.name, {"weighted": {"services": weighted}})
    return {"traefik": {"weightedTraefikServiceName": services.name}}, [body]


def _take_name(reference: DocumentPart) -> str:
    reference.take("apiVersion"), reference.take("kind")
    return reference.text("name")


_PROVIDERS: dict[str, Callable[[DocumentPart, _Services], tuple[Json, list[Json]]]] = {
    "istio": _write_istio,
    "nginx": _write_nginx,
    "apisix": _write_apisix,
    "traefik": _write_traefik,
    "replicas": _write_none,
    "kubernetes": _write_none,
}

# the comparison ---------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class _Policy:
    """The meaning of a Canary, by which it is compared."""

    rollout: Rollout
    queries: tuple[object, ...]
    """The provider and the query of each check."""
    parts: Json
    """The parts of the spec that are no policy."""


_Templates = Mapping[str, MetricTemplate]


def _read_templates(objects: Objects) -> _Templates:
    resources = [parse(each) for (kind, _), each in objects.items() if kind == "MetricTemplate"]
    return {each.name: each for each in resources if isinstance(each, MetricTemplate)}


def _read_policy(body: Mapping[str, Any], objects: Objects, templates: _Templates) -> _Policy:
    canary = parse(body)
    assert isinstance(canary, Canary)
    rollout = resolve(canary, templates=templates.values())
    rungs = [rung.percent for rung in rollout.ladder.rungs]
    references = [check.template.name for check in rollout.checks if check.template is not None]
    return _Policy(
        rollout=evolve(rollout, checks=tuple(_normalise(check, rungs) for check in rollout.checks)),
        queries=tuple(templates[name].spec if name in templates else None for name in references),
        parts=_other_parts(body, get_mapping(objects.get(("Deployment", canary.spec.target_ref.name)))),
    )


def _other_parts(body: Mapping[str, Any], deployment: Json) -> Json:
    """Return the parts of a Canary that its rollout does not have, and those of its Deployment."""
    service, name = get_mapping(body, "spec", "service"), get_value(body, "metadata", "name")
    wanted = {"name": name, "gateways": []} | service | {"hosts": service.get("hosts") or [service.get("name") or name]}
    update = get_mapping(deployment, "spec", "strategy")
    kind, surge = update.get("type", "RollingUpdate"), update.get("rollingUpdate") or {}
    inner = get_mapping(deployment, "spec") | {"strategy": (kind, surge)}
    inner.pop("progressDeadlineSeconds", None)  # the Canary's decides
    return {
        **{name: get_value(body, "spec", name) for name in ("ingressRef", "routeRef")},
        **{f"service.{field}": value for field, value in wanted.items()},
        **{f"{field} of the Deployment": value for field, value in inner.items()},
        **{
            f"{field} of the Deployment": get_mapping(deployment, "metadata", field)
            for field in ("labels", "annotations")
        },
    }


def _normalise(check: Check, rungs: list[float]) -> Check:
    """Return a check without the name of its template, and from the first step on that measures it."""
    reached = [percent for percent in rungs if percent >= check.from_weight]
    return evolve(simplify(check), template=None, from_weight=int(min(reached, default=check.from_weight)))


def _read_back(documents: Iterable[Json], objects: Objects) -> _Policy:
    others = [body for (kind, _), body in objects.items() if kind not in {"Deployment", "MetricTemplate"}]
    converted = [body for piece in to_canaries([*documents, *others]) for body in piece.documents]
    (canary,) = (body for body in converted if body.get("kind") == "Canary")
    index = index_objects(converted)
    return _read_policy(canary, index, _read_templates(index))


def _compare(canary: DocumentPart, before: _Policy, after: _Policy, gaps: Gaps) -> None:
    """Report the differences of two policies, those before and after a conversion there and back."""
    pairs = {
        field.name: (getattr(before.rollout, field.name), getattr(after.rollout, field.name))
        for field in attrs.fields(Rollout)
        if field.name != "ladder"
    }
    pairs["ladder"] = (before.rollout.ladder.rungs, after.rollout.ladder.rungs)
    pairs["queries"] = (before.queries, after.queries)
    pairs |= {name: (before.parts.get(name), after.parts.get(name)) for name in before.parts | after.parts}
    for name, (found, expected) in pairs.items():
        if found != expected:
            remedy = "A Rollout cannot say this: change it to the expected value, or write it by hand."
            gaps.report(canary.at("spec"), f"{name} {shorten(str(found))}", shorten(str(expected)), remedy)


def _key(body: Json) -> tuple[str, str]:
    return str(body.get("kind")), str(get_value(body, "metadata", "name"))


_REMEDIES = {
    "interval": f"Argo goes on as soon as it can: set {INTERVAL}s, and a hold of the steps.",
    "threshold": "Argo counts the failures of each metric: set 1, and failureLimit of the metrics.",
}
