"""Templates and AlertProviders in the caches: the parsed resource, or the error that names its problems.

Argo's templates are watched from the first Canary on that refers to one. A cluster need not have their kinds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve

from canarycore.errors import ManifestError, Refused
from canarycore.manifest import AlertProvider, MetricTemplate, parse
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.kinds import (
    ALERT_PROVIDER,
    ANALYSIS_TEMPLATE,
    CLUSTER_ANALYSIS_TEMPLATE,
    METRIC_TEMPLATE,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore import Reference
    from canarycore.argo import AnalysisTemplate
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_runtime.mesh import Json, Kind

R = TypeVar("R", MetricTemplate, AlertProvider)
T = TypeVar("T", "MetricTemplate", "AlertProvider", "AnalysisTemplate")


def _parse_as(kind: type[R]) -> Callable[[Json, R | ManifestError | None], R | ManifestError]:
    def project(body: Json, _: R | ManifestError | None) -> R | ManifestError:
        try:
            resource = parse(body)
        except ManifestError as problems:
            return problems
        assert isinstance(resource, kind), "a cache has one kind"
        return evolve(resource, warnings=())  # the controller does not report warnings, and there may be thousands

    return project


TEMPLATE_VIEW: View[MetricTemplate | ManifestError] = View(kind=METRIC_TEMPLATE, project=_parse_as(MetricTemplate))
ALERT_PROVIDER_VIEW: View[AlertProvider | ManifestError] = View(kind=ALERT_PROVIDER, project=_parse_as(AlertProvider))


def _read_analysis_template(kind: Kind) -> Callable[[Json, AnalysisTemplate | ManifestError | None], AnalysisTemplate]:
    def project(body: Json, _: AnalysisTemplate | ManifestError | None) -> AnalysisTemplate:
        from canarycore.argo import AnalysisTemplate  # only here: a cluster without Argo's kinds does not wait for it

        return AnalysisTemplate.read({**body, "kind": kind.kind})

    return project


ANALYSIS_TEMPLATE_VIEW: View[AnalysisTemplate | ManifestError] = View(
    kind=ANALYSIS_TEMPLATE, project=_read_analysis_template(ANALYSIS_TEMPLATE)
)
CLUSTER_ANALYSIS_TEMPLATE_VIEW: View[AnalysisTemplate | ManifestError] = View(
    kind=CLUSTER_ANALYSIS_TEMPLATE, project=_read_analysis_template(CLUSTER_ANALYSIS_TEMPLATE)
)

TEMPLATE_VIEWS: dict[str, View[Any]] = {
    "": TEMPLATE_VIEW,
    ANALYSIS_TEMPLATE.kind: ANALYSIS_TEMPLATE_VIEW,
    CLUSTER_ANALYSIS_TEMPLATE.kind: CLUSTER_ANALYSIS_TEMPLATE_VIEW,
}
"""The view of each kind of template, by the kind in a reference."""


def namespace_of(reference: Reference, home: str) -> str:
    """Return the namespace of the template that a rollout of `home` refers to; empty for a template of the cluster."""
    return (reference.namespace or home) if TEMPLATE_VIEWS[reference.kind].kind.namespaced else ""


async def find_reference(cluster: Cluster, view: View[T | ManifestError], namespace: str, name: str) -> T:
    """Return a resource. Raise Refused if it does not exist, ManifestError if it is invalid, and WorldError."""
    cache = await cluster.cache(view).ready()
    resource = cache.get(namespace, name)
    if resource is None and cache.is_kind_missing:
        raise Refused(f"the cluster has no {view.kind.plural}.{view.kind.group}: install the definition of this kind")
    if resource is None:
        raise Refused(f'{view.kind.kind.lower()}.{view.kind.group} "{name}" not found')
    if isinstance(resource, ManifestError):
        raise resource
    return resource
