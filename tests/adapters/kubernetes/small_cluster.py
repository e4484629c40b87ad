"""A cluster of a few objects for readers: caches, `get`, and a count of the requests."""

from __future__ import annotations

import base64

from canarycore.errors import WorldError
from canarycore.manifest import parse, resolve


class Objects:
    """Stands in for a Cluster. `down`: whatever is asked of the server fails."""

    def __init__(self, *bodies):
        self.bodies = {}
        self.reads = []
        self.down = False
        self.missing_kinds = set()
        self.put(*bodies)

    def put(self, *bodies):
        for given in bodies:
            home = "" if given["kind"].startswith("Cluster") else "default"
            body = dict(given, metadata={"namespace": home} | given["metadata"])
            if body["kind"] == "Secret":
                texts = body.pop("stringData", {}).items()
                body["data"] = {key: base64.b64encode(text.encode()).decode() for key, text in texts}
            self.bodies[body["kind"], body["metadata"]["namespace"], body["metadata"]["name"]] = body

    def cache(self, view):
        return Cached(self, view)

    async def get(self, kind, namespace, name):
        self.reads.append((kind.kind, namespace, name))
        if self.down:
            raise WorldError("the API server cannot be reached")
        return self.bodies.get((kind.kind, namespace, name))


class Cached:
    def __init__(self, objects, view):
        self.objects, self.view = objects, view
        self.is_kind_missing = view.kind.kind in objects.missing_kinds

    async def ready(self):
        return self

    def get(self, namespace, name):
        body = self.objects.bodies.get((self.view.kind.kind, namespace, name))
        return None if body is None else self.view.project(body, None)


class Canaries:
    """A store of manifests by rollout."""

    def __init__(self):
        self.canaries = {}

    def add(self, manifest, provider="istio", templates=()):
        canary = parse(manifest)
        rollout = resolve(canary, templates=templates, provider=provider)
        self.canaries[rollout.full_name] = canary
        return rollout

    def __call__(self, rollout):
        canary = self.canaries.get(rollout.full_name)
        if canary is None:
            raise WorldError(f"canary {rollout.full_name} is gone")
        return canary


def secret(name, namespace="default", **values):
    return {"kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "stringData": values}
