"""The installation of the controller as plain objects: definitions, RBAC rules, the Deployment, admission.

    objects(InstallOptions(namespace="canarycore", providers=("istio",)))

The definitions are Flagger's kinds with additional fields, so existing Canaries stay valid. The tests of the controller
run under the same RBAC rules. They cover only the routing objects of the named providers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from attrs import asdict, fields, frozen

from canarycore.manifest import schema
from canarycore_kubernetes.deploy.admission import admission
from canarycore_kubernetes.deploy.network_policy import EVERYWHERE, Destination, destinations_of, policy_spec
from canarycore_runtime.plugins import load_declaration, parse_plugin_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from canarycore_runtime.mesh import Json
    from canarycore_runtime.plugins import PluginDeclaration

GROUP = "flagger.app"
NAME = "canarycore"
LEASE = "flagger-leader-election"
PORT = 8080

OBSERVER = f"{NAME}-observer"

READ = ("get", "list", "watch")
WATCH = ("list", "watch")
OWN = (*READ, "create", "patch")

Right = tuple[str, str, tuple[str, ...]]
"""API group, resource, verbs."""

RIGHTS: tuple[Right, ...] = (
    # the Canary, its status and the resources that it refers to
    (GROUP, "canaries", (*WATCH, "patch")),
    (GROUP, "canaries/status", ("patch",)),
    (GROUP, "canaries/finalizers", ("update",)),  # required for owner references that block deletion
    (GROUP, "metrictemplates", WATCH),
    (GROUP, "alertproviders", WATCH),
    ("argoproj.io", "analysistemplates", WATCH),  # where a Canary refers to one; a cluster may lack the kinds
    ("argoproj.io", "clusteranalysistemplates", WATCH),
    ("apiextensions.k8s.io", "customresourcedefinitions", ("get",)),  # the fields that the definition of Canaries drops
    # targets, their primary copies and the objects that these use; copies that are no longer needed are deleted
    ("apps", "deployments", (*OWN, "delete")),
    ("apps", "daemonsets", (*OWN, "delete")),
    ("apps", "controllerrevisions", ("get", "create", "delete")),
    ("", "services", (*OWN, "delete")),
    ("discovery.k8s.io", "endpointslices", WATCH),
    ("", "configmaps", (*OWN, "delete")),  # deleted with the earlier revision that read them
    ("", "secrets", (*OWN, "delete")),
    ("autoscaling", "horizontalpodautoscalers", (*OWN, "delete")),
    ("keda.sh", "scaledobjects", (*OWN, "delete")),
    # events
    ("", "events", ("create", "patch")),
)
"""Rights of every controller, in each namespace that it observes."""

ROUTING_RIGHTS: dict[str, tuple[tuple[str, str], ...]] = {
    "kubernetes": (),
    "replicas": (("apps", "statefulsets"), ("", "pods"), ("", "pods/eviction")),
    "istio": (("networking.istio.io", "virtualservices"), ("networking.istio.io", "destinationrules")),
    "appmesh": (("appmesh.k8s.aws", "virtualnodes"), ("appmesh.k8s.aws", "virtualservices")),
    "appmesh:v1beta2": (
        ("appmesh.k8s.aws", "virtualnodes"),
        ("appmesh.k8s.aws", "virtualrouters"),
        ("appmesh.k8s.aws", "virtualservices"),
    ),
    "gatewayapi:v1": (("gateway.networking.k8s.io", "httproutes"),),
    "gatewayapi:v1beta1": (("gateway.networking.k8s.io", "httproutes"),),
    "nginx": (("networking.k8s.io", "ingresses"),),
    "skipper": (("networking.k8s.io", "ingresses"),),
    "alb": (("networking.k8s.io", "ingresses"),),
    "traefik": (("traefik.io", "traefikservices"),),
    "contour": (("projectcontour.io", "httpproxies"),),
    "gloo": (("gateway.solo.io", "routetables"), ("gloo.solo.io", "upstreams")),
    "apisix": (("apisix.apache.org", "apisixroutes"),),
    "kuma": (("kuma.io", "trafficroutes"),),
    "knative": (("serving.knative.dev", "services"), ("serving.knative.dev", "revisions")),
    **dict.fromkeys(
        ("linkerd", "osm", "smi:v1alpha1", "smi:v1alpha2", "smi:v1alpha3"), (("split.smi-spec.io", "trafficsplits"),)
    ),
}
"""The routing objects of each provider."""

_FURTHER_ROUTES = tuple(("gateway.networking.k8s.io", kind) for kind in ("grpcroutes", "tcproutes", "tlsroutes"))
FURTHER_ROUTING_RIGHTS: dict[str, tuple[tuple[str, str], ...]] = {
    "gatewayapi:v1": _FURTHER_ROUTES,
    "gatewayapi:v1beta1": _FURTHER_ROUTES,
}
"""Routing objects that only some Canaries of a provider need. A cluster may lack their kinds."""

_GATEWAYS = (("gateway.networking.k8s.io", "gateways"), ("gateway.networking.k8s.io", "gatewayclasses"))
READ_RIGHTS: dict[str, tuple[tuple[str, str], ...]] = {
    "gatewayapi:v1": _GATEWAYS,
    "gatewayapi:v1beta1": _GATEWAYS,
}
"""Further objects of each provider, which the controller only gets: their features."""

ROUTING_VERBS = (*WATCH, "create", "patch", "delete")
"""Verbs for routing objects."""

TARGET_VERBS: dict[tuple[str, str], tuple[str, ...]] = {
    ("serving.knative.dev", "services"): (*READ, "patch"),
    ("serving.knative.dev", "revisions"): READ,
    ("apps", "statefulsets"): (*READ, "patch"),
    ("", "pods"): WATCH,  # the revisions of a StatefulSet's pods; no other pods are listed
    ("", "pods/eviction"): ("create",),  # the way back of a StatefulSet; unlike a deletion, it respects budgets
}
"""Verbs for routing objects that are also targets or parts of one: the controller never creates or deletes these."""

_LEASES = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
ELECTION: tuple[Json, ...] = (
    {**_LEASES, "verbs": ["create"]},
    {
        **_LEASES,
        "resourceNames": [LEASE],
        "verbs": ["get", "patch"],
    },
)
"""Rules of the role for leader election, in the namespace of the Lease."""

POD_NAMESPACE = "POD_NAMESPACE"
"""The environment variable with the namespace of the pod, so that a tool may set the namespace of all objects."""

ELECTION_FLAGS = ("--enable-leader-election", f"--leader-election-namespace=$({POD_NAMESPACE})")

SETTINGS = f"{NAME}/settings"
"""The annotation of the Deployment with its settings, which a later `canary install` keeps."""

POD_ANNOTATIONS = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(PORT),
    "appmesh.k8s.aws/sidecarInjectorWebhook": "disabled",
    "linkerd.io/inject": "enabled",  # the Prometheus of Linkerd admits only meshed pods
}
"""Annotations of the pods, as Flagger's chart sets them."""


