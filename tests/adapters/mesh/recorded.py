"""What Flagger wrote in the golden traces: each routing object at each write, and what it found then."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from canarycore.manifest import parse, resolve
from canarycore_runtime.mesh import ObjectsByRef, Ref, RenderContext
from tests.adapters.mesh.meshes import mesh_of
from tests.conformance.objects import patched
from tests.conformance.trace import Trace, acts

Json = dict[str, Any]


@frozen(kw_only=True)
class Written:
    """One write. `found`: what the mesh looks at, with the written object as it is after the write."""

    tick: str
    asked: RenderContext
    ref: Ref
    body: Json
    found: ObjectsByRef


def writes(trace: Trace) -> Iterator[Written]:
    """The routing objects that Flagger created or updated, as they were then."""
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
            asked = _asked(manifest, provider, namespace)
            refs = {ref: body for ref in mesh.refs(asked) if (body := objects.get(ref))}
            for ref, body in refs.items():
                if (ref.kind.plural, ref.name) == (kind, name):
                    tick = str(frame.get("tick", "between"))
                    yield Written(tick=tick, asked=asked, ref=ref, body=copy.deepcopy(body), found=copy.deepcopy(refs))


def asked_for(trace: Trace) -> RenderContext:
    """The Canary of a trace, as it began."""
    provider = trace.canary["spec"].get("provider") or trace.flag("mesh-provider")
    return _asked(trace.canary, provider, trace.namespace)


def _asked(manifest: Json, provider: str, namespace: str) -> RenderContext:
    canary = parse({**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}})
    target = canary.spec.target_ref
    pods = ("", "") if target.kind == "Service" else ("app", target.name)
    return RenderContext(canary=canary, rollout=resolve(canary, provider=provider), pods=pods)


class _Objects:
    """All objects of the trace's namespace, by resource and name."""

    def __init__(self, namespace: str, given: tuple[Json, ...]) -> None:
        self._by_name: dict[tuple[str, str], Json] = {}
        for body in given:
            known = copy.deepcopy(body)
            known["metadata"].setdefault("namespace", namespace)
            self._by_name[_plural(body["kind"]), body["metadata"]["name"]] = known

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
        """Carry the action out; returns the Canary after it."""
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


def normal(body: Any) -> Any:
    """Without what says nothing: empty texts, lists and mappings."""
    if isinstance(body, dict):
        items = ((key, normal(value)) for key, value in body.items())
        return {key: value for key, value in items if value not in (None, "", [], {})}
    return [normal(value) for value in body] if isinstance(body, list) else body
