"""The objects of a trace: patched as the API server would, and read for what makes a revision.

A revision is what the owner wrote: the target's template and the configs it uses. A config that the target does not
use, or that opted out of tracking, changes nothing.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Json = Any

CANARY = "Canary"
OPT_OUT = "flagger.app/config-tracking"


class Objects:
    """The objects of the namespace, by kind and name."""

    def __init__(self, objects: Iterable[Json]) -> None:
        self._by_name: dict[tuple[str, str], Json] = {}
        for given in objects:
            self.put(given)

    def put(self, given: Json) -> None:
        self._by_name[given["kind"], given["metadata"]["name"]] = _stored(copy.deepcopy(given))

    def get(self, kind: str, name: str) -> Json | None:
        return self._by_name.get((kind, name))

    def of_kind(self, kind: str) -> list[Json]:
        return [found for (known, _), found in self._by_name.items() if known == kind]

    def patch(self, kind: str, name: str, patch: Json) -> None:
        """A merge patch, or a JSON patch where it is a list. Objects that nobody put here start empty."""
        found = self._by_name.get((kind, name), {"kind": kind, "metadata": {"name": name}})
        self.put(patched(found, patch))

    def delete(self, kind: str, name: str) -> None:
        self._by_name.pop((kind, name), None)

    def revision(self, target: Json) -> str:
        """A hash of what the owner of `target` wrote."""
        written = [_template(target), [_data(config) for config in self._tracked(target)]]
        return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()[:10]

    def _tracked(self, target: Json) -> Iterator[Json]:
        for kind, name in sorted(set(_references(_template(target)))):
            config = self.get(kind, name)
            if config is None or config["metadata"].get("annotations", {}).get(OPT_OUT, "").startswith("disable"):
                continue
            yield config


def images(target: Json) -> str:
    """All images that the target runs, as one text to search in."""
    containers = _template(target).get("spec", {}).get("containers", ())
    return " ".join(container.get("image", "") for container in containers)


def replicas(target: Json) -> int:
    return int(target.get("spec", {}).get("replicas", 1))


def patched(found: Json, patch: Json) -> Json:
    """`found` after a merge patch (RFC 7386), or after a JSON patch (RFC 6902: add, replace, remove)."""
    if isinstance(patch, list):
        after = copy.deepcopy(found)
        for operation in patch:
            _operate(after, operation)
        return after
    if not isinstance(patch, Mapping):
        return patch
    after = dict(found) if isinstance(found, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = patched(after.get(name), value) if isinstance(value, Mapping) else value
    return after


def canary_weight(patch: Json) -> int | None:
    """The canary's weight that somebody writes into a route (percent), whatever kind of route it is; None if none.

    Routes name a weight per destination, the primary's first; one that is alone is the primary's unless its path or
    destination says otherwise. An ingress has the canary's weight as an annotation.
    """
    weights = list(_weights(patch, ""))
    canary = [weight for side, weight in weights if side == "canary"]
    primary = [weight for side, weight in weights if side == "primary"]
    unknown = [weight for side, weight in weights if not side]
    if canary:
        return canary[0]
    if primary:
        return 100 - primary[0]
    if len(unknown) > 1:
        return unknown[1]
    return 100 - unknown[0] if unknown else None


# ----------------------------------------------------------------------------------------------------------- details


def _stored(given: Json) -> Json:
    """As the API server keeps it: a Secret's `stringData` becomes `data`."""
    texts = given.pop("stringData", None) if given.get("kind") == "Secret" else None
    if texts:
        encoded = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
        given["data"] = {**given.get("data", {}), **encoded}
    return given


def _template(target: Json) -> Json:
    spec = target.get("spec", {})
    return spec.get("template", spec)


def _data(config: Json) -> Json:
    return [config.get(part, {}) for part in ("data", "binaryData")]


def _references(template: Json) -> Iterator[tuple[str, str]]:
    """(kind, name) of each ConfigMap and Secret that a pod template uses."""
    pod = template.get("spec", {})
    for volume in pod.get("volumes", ()):
        yield from _named(volume, ("configMap", "name"), ("secret", "secretName"))
        for source in volume.get("projected", {}).get("sources", ()):
            yield from _named(source, ("configMap", "name"), ("secret", "name"))
    for container in (*pod.get("containers", ()), *pod.get("initContainers", ())):
        for variable in container.get("env", ()):
            yield from _named(variable.get("valueFrom", {}), ("configMapKeyRef", "name"), ("secretKeyRef", "name"))
        for source in container.get("envFrom", ()):
            yield from _named(source, ("configMapRef", "name"), ("secretRef", "name"))


def _named(holder: Json, *fields: tuple[str, str]) -> Iterator[tuple[str, str]]:
    for name, key in fields:
        if name in holder:
            yield ("Secret" if name.startswith("secret") else "ConfigMap"), holder[name][key]


def _operate(document: Json, operation: Json) -> None:
    *path, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document.setdefault(part, {})
    if operation["op"] not in ("add", "replace", "remove"):
        raise NotImplementedError(f"JSON patch operation {operation['op']!r}: expected add, replace or remove")
    if isinstance(document, list):
        place = len(document) if last == "-" else int(last)
        if operation["op"] == "add":
            document.insert(place, operation["value"])
        elif operation["op"] == "remove":
            del document[place]
        else:
            document[place] = operation["value"]
    elif operation["op"] == "remove":
        document.pop(last, None)
    else:
        document[last] = operation["value"]


def _weights(patch: Json, path: str) -> Iterator[tuple[str, int]]:
    if isinstance(patch, list):
        for place, part in enumerate(patch):
            if isinstance(part, dict) and "op" in part:
                yield from _operation_weights(part)
            else:
                yield from _weights(part, f"{path}/{place}")
    elif isinstance(patch, dict):
        for name, value in patch.items():
            if name == "weight" and not isinstance(value, dict | list):
                yield _side(json.dumps(patch)), int(value)
            elif name.endswith("canary-weight"):
                yield "canary", int(value)
            else:
                yield from _weights(value, f"{path}/{name}")


def _operation_weights(operation: Json) -> Iterator[tuple[str, int]]:
    path, value = operation["path"], operation.get("value")
    if path.endswith("canary-weight"):
        yield "canary", int(value)
    elif path.endswith("/weight"):
        place = path.split("/")[-2]
        yield ("canary" if place == "1" else "primary" if place == "0" else ""), int(value)
    else:
        yield from _weights(value, path)


def _side(written: str) -> str:
    return "canary" if "-canary" in written else "primary" if "-primary" in written else ""