@frozen(kw_only=True)
class InstallOptions:
    """The options of an installation."""

    namespace: str = NAME
    """The namespace of the controller."""
    providers: tuple[str, ...] = ("kubernetes",)
    """Mesh providers whose routing objects the controller may write; the first one is its default."""
    watched: str = ""
    """The only namespace that the controller observes and has rights in; empty for all."""
    image: str = f"{NAME}:0.1.0"
    """The container image."""
    plugins: tuple[str, ...] = ()
    """Plug-ins as KIND/NAME, such as `metric/acme`, whose rights the controller gets. Those of meshes are providers."""
    replicas: int = 2
    """The number of replicas; an observer has one."""
    metrics_server: str = "http://prometheus.monitoring:9090"
    """The address of Prometheus."""
    monitored: bool = False
    """Whether to install a ServiceMonitor for the Prometheus operator."""
    flags: tuple[str, ...] = ()
    """Further flags of the controller."""
    observe: bool = False
    """Whether to install an observer beside the running controller. It may only read, and comes without definitions and
    admission policy."""
    isolated: bool = False
    """Whether to install a NetworkPolicy that allows only the connections that the controller needs."""
    api_server: tuple[str, ...] = EVERYWHERE
    """Networks of the API server in CIDR notation, for the NetworkPolicy."""
    destinations: tuple[Destination, ...] = ()
    """Further allowed destinations, for the NetworkPolicy."""

    @property
    def name(self) -> str:
        """The name of the installed objects."""
        return OBSERVER if self.observe else NAME

    def settings(self) -> Json:
        """Return the options that differ from the defaults as JSON, except `namespace` and `observe`."""
        values = asdict(self)
        defaults = asdict(InstallOptions(namespace=self.namespace, observe=self.observe))
        return {name: value for name, value in values.items() if value != defaults[name]}

    @classmethod
    def from_settings(cls, settings: Json, *, namespace: str, observe: bool = False) -> InstallOptions:
        """Return the options of an installation with these settings; settings of other versions do not count."""
        names = {each.name for each in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in settings.items()
            if name in names
        }
        values["destinations"] = tuple(Destination(**each) for each in settings.get("destinations", ()))
        return cls(**values | {"namespace": namespace, "observe": observe})


