"""Targets of the fuzzer: readers of foreign data, with their documented errors.

A target takes one case, which is a mutated sample, and returns a value or raises an error that is documented for it;
any other exception is a finding. The targets here are functions; `servers` has those that answer over HTTP.
"""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Callable, Iterator
from functools import cache, partial
from random import Random
from typing import TYPE_CHECKING, Any

import attrs
from attrs import field, frozen

import canarycore
from canarycore import Routes
from canarycore.argo import is_template, read_templates
from canarycore.codec import from_data, from_json, to_data
from canarycore.errors import ManifestError, Refused
from canarycore.manifest import Canary, MetricTemplate, check_files, dump, parse, resolve
from canarycore_kubernetes.api.budget import BoundExceeded, demand_small
from canarycore_kubernetes.api.kinds import DAEMON_SET, DEPLOYMENT
from canarycore_kubernetes.api.snapshots import make_snapshot
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_kubernetes.resources.references import ALERT_PROVIDER_VIEW, ANALYSIS_TEMPLATE_VIEW, TEMPLATE_VIEW
from canarycore_kubernetes.routing.services import fit_to_service, services
from canarycore_kubernetes.scaling.autoscalers import SCALERS, primary_scaler
from canarycore_kubernetes.workloads.configs import CONFIGS, config_facts
from canarycore_kubernetes.workloads.facts import ReadingOptions, pod_views
from canarycore_kubernetes.workloads.knative_workload import REVISIONS
from canarycore_kubernetes.workloads.service_workload import service_copy
from canarycore_runtime.mesh import PodSelectors, RenderContext
from tests.adapters.mesh import meshes
from tests.fuzz import samples
from tests.fuzz.mutation import expand, mutate, to_text

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Mesh

Json = dict[str, Any]


@frozen(kw_only=True)
class Target:
    """An entry point of the code."""

    name: str
    """Part of the code and the data that it reads: `mesh istio`."""
    samples: Callable[[], tuple[Any, ...]]
    """Function that returns valid cases."""
    call: Callable[[Any], object]
    """Function that runs one case."""
    prepare: Callable[[Any], Any] = expand
    """Function that makes the input of `call` from a case; its time and memory do not count."""
    allowed: tuple[type[Exception], ...] = ()
    """Documented errors."""
    within: str = ""
    """The part of a sample that most mutations concern."""
    pace: float = 0.0
    """Seconds that each character of a text may take besides the second that every call has."""
    weight: int = field(default=1)
    """How often it is chosen, among the others."""

    def draw(self, random: Random) -> Any:
        """A mutated sample."""
        return mutate(random, random.choice(self.samples()), within=self.within)


def functions() -> Iterator[Target]:
    """All targets that need no server."""
    yield from _codecs()
    yield from _manifests()
    yield from _projections()
    yield from _copies()
    yield from map(_mesh, (*meshes.ENTRIES, *meshes.VARIANTS, *meshes.REFERENCES))


# ------------------------------------------------------------------------------------------------------------ the codec


def _codecs() -> Iterator[Target]:
    for kind in _PUBLIC:
        given = partial(_data, kind)
        yield Target(
            name=f"codec {kind.__name__}",
            samples=given,
            prepare=to_text,
            call=partial(_read_text, kind),
            allowed=(ValueError,),
        )
        yield Target(
            name=f"codec data {kind.__name__}",
            samples=given,
            call=partial(_read_data, kind),
            allowed=(ValueError,),
        )


_PUBLIC = tuple(
    kind
    for _, kind in inspect.getmembers(canarycore, inspect.isclass)
    if kind.__name__ in {
        "Rollout", "Status", "World", "Observation", "Ask", "Decision", "Plan", "Goal", "Known", "Inputs", "HookAnswer",
        "MetricAnswer", "SourcesAnswer", "Notice", "Routes", "Workload", "Command", "Ladder", "Rung",
    }
)  # fmt: skip


def _read_text(kind: type, text: str) -> object:
    return from_json(text, kind)


def _read_data(kind: type, data: object) -> object:
    return from_data(data, kind)


@cache
def _data(kind: type) -> tuple[Any, ...]:
    """Data of a kind: a rollout of each strategy, and of the others a value with every field."""
    if kind is canarycore.Rollout:
        policies = (samples.POLICY, *(trace.canary for trace in samples.traces()[:: samples.MOST]))
        return tuple(to_data(resolve(samples.canary_of(policy))) for policy in policies)
    return (to_data(_filled(kind)),)


_PLAIN = {int: 1, float: 1.5, str: "a", bool: True, types.NoneType: None, Any: "a"}


_APART = {"success_condition", "failure_condition"}
"""Fields that do not go with others of their class; `samples.POLICY` has them."""


