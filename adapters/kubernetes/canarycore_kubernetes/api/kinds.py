"""The API kinds that the adapter uses, and a lookup by object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore_runtime.mesh import Kind

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Json

CANARY = Kind("flagger.app", "v1beta1", "Canary", "canaries")
METRIC_TEMPLATE = Kind("flagger.app", "v1beta1", "MetricTemplate", "metrictemplates")
ANALYSIS_TEMPLATE = Kind("argoproj.io", "v1alpha1", "AnalysisTemplate", "analysistemplates")
CLUSTER_ANALYSIS_TEMPLATE = Kind(
    "argoproj.io", "v1alpha1", "ClusterAnalysisTemplate", "clusteranalysistemplates", namespaced=False
)
ALERT_PROVIDER = Kind("flagger.app", "v1beta1", "AlertProvider", "alertproviders")

DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
DAEMON_SET = Kind("apps", "v1", "DaemonSet", "daemonsets")
CONTROLLER_REVISION = Kind("apps", "v1", "ControllerRevision", "controllerrevisions")
STATEFUL_SET = Kind("apps", "v1", "StatefulSet", "statefulsets")
REPLICA_SET = Kind("apps", "v1", "ReplicaSet", "replicasets")
KNATIVE_SERVICE = Kind("serving.knative.dev", "v1", "Service", "services")

HPA = Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
SCALED_OBJECT = Kind("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects")

SERVICE = Kind("", "v1", "Service", "services")
POD = Kind("", "v1", "Pod", "pods")
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
SECRET = Kind("", "v1", "Secret", "secrets")
EVENT = Kind("", "v1", "Event", "events")
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")
INGRESS = Kind("networking.k8s.io", "v1", "Ingress", "ingresses")

KINDS: tuple[Kind, ...] = (
    *(CANARY, METRIC_TEMPLATE, ALERT_PROVIDER),
    *(ANALYSIS_TEMPLATE, CLUSTER_ANALYSIS_TEMPLATE),
    *(DEPLOYMENT, DAEMON_SET, STATEFUL_SET, CONTROLLER_REVISION, KNATIVE_SERVICE),
    *(HPA, SCALED_OBJECT),
    *(SERVICE, POD, CONFIG_MAP, SECRET, EVENT, LEASE, INGRESS, ENDPOINT_SLICE),
)

"""The kinds of the objects that the controller reads and writes."""

CUSTOM_RESOURCE_DEFINITION = Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)


def by_object(body: Json) -> Kind:
    """Return the kind of an object.

    An unlisted kind (such as those of meshes) gets its plural by the API's convention: `ingresses`, `policies`,
    `gateways`.
    """
    group, _, version = str(body["apiVersion"]).rpartition("/")
    kind = str(body["kind"])
    return _BY_NAME.get((group, version, kind)) or Kind(group, version, kind, _plural(kind.lower()))


_BY_NAME = {(kind.group, kind.version, kind.kind): kind for kind in KINDS}


def _plural(word: str) -> str:
    if word.endswith(("s", "x", "ch", "sh")):
        return f"{word}es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"