def objects(install: InstallOptions) -> tuple[Json, ...]:
    """Return all objects, in the order in which to apply them."""
    return (
        *(() if install.observe else _definitions_and_admission(install)),
        _object("v1", "Namespace", install.namespace),
        _object("v1", "ServiceAccount", install.name, install.namespace, app=install.name),
        *_rights(install),
        _deployment(install),
        _service(install),
        *([_monitor(install)] if install.monitored else []),
        *([_isolation(install)] if install.isolated else []),
    )


def _definitions_and_admission(install: InstallOptions) -> Iterator[Json]:
    yield from definitions()
    for declaration in find_declarations(install.providers, install.plugins):
        yield from declaration.definitions
    yield from admission(install.providers[0], watched=install.watched)


def objects_with_settings(install: InstallOptions) -> Iterator[Json]:
    """Yield all objects in order; the Deployment has the options as an annotation, for the next `canary install`."""
    for body in objects(install):
        if body["kind"] == "Deployment":
            body["metadata"]["annotations"] = {SETTINGS: json.dumps(install.settings())}
        yield body


# definitions --------------------------------------------------------------------------------------------------------

_CANARY_COLUMNS = (
    ("Status", "string", ".status.phase", 0),
    ("Weight", "string", ".status.canaryWeight", 0),
    ("Suspended", "boolean", ".spec.suspend", 1),
    ("FailedChecks", "string", ".status.failedChecks", 1),
    ("Interval", "string", ".spec.analysis.interval", 1),
    ("StepWeight", "string", ".spec.analysis.stepWeight", 1),
    ("MaxWeight", "string", ".spec.analysis.maxWeight", 1),
    ("LastTransitionTime", "string", ".status.lastTransitionTime", 0),
)
_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "format": "int64"}
_CONDITION = {
    "type": "object",
    "required": ["type", "status", "reason"],
    "properties": dict.fromkeys(("type", "status", "reason", "message", "lastUpdateTime", "lastTransitionTime"), _TEXT),
}
_CHECK_RESULT = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("name", "verdict", "value", "range", "error"), _TEXT),
        "samples": _COUNT,
    },
}
_ANALYSIS_RESULT = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("time", "revision", "failures"), _TEXT),
        **dict.fromkeys(("weight", "iteration"), _COUNT),
        "checks": {"type": "array", "items": _CHECK_RESULT},
    },
}
_ROLLOUT_END = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("time", "phase", "reason", "revision", "cause"), _TEXT),
        "lastAnalysis": _ANALYSIS_RESULT,
    },
}
_CANARY_STATUS = {
    "type": "object",
    "properties": {
        "phase": _TEXT,
        **dict.fromkeys(("failedChecks", "canaryWeight", "iterations"), _NUMBER),
        **dict.fromkeys(("lastAppliedSpec", "lastPromotedSpec", "lastTransitionTime"), _TEXT),
        **dict.fromkeys(
            ("sessionAffinityCookie", "previousSessionAffinityCookie", "primarySessionAffinityCookie"), _TEXT
        ),
        "trackedConfigs": {"type": "object", "additionalProperties": _TEXT},
        "conditions": {"type": "array", "items": _CONDITION},
        # our own fields
        NAME: _TEXT,
        "observedGeneration": _COUNT,
        "lastAnalysis": _ANALYSIS_RESULT,
        "lastEnd": _ROLLOUT_END,
        "rejectedRevisions": {"type": "array", "items": _TEXT},
    },
}
_KINDS: tuple[tuple[str, str, tuple[tuple[str, str, str, int], ...], dict[str, Any]], ...] = (
    ("Canary", "canaries", _CANARY_COLUMNS, {"status": _CANARY_STATUS}),
    ("MetricTemplate", "metrictemplates", (("Provider", "string", ".spec.provider.type", 0),), {}),
    ("AlertProvider", "alertproviders", (("Type", "string", ".spec.type", 0),), {}),
)