def _filled(kind: Any) -> Any:
    """A value of a type with something in each field, as far as its validators let it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin in {types.UnionType, typing.Union}:
        return _filled(arguments[0])
    if origin is tuple:
        return tuple(_filled(argument) for argument in arguments if argument is not Ellipsis)
    if origin is not None:
        return {_filled(arguments[0]): _filled(arguments[1])}
    if not attrs.has(kind):
        return next(iter(kind))
    filled = {one.name: _filled(one.type) for one in attrs.fields(kind) if one.init and one.name not in _APART}
    try:
        return kind(**filled)
    except ValueError:  # the fields do not go together: those without a default will do
        bare = {
            one.name: filled[one.name]
            for one in attrs.fields(kind)
            if one.name in filled and one.default is attrs.NOTHING
        }
        return kind(**bare)


# ---------------------------------------------------------------------------------------------------------- manifests


def _manifests() -> Iterator[Target]:
    given, errors = samples.manifests, (ManifestError,)
    yield Target(name="manifest parse", samples=given, call=_resolve, allowed=errors, weight=6, within="spec")
    yield Target(
        name="manifest definitions",
        samples=lambda: (samples.ANALYSIS_TEMPLATE,),
        call=_define_if_template,
        allowed=errors,
        weight=4,
        within="spec",
    )
    yield Target(name="manifest yaml", samples=given, prepare=to_text, call=_lint, weight=3, within="spec", pace=_PACE)
    yield Target(name="manifest lines", samples=_lines, prepare=_joined, call=_lint, weight=3, pace=_PACE)


_PACE = 50e-6
"""Seconds for a character of YAML: its parser is Python, and reads files of whoever runs the linter, nothing else."""


def _resolve(document: Any) -> object:
    resource = parse(document)
    dump(resource)
    if not isinstance(resource, Canary):
        return resource
    templates = [found for found in map(parse, (samples.TEMPLATE,)) if isinstance(found, MetricTemplate)]
    return resolve(resource, templates=(*templates, *read_templates([samples.ANALYSIS_TEMPLATE])))


def _define(document: Any) -> object:
    """Return the checks of a template: they are those of a Canary that resolves with it."""
    resolve(samples.canary_of(samples.POLICY), templates=read_templates([document]))
    (template,) = read_templates([document])
    return [template.define(name, (("series", "a"),)) for name in template.metrics]


def _define_if_template(document: Any) -> object:
    return _define(document) if isinstance(document, dict) and is_template(document) else None


def _lint(text: str) -> object:
    return check_files([("file.yaml", text)])


@cache
def _lines() -> tuple[Any, ...]:
    paths = sorted(samples.MANIFESTS.rglob("*.yaml"))
    texts = [path.read_text() for path in paths] + [to_text(samples.POLICY)]
    return tuple(text.splitlines(keepends=True) for text in texts)


def _joined(lines: Any) -> str:
    pieces = lines if isinstance(lines, list) else [lines]
    return "".join(piece if isinstance(piece, str) else _piece(piece) for piece in pieces)


def _piece(piece: Any) -> str:
    value = expand(piece) if isinstance(piece, dict) and "$text" in piece else None
    return value if isinstance(value, str) else to_text(piece)


# -------------------------------------------------------------------------------------------------- what caches keep


def _projections() -> Iterator[Target]:
    pods = pod_views(ReadingOptions())
    views = {
        "Deployment": pods[DEPLOYMENT].project,
        "DaemonSet": pods[DAEMON_SET].project,
        **{kind.kind: view.project for kind, view in CONFIGS.items()},
        **{kind: view.project for kind, view in SCALERS.items()},
        "KnativeRevision": REVISIONS.project,
        "MetricTemplate": TEMPLATE_VIEW.project,
        "AnalysisTemplate": ANALYSIS_TEMPLATE_VIEW.project,
        "AlertProvider": ALERT_PROVIDER_VIEW.project,
        "Service": partial(make_snapshot, ("canarycore",), False),
        "KnativeService": partial(make_snapshot, ("canarycore",), True),
    }
    for kind, project in views.items():
        given = partial(_one, kind)
        call = partial(_projected, kind, project)
        yield Target(name=f"cache {kind}", samples=given, call=call, allowed=_UNREADABLE, within="spec", weight=2)
    held = partial(_projected, "Canary", _canary_projection())
    yield Target(name="cache Canary", samples=partial(_one, "Canary"), call=held, allowed=_UNREADABLE, weight=4)


_UNREADABLE = (ManifestError, BoundExceeded)


def _one(kind: str) -> tuple[Any, ...]:
    return (samples.OBJECTS[kind],)


def _projected(kind: str, project: Callable[[Any, Any], Any], body: Any) -> object:
    """Return the projections of an object that comes for the first time and once more."""
    if not is_object(body) or body["kind"] != samples.OBJECTS[kind]["kind"]:
        return None
    return project(body, project(body, None))


class _Cluster:
    """A cluster without objects, for the view of the Canaries."""

    def cache(self, view: Any) -> _Cluster:
        self.view = view
        return self

    def subscribe(self, _: Any) -> None:
        """Do nothing: no object changes."""

    def tell(self, _: str) -> None:
        """Do nothing: no test reads the message."""


@cache
def _canary_projection() -> Callable[[Any, Any], Any]:
    """Return the projection of a valid Canary, without a cluster and without the cache's own net."""
    project: Callable[[Any, Any], Any] = Canaries(_Cluster())._validate  # type: ignore[arg-type]
    return project


