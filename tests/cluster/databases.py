"""A StatefulSet with its Service under a Canary, whose revisions are the tags of its image."""

from __future__ import annotations

from canarycore_kubernetes.api.kinds import CANARY, STATEFUL_SET

LABELS = {"app": "db"}


def stateful_set(replicas, /, image="db:1", **spec):
    pod = {"terminationGracePeriodSeconds": 0, "containers": [{"name": "db", "image": image}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db"},
        "spec": {
            "serviceName": "db",
            "replicas": replicas,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": pod},
            **spec,
        },
    }


def service():
    spec = {"clusterIP": "None", "selector": LABELS, "ports": [{"port": 5432}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}, "spec": spec}


def canary(analysis, **spec):
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "db"},
        "spec": {
            "provider": "replicas",
            "targetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"},
            "analysis": {"interval": "1s", "threshold": 2, "drain": "0s", **analysis},
            **spec,
        },
    }


def tag(body):
    """Return the tag of a pod's image."""
    return body["spec"]["containers"][0]["image"].rpartition(":")[2]


class StoredDatabase:
    """The StatefulSet and the Canary as an API server has them, and the changes by their owner."""

    def __init__(self, api, namespace):
        self.api, self.namespace = api, namespace

    def patch(self, **spec):
        self.api.patch(STATEFUL_SET.path(self.namespace, "db"), {"spec": spec})

    def bring(self, image, **spec):
        self.patch(template={"spec": {"containers": [{"name": "db", "image": image}]}}, **spec)

    def set_partition(self, partition):
        self.patch(updateStrategy={"rollingUpdate": {"partition": partition}})

    def command(self, text):
        patch = {"metadata": {"annotations": {"canarycore/command": text}}}
        self.api.patch(CANARY.path(self.namespace, "db"), patch)

    @property
    def body(self):
        return self.api.get(STATEFUL_SET.path(self.namespace, "db"))

    @property
    def partition(self):
        return self.body["spec"]["updateStrategy"]["rollingUpdate"]["partition"]

    @property
    def status(self):
        return (self.api.get(CANARY.path(self.namespace, "db")) or {}).get("status", {})

    def is_at(self, phase, weight):
        """Check the phase and the weight of the rollout."""
        status = self.status
        return (status.get("phase"), status.get("canaryWeight", 0)) == (phase, weight)