def definitions() -> Iterator[Json]:
    """Yield the CustomResourceDefinitions of Flagger's kinds, with our additional fields."""
    for kind, plural, columns, further in _KINDS:
        version = {
            "name": "v1beta1",
            "served": True,
            "storage": True,
            "subresources": {"status": {}},
            "additionalPrinterColumns": [
                {"name": name, "type": form, "jsonPath": path, **({"priority": priority} if priority else {})}
                for name, form, path, priority in columns
            ],
            "schema": {
                "openAPIV3Schema": {
                    "type": "object",
                    "required": ["spec"],
                    "properties": {
                        "apiVersion": _TEXT,
                        "kind": _TEXT,
                        "metadata": {"type": "object"},
                        "spec": schema(kind),
                        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        **further,
                    },
                }
            },
        }
        yield {
            **_object("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{plural}.{GROUP}"),
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {
                    "kind": kind,
                    "listKind": f"{kind}List",
                    "plural": plural,
                    "singular": kind.lower(),
                    "categories": ["all"],
                },
                "versions": [version],
            },
        }


# rights -------------------------------------------------------------------------------------------------------------


def routing_rights(provider: str) -> tuple[tuple[str, str], ...]:
    """Return the API group and resource of each of a provider's routing objects.

    Raise UnknownProvider or BrokenAdapter for a provider that is neither Flagger's nor an installed plug-in's.
    """
    if provider in ROUTING_RIGHTS:
        return ROUTING_RIGHTS[provider]
    return tuple((right.group, right.resource) for right in load_declaration("meshes", provider).rights)


def find_declarations(providers: Iterable[str], plugins: Iterable[str] = ()) -> tuple[PluginDeclaration, ...]:
    """Return the declarations of the plug-ins among some providers, and of further ones as KIND/NAME.

    Raise UnknownProvider for one that is not installed, and BrokenAdapter for one that cannot be loaded.
    """
    meshes = (load_declaration("meshes", name) for name in providers if name not in ROUTING_RIGHTS)
    return (*meshes, *(load_declaration(*parse_plugin_name(plugin)) for plugin in plugins))


def rules(providers: Iterable[str], plugins: Iterable[str] = ()) -> list[Json]:
    """Return the rules of the controller's role for these mesh providers and further plug-ins."""
    providers = tuple(providers)
    read = dict.fromkeys(place for provider in providers for place in READ_RIGHTS.get(provider, ()))
    routing = dict.fromkeys(
        place
        for provider in providers
        for table in (ROUTING_RIGHTS, FURTHER_ROUTING_RIGHTS)
        for place in table.get(provider, ())
    )
    declared = dict.fromkeys(
        (right.group, right.resource, right.verbs)
        for declaration in find_declarations(providers, plugins)
        for right in declaration.rights
    )
    rights = (*RIGHTS, *((*place, TARGET_VERBS.get(place, ROUTING_VERBS)) for place in routing), *declared)
    return [_rule(*right) for right in (*rights, *((*place, ("get",)) for place in read))]


def observer_rules(providers: Iterable[str], plugins: Iterable[str] = ()) -> list[Json]:
    """Return the rules of an observer's role: it reads all objects that the controller reads, except Secrets."""
    granted = [(rule["apiGroups"][0], rule["resources"][0], rule["verbs"]) for rule in rules(providers, plugins)]
    places = [(group, resource) for group, resource, verbs in granted if set(WATCH) <= set(verbs)]
    return [_rule(*place, WATCH) for place in places if place != ("", "secrets")]


