"""MetricTemplates and AlertProviders in the caches: the parsed resource, or the error that names its problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from attrs import evolve

from canarycore.errors import ManifestError, Refused
from canarycore.manifest import AlertProvider, MetricTemplate, parse
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.kinds import ALERT_PROVIDER, METRIC_TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_runtime.mesh import Json

R = TypeVar("R", MetricTemplate, AlertProvider)


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


async def find_reference(cluster: Cluster, view: View[R | ManifestError], namespace: str, name: str) -> R:
    """Return a resource. Raise Refused if it does not exist, ManifestError if it is invalid, and WorldError."""
    resource = (await cluster.cache(view).ready()).get(namespace, name)
    if resource is None:
        raise Refused(f'{view.kind.kind.lower()}.{view.kind.group} "{name}" not found')
    if isinstance(resource, ManifestError):
        raise resource
    return resource
