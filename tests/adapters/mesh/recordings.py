"""Flagger's writes in the golden traces: each routing object at each write, and the objects of that moment."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from canarycore.manifest import parse, resolve
from canarycore_runtime.mesh import ObjectsByRef, PodSelectors, Ref, RenderContext
from tests.adapters.mesh.meshes import mesh_of
from tests.conformance.objects import patched
from tests.conformance.trace import Trace, acts

Json = dict[str, Any]


@frozen(kw_only=True)
class RecordedWrite:
    """One write."""

    tick: str
    context: RenderContext
    ref: Ref
    body: Json
    """The object after the write."""
    objects: ObjectsByRef
    """All objects that the mesh refers to, after the write."""


def writes(trace: Trace) -> Iterator[RecordedWrite]:
    """Yield each routing object that Flagger created or updated, as it was then."""
    namespace, provider = trace.namespace, trace.canary["spec"].get("provider") or trace.flag("mesh-provider")
    mesh, objects, manifest = mesh_of(provider), _Objects(namespace, trace.objects), trace.canary
    actions = [action for action in trace.actions if acts(action)]
    for frame in trace.timeline:
        if "action" in frame:
            manifest = objects.act(actions.pop(0), manifest)
        for step in frame.get("steps", ()):
            if "write" not in step or step.get("code", 200) >= 300:
                continue
            kind, name = objects.write(step)
            context = _context(manifest, provider, namespace)
            refs = {ref: body for ref in mesh.refs(context) if (body := objects.get(ref))}
            for ref, body in refs.items():
                if (ref.kind.plural, ref.name) == (kind, name):
                    tick = str(frame.get("tick", "between"))
                    yield RecordedWrite(
                        tick=tick, context=context, ref=ref, body=copy.deepcopy(body), objects=copy.deepcopy(refs)
                    )


def context_of(trace: Trace) -> RenderContext:
    """Return the context of a trace's first Canary."""
    provider = trace.canary["spec"].get("provider") or trace.flag("mesh-provider")
    return _context(trace.canary, provider, trace.namespace)


def _context(manifest: Json, provider: str, namespace: str) -> RenderContext:
    canary = parse({**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}})
    target = canary.spec.target_ref
    pods = PodSelectors() if target.kind == "Service" else PodSelectors.by_label("app", target.name)
    return RenderContext(canary=canary, rollout=resolve(canary, provider=provider), pods=pods)


class _Objects:
    """All objects of the trace's namespace, by resource and name."""

    def __init__(self, namespace: str, bodies: tuple[Json, ...]) -> None:
        self._by_name: dict[tuple[str, str], Json] = {}
        for body in copy.deepcopy(bodies):
            body["metadata"].setdefault("namespace", namespace)
            self._by_name[_plural(body["kind"]), body["metadata"]["name"]] = body

    def get(self, ref: Ref) -> Json | None:
        return self._by_name.get((ref.kind.plural, ref.name))

    def write(self, step: Json) -> tuple[str, str]:
        resource, name = step["write"].split()[1].rsplit("/", 1)
        place = (resource, name)
        if "object" in step:
            self._by_name[place] = copy.deepcopy(step["object"])
        elif "diff" in step or "patch" in step:
            change = step.get("diff") or step.get("patch") or {}
            self._by_name[place] = patched(self._by_name.get(place, {"metadata": {"name": name}}), change)
        return place

    def act(self, action: Json, manifest: Json) -> Json:
        """Carry the action out and return the Canary after it."""
        change = action.get("patch")
        if change is None:
            return manifest
        if action["kind"] == "Canary":
            return patched(manifest, change)
        place = (_plural(action["kind"]), action["name"])
        self._by_name[place] = patched(self._by_name.get(place, {"metadata": {"name": place[1]}}), change)
        return manifest


def _plural(kind: str) -> str:
    return {"Ingress": "ingresses", "HTTPProxy": "httpproxies"}.get(kind, f"{kind.lower()}s")


def drop_empty(body: Any) -> Any:
    """Return JSON without None and empty texts, lists and mappings."""
    if isinstance(body, dict):
        items = ((key, drop_empty(value)) for key, value in body.items())
        return {key: value for key, value in items if value not in (None, "", [], {})}
    return [drop_empty(value) for value in body] if isinstance(body, list) else body
