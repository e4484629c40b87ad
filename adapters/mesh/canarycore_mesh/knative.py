"""Knative: the target itself splits between its newest revision and the promoted one.

An annotation of the target names the promoted revision. The workload adapter writes it; before that, the mesh cannot
route.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.foreign import get_items, get_text, parse_percent
from canarycore_mesh._objects import make_object, make_ref, read_verdict, refuse, require
from canarycore_mesh._queries import envoy_queries
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canarycore import RouteRefusal
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

SERVICE = Kind("serving.knative.dev", "v1", "Service", "services")

PROMOTED = "flagger.app/primary-revision"
"""The annotation that names the promoted revision."""

PATH = "spec.targetRef"


class Knative(Mesh):
    """Provider `knative`."""

    queries: Queries = envoy_queries('envoy_cluster_name=~"{{ namespace }}/{{ route }}"')
    statuses: frozenset[Kind] = frozenset({SERVICE})

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        return (_target(context),)

    def is_route(self, context: RenderContext, ref: Ref) -> bool:
        """Check whether the object is the target, which its owner made."""
        return ref == _target(context)

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        revision = _promoted_revision(require(context, objects, _target(context), PATH))
        if not revision:
            refuse(context, f"no annotation {PROMOTED}", "the promoted revision", PATH, "Wait until it is initialised.")
        traffic = [
            {"latestRevision": True, "percent": routes.weight},
            {"revisionName": revision, "percent": routes.primary},
        ]
        return (make_object(context, SERVICE, _target(context).name, {"traffic": traffic}),)

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        parts = {_is_canary(part): part for part in get_items(objects.get(_target(context)), "spec", "traffic")}
        weight = parse_percent(parts.get(True, {}).get("percent", 0))
        return Routes(weight=weight) if parts.keys() == {True, False} and weight is not None else None

    def refusal(self, context: RenderContext, objects: ObjectsByRef) -> RouteRefusal | None:
        """Return Knative's verdict on the Service's routes; a revision that is not ready yet delays it."""
        verdict = read_verdict(objects.get(_target(context)), "RoutesReady")
        return None if verdict is None or verdict.is_pending else verdict

    def query_variables(self, context: RenderContext, objects: ObjectsByRef) -> Mapping[str, str]:
        """Return the usual variables, with the newest revision, which is under test, as the route."""
        newest = get_text(objects.get(_target(context)), "status", "latestCreatedRevisionName")
        return {**context.query_variables, "route": newest}


def _target(context: RenderContext) -> Ref:
    return make_ref(SERVICE, context, context.canary.spec.target_ref.name)


def _promoted_revision(service: Json) -> str:
    return get_text(service, "metadata", "annotations", PROMOTED)


def _is_canary(part: Json) -> bool:
    """Check whether this part of the traffic is the canary's."""
    return bool(part.get("latestRevision"))
