"""Plain Kubernetes: no routing object at all. The apex Service points to the primary, and that is all there is to it.

Nothing here can split, so a rollout is blue/green: the canary is tested beside the primary and gets no requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore_mesh._objects import refuse
from canarycore_mesh._queries import PODS, built_in, percentile_99, success_rate
from canarycore_runtime.mesh import Mesh

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

_NO_ERROR = 'status!~"5.*"'

OF_THE_APP = built_in(
    success_rate("http_request_duration_seconds_count", *PODS, _NO_ERROR, good=_NO_ERROR),
    percentile_99("http_request_duration_seconds_bucket", *PODS),
)
"""The queries where the app itself counts its requests, for want of a proxy that does."""

SECONDS = 1000.0
"""An app counts in seconds, which are so many milliseconds."""


class Kubernetes(Mesh):
    """Provider `kubernetes`."""

    queries: Queries = OF_THE_APP
    milliseconds = SECONDS

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        del asked
        return ()

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        del found
        if routes.is_exposed:
            refuse(
                asked,
                f"requests to send to the canary ({routes.weight}%)",
                "none",
                "spec.provider",
                "The provider kubernetes cannot split traffic: choose one that does.",
            )
        return ()

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        """To the primary, as the Services stand."""
        del asked, found
        return Routes()
