"""Knative: the target itself splits between its newest revision and the one that was promoted.

The promoted revision is named by an annotation of the target, which the workload adapter writes; until it is there,
nothing can be routed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.foreign import get_items, get_text, parse_percent
from canarycore_mesh._objects import ref, refuse, rendered, require
from canarycore_mesh._queries import of_envoy
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

SERVICE = Kind("serving.knative.dev", "v1", "Service", "services")

PROMOTED = "flagger.app/primary-revision"
"""The annotation that names the promoted revision."""

WHERE = "spec.targetRef"


class Knative(Mesh):
    """Provider `knative`."""

    queries: Queries = of_envoy('envoy_cluster_name=~"{{ namespace }}/{{ route }}"')
    statuses: frozenset[Kind] = frozenset({SERVICE})

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        return (_target(asked),)

    def is_route(self, asked: RenderContext, ref: Ref) -> bool:
        """Tell so of the target, which the owner has made."""
        return ref == _target(asked)

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        promoted = _promoted(require(asked, found, _target(asked), WHERE))
        if not promoted:
            refuse(asked, f"no annotation {PROMOTED}", "the promoted revision", WHERE, "Wait until it is initialised.")
        traffic = [
            {"latestRevision": True, "percent": routes.weight},
            {"revisionName": promoted, "percent": routes.primary},
        ]
        return (rendered(asked, SERVICE, _target(asked).name, {"traffic": traffic}),)

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        parts = {_side(part): part for part in get_items(found.get(_target(asked)), "spec", "traffic")}
        weight = parse_percent(parts.get(True, {}).get("percent", 0))
        return Routes(weight=weight) if parts.keys() == {True, False} and weight is not None else None

    def query_variables(self, asked: RenderContext, found: ObjectsByRef) -> Mapping[str, str]:
        """Return the usual variables, with the newest revision, which is under test, as the route."""
        newest = get_text(found.get(_target(asked)), "status", "latestCreatedRevisionName")
        return {**asked.query_variables, "route": newest}


def _target(asked: RenderContext) -> Ref:
    return ref(SERVICE, asked, asked.canary.spec.target_ref.name)


def _promoted(service: Json) -> str:
    return get_text(service, "metadata", "annotations", PROMOTED)


def _side(part: Json) -> bool:
    """Whether this part of the traffic is the canary's."""
    return bool(part.get("latestRevision"))