def _rule(group: str, resource: str, verbs: tuple[str, ...]) -> Json:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}


def _rights(install: InstallOptions) -> Iterator[Json]:
    kind = "Role" if install.watched else "ClusterRole"
    choose = observer_rules if install.observe else rules
    granted = choose(install.providers, install.plugins)
    yield from _role_and_binding(install, kind, install.name, install.watched, granted)
    if not install.observe:
        home = install.watched or install.namespace  # the Lease is there, as Flagger's is
        yield from _role_and_binding(install, "Role", f"{NAME}-election", home, list(ELECTION))


def _role_and_binding(
    install: InstallOptions, kind: str, name: str, namespace: str, granted: list[Json]
) -> Iterator[Json]:
    """Yield a role and its binding to the service account."""
    group = "rbac.authorization.k8s.io"
    yield _object(f"{group}/v1", kind, name, namespace, app=install.name) | {"rules": granted}
    yield _object(f"{group}/v1", f"{kind}Binding", name, namespace, app=install.name) | {
        "roleRef": {"apiGroup": group, "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": install.name, "namespace": install.namespace}],
    }


# the controller -----------------------------------------------------------------------------------------------------


def _deployment(install: InstallOptions) -> Json:
    flags = [
        f"--mesh-provider={install.providers[0]}",
        f"--metrics-server={install.metrics_server}",
        *(["--observe"] if install.observe else ELECTION_FLAGS),
        *([f"--namespace={install.watched}"] if install.watched else []),
        *install.flags,
    ]

    def probe(path: str) -> Json:
        return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 5}

    container = {
        "name": "controller",
        "image": install.image,
        "args": ["controller", *flags],
        "env": [{"name": POD_NAMESPACE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}],
        "ports": [{"name": "http", "containerPort": PORT}],
        "livenessProbe": probe("/healthz"),
        "readinessProbe": probe("/readyz"),
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return _object("apps/v1", "Deployment", install.name, install.namespace, app=install.name) | {
        "spec": {
            "replicas": 1 if install.observe else install.replicas,
            "selector": {"matchLabels": {"app.kubernetes.io/name": install.name}},
            "template": {
                "metadata": {"labels": _labels(install.name), "annotations": POD_ANNOTATIONS},
                "spec": {
                    "serviceAccountName": install.name,
                    "affinity": _spread(install.name),
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 10001,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container],
                },
            },
        }
    }


def _spread(name: str) -> Json:
    """Return an affinity that prefers another node for each replica."""
    labels = {"matchLabels": {"app.kubernetes.io/name": name}}
    term = {"labelSelector": labels, "topologyKey": "kubernetes.io/hostname"}
    return {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]
        }
    }


def _service(install: InstallOptions) -> Json:
    return _object("v1", "Service", install.name, install.namespace, app=install.name) | {
        "spec": {
            "selector": {"app.kubernetes.io/name": install.name},
            "ports": [{"name": "http", "port": PORT, "targetPort": "http"}],
        }
    }


def _monitor(install: InstallOptions) -> Json:
    return _object("monitoring.coreos.com/v1", "ServiceMonitor", install.name, install.namespace, app=install.name) | {
        "spec": {
            "namespaceSelector": {"matchNames": [install.namespace]},
            "selector": {"matchLabels": {"app.kubernetes.io/name": install.name}},
            "endpoints": [{"port": "http", "path": "/metrics", "interval": "15s"}],
        }
    }


def _isolation(install: InstallOptions) -> Json:
    metric_server = destinations_of(install.metrics_server, install.namespace)
    destinations = (*metric_server, *install.destinations)
    spec = policy_spec(install.name, port=PORT, destinations=destinations, api_server=install.api_server)
    return _object("networking.k8s.io/v1", "NetworkPolicy", install.name, install.namespace, app=install.name) | {
        "spec": spec
    }


def _object(api_version: str, kind: str, name: str, namespace: str = "", *, app: str = NAME) -> Json:
    metadata: Json = {"name": name, "labels": _labels(app)}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _labels(app: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": app, "app.kubernetes.io/part-of": NAME}