def is_object(body: Any) -> bool:
    """Return whether an API server may store this object: it checks kinds and metadata."""
    metadata = body.get("metadata") if isinstance(body, dict) else None
    if not isinstance(metadata, dict) or body.get("kind") not in _KINDS or not isinstance(body.get("apiVersion"), str):
        return False
    texts = all(isinstance(metadata.get(name), str) for name in ("name", "uid", "resourceVersion"))
    return texts and metadata["resourceVersion"].isdecimal() and isinstance(metadata.get("namespace"), str)


_KINDS = tuple(body["kind"] for body in samples.OBJECTS.values())


# -------------------------------------------------------------------------------------------- what is made of objects


def _copies() -> Iterator[Target]:
    """Objects of the owner's that are copied, or written over."""
    for kind, copied in _COPIES.items():
        given, allowed = partial(_one, kind), (Refused, BoundExceeded)
        yield Target(name=f"copy {kind}", samples=given, call=copied, allowed=allowed, within="spec")


def _copied_scaler(body: Any) -> object:
    if not is_object(body) or body["kind"] not in SCALERS:
        return None
    demand_small(body)  # as its projection does
    policy = json.loads(json.dumps(samples.POLICY))
    policy["spec"]["autoscalerRef"] |= {"kind": body["kind"], "apiVersion": "x/v1"}
    return primary_scaler(body, samples.canary_of(policy), {"kind": "Canary", "name": "podinfo"})


def _copied_service(body: Any) -> object:
    if not is_object(body):
        return None
    demand_small(body)  # as its projection does
    context = meshes.render_context("kubernetes")
    canary, _, _ = services(context, ())
    return fit_to_service(canary, body, context), service_copy(body, "copy", {"kind": "Canary", "name": "podinfo"})


def _copied_config(body: Any) -> object:
    from canarycore_kubernetes.workloads.configs import primary_config

    if not is_object(body):
        return None
    demand_small(body)  # as its projection does
    config_facts(body)
    return primary_config(body, {"kind": "Canary", "name": "podinfo"}, (), name="copy")


_COPIES = {
    "HorizontalPodAutoscaler": _copied_scaler,
    "ScaledObject": _copied_scaler,
    "Service": _copied_service,
    "ConfigMap": _copied_config,
}


# ----------------------------------------------------------------------------------------------------------- meshes


def _mesh(provider: str) -> Target:
    return Target(
        name=f"mesh {provider}",
        samples=partial(samples.routed, provider),
        call=partial(_route, meshes.mesh_of(provider)),
        allowed=(ManifestError, Refused),
        within="found",
        weight=3,
    )


_ROUTES = (Routes(), Routes(weight=30), Routes(matched=True), Routes(weight=10, mirrored=True))


def _route(mesh: Mesh, case: Any) -> object:
    """Render and read each kind of routes. Where routes are read, no error is allowed."""
    if not isinstance(case, dict) or not isinstance(case.get("canary"), dict):
        return None
    canary = parse(case["canary"])
    if not isinstance(canary, Canary):
        return None
    context = RenderContext(canary=canary, rollout=resolve(canary), pods=_selectors(case.get("pods")))
    given = case.get("found")
    bodies = given if isinstance(given, list) else []
    places = mesh.refs(context)
    found = {ref: body for ref, body in zip(places, bodies, strict=False) if isinstance(body, dict)}
    try:
        read = mesh.routes(context, found), dict(mesh.query_variables(context, found))
    except (ManifestError, Refused) as error:
        raise AssertionError("routes that cannot be read are None, and no error") from error
    return read, [_rendered(mesh, context, routes, found) for routes in _ROUTES]


def _rendered(mesh: Mesh, context: RenderContext, routes: Routes, found: Any) -> object:
    try:
        return mesh.render(context, routes, found)
    except Refused as refused:
        return refused


def _selectors(value: Any) -> PodSelectors:
    is_pair = isinstance(value, list) and len(value) == 2 and all(map(_is_text, value))
    return PodSelectors.by_label(*value) if is_pair else PodSelectors()


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
