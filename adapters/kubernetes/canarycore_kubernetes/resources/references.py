"""MetricTemplates and AlertProviders, as the caches hold them: parsed, or with what is wrong with them."""

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


def _held(kind: type[R]) -> Callable[[Json, R | ManifestError | None], R | ManifestError]:
    def project(body: Json, _: R | ManifestError | None) -> R | ManifestError:
        try:
            found = parse(body)
        except ManifestError as problems:
            return problems
        assert isinstance(found, kind), "a cache holds one kind"
        return evolve(found, warnings=())  # nobody here tells them, and there may be thousands

    return project


TEMPLATE_VIEW: View[MetricTemplate | ManifestError] = View(kind=METRIC_TEMPLATE, project=_held(MetricTemplate))
ALERT_PROVIDER_VIEW: View[AlertProvider | ManifestError] = View(kind=ALERT_PROVIDER, project=_held(AlertProvider))


async def find_reference(cluster: Cluster, view: View[R | ManifestError], namespace: str, name: str) -> R:
    """The object. Raises Refused when there is none, ManifestError when it cannot be used, and WorldError."""
    found = (await cluster.cache(view).ready()).get(namespace, name)
    if found is None:
        raise Refused(f'{view.kind.kind.lower()}.{view.kind.group} "{name}" not found')
    if isinstance(found, ManifestError):
        raise found
    return found
