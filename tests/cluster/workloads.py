"""Test benches for targets of every kind on a real API server: an owner changes them, controllers run them."""

from __future__ import annotations

import time
from collections import Counter

from canarycore_kubernetes.api.client import Client, Unreachable
from canarycore_kubernetes.api.kinds import CANARY, DEPLOYMENT, KNATIVE_SERVICE, SERVICE, STATEFUL_SET
from canarycore_kubernetes.api.metadata import REVISION, UP
from canarycore_kubernetes.api.snapshots import snapshot_view
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_kubernetes.scaling.autoscalers import SCALERS
from canarycore_kubernetes.scaling.stateful_sets import ScaledSet, stateful_sets
from canarycore_kubernetes.workloads.configs import CONFIGS
from canarycore_kubernetes.workloads.facts import ReadingOptions, pod_views
from canarycore_kubernetes.workloads.knative_workload import KNATIVE_REVISION
from canarycore_kubernetes.workloads.port import ClusterWorkloads
from tests.cluster.patience import until

IMAGES = {"one": "podinfo:6.0.0", "two": "podinfo:6.0.1", "three": "podinfo:6.0.2", "four": "podinfo:6.0.3"}


def meta(name="podinfo", **metadata):
    return {"name": name, **metadata}


def canary(target_kind="Deployment", api_version="apps/v1", **spec):
    target = {"apiVersion": api_version, "kind": target_kind, "name": "podinfo"}
    analysis = {"interval": "10s", "threshold": 3, "iterations": 3}
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": meta(),
        "spec": {"targetRef": target, "service": {"port": 9898}, "analysis": analysis, **spec},
    }


def pods(kind, image, **pod_spec):
    spec = {"containers": [{"name": "app", "image": image}], **pod_spec}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": meta(labels={"app": "podinfo", "team": "web"}, annotations={"note": "mine"}),
        "spec": {
            **({"replicas": 2} if kind == "Deployment" else {}),
            "selector": {"matchLabels": {"app": "podinfo"}},
            "template": {"metadata": {"labels": {"app": "podinfo"}}, "spec": spec},
        },
    }


class Bench:
    """One Canary and its target. An owner changes the target, and the cluster's controllers run it."""

    def __init__(self, cluster, namespace, api, reading=None, **options):
        self.cluster, self.namespace, self.api = cluster, namespace, api
        self.canaries = Canaries(cluster)
        self.reading = reading or ReadingOptions()
        self.adapter = ClusterWorkloads(cluster, self.canaries, self.reading, **options)

    async def begin(self, body):
        self.api.create(body, self.namespace)
        key = f"{self.namespace}/podinfo"
        stored = await until(lambda: self.canaries.load(key))
        self.rollout = stored.rollout
        return self

    async def begin_again(self, body):
        """Delete the Canary and create it again, as its owner."""
        uid = self.canaries.require(self.rollout).uid
        self.api.delete(CANARY.path(self.namespace, "podinfo"))
        self.api.create(body, self.namespace)
        key = f"{self.namespace}/podinfo"

        async def has_come():
            stored = await self.canaries.load(key)
            return stored if stored is not None and self.canaries.require(stored.rollout).uid != uid else None

        self.rollout = (await until(has_come)).rollout

    async def gone(self):
        """Wait until the cache has no target."""
        cache = await self.cluster.cache(self.view).ready()
        await until(lambda: cache.get(self.namespace, "podinfo") is None)

    # the owner --------------------------------------------------------------------------------------------------

    async def deploy(self, label):
        self.api.apply(self.target(IMAGES[label]), self.namespace)
        await self.caught_up(self.kind, self.view)
        return (await self.adapter.observe(self.rollout)).target.revision

    def body(self, kind, name):
        return self.api.get(kind.path(self.namespace, name))

    def patch(self, kind, name, patch):
        return self.api.patch(kind.path(self.namespace, name), patch)

    async def caught_up(self, kind, view, name="podinfo"):
        """Wait until the cache has the object that was just written."""
        cache, wanted = await self.cluster.cache(view).ready(), self.body(kind, name)["metadata"]["resourceVersion"]
        await until(lambda: int(cache.version(self.namespace, name) or 0) >= int(wanted))

    # observations -----------------------------------------------------------------------------------------------

    async def seen(self):
        return await self.adapter.observe(self.rollout)

    async def settle(self):
        await until(self._is_settled)

    async def _is_settled(self):
        seen = await self.seen()
        return all(side is None or self._is_whole(side) for side in (seen.target, seen.primary))

    def _is_whole(self, side):
        return side.desired == side.updated == side.ready == side.total


