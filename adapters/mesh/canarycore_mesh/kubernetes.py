"""Plain Kubernetes: no routing object. The apex Service selects the primary's pods.

Services cannot split, so a rollout is blue/green: the analysis tests the canary, which gets no requests of users.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore_mesh._objects import refuse
from canarycore_mesh._queries import PODS, built_in_queries, percentile_99, success_rate
from canarycore_runtime.mesh import Mesh

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

_NO_ERROR = 'status!~"5.*"'

APP_QUERIES = built_in_queries(
    success_rate("http_request_duration_seconds_count", *PODS, _NO_ERROR, good=_NO_ERROR),
    percentile_99("http_request_duration_seconds_bucket", *PODS),
)
"""The queries of an app that counts its own requests, because no proxy counts them."""

SECONDS = 1000.0
"""The unit of an app's durations, in milliseconds."""


class Kubernetes(Mesh):
    """Provider `kubernetes`."""

    queries: Queries = APP_QUERIES
    milliseconds = SECONDS

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        del context
        return ()

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        del objects
        if routes.is_exposed:
            refuse(
                context,
                f"requests to send to the canary ({routes.weight}%)",
                "none",
                "spec.provider",
                "The provider kubernetes cannot split traffic: choose one that does.",
            )
        return ()

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        """Return the only routes that Services express: all requests to the primary."""
        del context, objects
        return Routes()