class PodBench(Bench):
    def __init__(self, *args, kind=DEPLOYMENT, pod_spec=None, **options):
        super().__init__(*args, **options)
        self.kind, self.view, self.pod_spec = kind, pod_views(self.reading)[kind], pod_spec or {}

    def target(self, image):
        return pods(self.kind.kind, image, **self.pod_spec)

    def _is_whole(self, side):
        if side.desired:
            return super()._is_whole(side)
        return side.ready == side.total == 0


class ServiceBench(Bench):
    kind, view = SERVICE, snapshot_view(SERVICE)

    def target(self, image):
        name = f"v{image.rpartition(':')[2]}.example.com"
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta(),
            "spec": {"type": "ExternalName", "externalName": name, "ports": [{"name": "http", "port": 9898}]},
        }


class ClusterServiceBench(ServiceBench):
    def target(self, image):
        spec = {"selector": {"version": image.rpartition(":")[2]}, "ports": [{"name": "http", "port": 9898}]}
        return {"apiVersion": "v1", "kind": "Service", "metadata": meta(), "spec": spec}


class KnativeBench(Bench):
    """A stand-in for Knative's controller: each new template is a new Revision, which is ready at once."""

    kind, view = KNATIVE_SERVICE, snapshot_view(KNATIVE_SERVICE, status=True)

    def target(self, image):
        template = {"spec": {"containers": [{"image": image}]}}
        return {
            "apiVersion": KNATIVE_SERVICE.api_version,
            "kind": "Service",
            "metadata": meta(),
            "spec": {"template": template},
        }

    async def deploy(self, label):
        self.api.apply(self.target(IMAGES[label]), self.namespace)
        name = f"podinfo-{label}"
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        revision = {
            "apiVersion": KNATIVE_SERVICE.api_version,
            "kind": "Revision",
            "metadata": meta(name),
            "spec": {"containers": [{"image": IMAGES[label]}]},
        }
        self.api.apply(revision, self.namespace)
        self.patch_status(KNATIVE_REVISION, name, ready)
        self.patch_status(KNATIVE_SERVICE, "podinfo", {"latestCreatedRevisionName": name})
        await self.caught_up(KNATIVE_SERVICE, self.view)
        return name

    def patch_status(self, kind, name, status):
        self.api.patch(f"{kind.path(self.namespace, name)}/status", {"status": status})


class StatefulBench(Bench):
    """A StatefulSet. The driver repeats the effects until the pods have followed, as `settle` does here."""

    kind, view = STATEFUL_SET, stateful_sets(time.time)

    def target(self, image):
        body = pods("StatefulSet", image, terminationGracePeriodSeconds=0)
        return body | {"spec": body["spec"] | {"serviceName": "podinfo", "replicas": 3}}

    async def deploy(self, label):
        self.api.apply(self.target(IMAGES[label]), self.namespace)

        async def is_seen():
            facts = (await self.cluster.cache(self.view).ready()).get(self.namespace, "podinfo")
            body = self.body(STATEFUL_SET, "podinfo")
            status = body.get("status", {})
            is_current = status.get("observedGeneration") == body["metadata"]["generation"]
            return facts is not None and is_current and facts.update == status["updateRevision"]

        await until(is_seen)
        return (await self.seen()).target.revision

    async def settle(self):
        async def is_settled():
            is_up = self.is_up
            if is_up is not None:
                await (self.adapter.scale_up if is_up else self.adapter.scale_down)(self.rollout)
                await self._evict_next()
            seen = await self.seen()
            is_down = is_up is not False or seen.target.desired == 0
            return is_down and not seen.restorable and await self._is_settled()

        await until(is_settled)

    async def _evict_next(self):
        """Take one pod back that is too many for the weight, as the router does."""
        key = f"{self.namespace}/podinfo"
        await ScaledSet(cluster=self.cluster, namespace=self.namespace, name="podinfo", key=key).evict_next()

    @property
    def is_up(self):
        """Whether the newest revision takes part; None without a rollout."""
        marks = (self.body(STATEFUL_SET, "podinfo") or {}).get("metadata", {}).get("annotations", {})
        return UP in marks if REVISION in marks else None


HPA_BODY = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": meta(),
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
        "minReplicas": 2,
        "maxReplicas": 4,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 90}},
            }
        ],
    },
}
KEDA_BODY = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": meta("so"),
    "spec": {
        "scaleTargetRef": {"name": "podinfo"},
        "minReplicaCount": 2,
        "maxReplicaCount": 4,
        "triggers": [{"type": "cron", "metadata": {"query": 'sum(x{app="podinfo"})'}}],
    },
}
BY_HPA = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo"}
BY_KEDA = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "so"}


def opener(cluster, namespace, api):
    """Return a function that makes a bench from its class, a Canary, and further objects."""

    async def make(bench, body, *others, **options):
        for other in others:
            api.create(other, namespace)
        made = bench(cluster, namespace, api, **options)
        for other in others:
            if other["kind"] in SCALERS:
                view = SCALERS[other["kind"]]
                await made.caught_up(view.kind, view, other["metadata"]["name"])
        return await made.begin(body)

    return make


async def initialised(bench):
    """Give the primary version one and the target version two, without waiting for pods."""
    one = await bench.deploy("one")
    await bench.adapter.initialise(bench.rollout, one)
    return one, await bench.deploy("two")


# configs ------------------------------------------------------------------------------------------------------------


def config(name="env", kind="ConfigMap", **parts):
    return {"apiVersion": "v1", "kind": kind, "metadata": meta(name), **({"data": {"key": "one"}} | parts)}


READS = {
    "containers": [{"name": "app", "image": "podinfo:1", "envFrom": [{"configMapRef": {"name": "env"}}]}],
    "volumes": [
        {"name": "secret", "secret": {"secretName": "keys"}},
        {"name": "shared", "configMap": {"name": "shared"}},
        {"name": "maybe", "configMap": {"name": "missing", "optional": True}},
    ],
}


class ConfigBench(PodBench):
    def target(self, image):
        body = pods("Deployment", image, **READS)
        body["spec"]["template"]["spec"]["containers"][0]["image"] = image
        return body

    async def change(self, kind, name, patch):
        self.patch(kind, name, patch)
        await self.caught_up(kind, CONFIGS[kind], name)

    async def target_revision(self):
        return (await self.seen()).target.revision


def holding(bench, kind, name):
    body = bench.body(kind, name) or {}
    return {part: body[part] for part in ("data", "binaryData") if part in body}


# requests to the server ----------------------------------------------------------------------------------------------


class Requests:
    """The requests to the server since the creation of this object."""

    def __init__(self, monkeypatch):
        self.made, self.failed = [], False
        self._fail_at, self._lost = 0, False
        exchange = Client._exchange

        async def counted(client, method, path, **request):
            self.made.append(method)
            fails = self._is_to_fail()
            if fails and not self._lost:
                raise _broken()
            try:
                return await exchange(client, method, path, **request)
            finally:
                if fails:
                    raise _broken()

        monkeypatch.setattr(Client, "_exchange", counted)

    def fail(self, number, *, lost):
        """Break the write of that number, counted from now: the server does not make it, or (lost) does not answer."""
        self.made.clear()
        self._fail_at, self._lost, self.failed = number, lost, False

    def _is_to_fail(self):
        writes = [method for method in self.made if method != "GET"]
        fails = self.made[-1] != "GET" and len(writes) == self._fail_at
        self.failed |= fails
        return fails

    def taken(self):
        """Return the number of requests by method since the last call."""
        counted = Counter(self.made)
        self.made.clear()
        return dict(counted)


def _broken():
    return Unreachable("the connection broke", sent=True)
