"""The objects at the end, compared field by field with those at the end of a recording.

    different(trace, used, found)      lines; none where all that differs has a row of docs/differences.md

Names are as recordings have them: `services/podinfo-primary`. A field that is not compared has a line in
`NOT_COMPARED`, one that differs on purpose has one in `ON_PURPOSE`. An empty value counts as a missing one: clients
in Go write it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from tests.conformance.objects import CANARY
from tests.conformance.trace import Trace

Json = Any

NOT_COMPARED: tuple[tuple[str, str], ...] = (
    (r"canaries/\S+ (?!status\.trackedConfigs).*", "what was put in, and its status, which is part of the story"),
    (r"\S+ (apiVersion|status)\b(?!\.trackedConfigs).*", "what it was asked for by, and what the platform says"),
    (r"\S+ metadata\.(uid|resourceVersion|generation|creationTimestamp|managedFields)\b.*", "of each run"),
    (r"\S+ metadata\.ownerReferences\S*\.uid", "of each run"),
    (r"\S+ metadata\.annotations\.(deployment\.kubernetes\.io/|deprecated\.daemonset\.)\S+", "the platform counts"),
    (r"\S+ metadata\.annotations\.canarycore/\S+", "what we remember on an object is ours"),
    (r"\S+ spec\.template\.metadata\.annotations\.flagger-id", "an id of each promotion"),
    (r"services/\S+ spec\.clusterIPs?\b.*", "the API server assigns it"),
)

OnPurpose = Callable[[Trace, Collection[str]], bool]
"""Whether a row holds for a trace, whose story needed these rows."""


def _always(trace: Trace, used: Collection[str]) -> bool:
    del trace, used
    return True


def _adopts(trace: Trace, used: Collection[str]) -> bool:
    """Whether something that is generated was there before."""
    del used
    spec = trace.canary["spec"]
    apex = spec.get("service", {}).get("name") or spec["targetRef"]["name"]
    target = spec["targetRef"]["kind"], spec["targetRef"]["name"]
    there = {(body["kind"], body["metadata"]["name"]) for body in trace.objects}
    return any(name == apex for kind, name in there - {target})


WEIGHT = r"(spec\.\S*\.(weight|percent)|metadata\.annotations\.\S*canary-weight)"
"""A field that says how many requests a side gets, in a route of any kind."""

REPLICAS = r"(deployments|daemonsets)/\S+ spec\.replicas"
COPIED = r"\S+-primary (spec\.template|data|stringData|binaryData)\b\S*"
"""A field of a primary copy that a promotion sets."""

COOKIE = r"\S*([Cc]ookie\S*|spec\.rules\[\d+\]\.(filters|matches)\[\d+\]\S*\.value)"
"""A field that holds the value of a session cookie."""


def _uses(row: str) -> OnPurpose:
    """Return whether the story of a trace needed `row`."""
    return lambda _, used: row in used


ON_PURPOSE: tuple[tuple[str, str, OnPurpose], ...] = (
    ("D01", rf"\S+ {WEIGHT}|{REPLICAS}", _uses("D01")),
    ("D06", rf"\S+ {WEIGHT}|{REPLICAS}|{COPIED}", _uses("D06")),
    ("D07", rf"\S+ {WEIGHT}|{REPLICAS}", _uses("D07")),
    ("D17", rf"\S+ (metadata\.(annotations|labels)|spec\.ports)\S*|\S+ {WEIGHT}", _adopts),
    ("D21", r"(deployments|daemonsets)/\S+-primary metadata\.annotations\.\S+", _always),
    ("D57", rf"\S+ {COOKIE}", lambda trace, _: "sessionAffinity" in str(trace.canary)),
    (
        "D60",
        r"services/\S+-primary metadata\.(labels|ownerReferences)\S*",
        lambda trace, _: trace.canary["spec"]["targetRef"]["kind"] == "Service",
    ),
)
"""(row, the fields that it is about, where it holds)."""


def different(trace: Trace, used: Collection[str], found: Mapping[str, Json | None]) -> list[str]:
    """A line for each field that differs from what the trace ends with."""
    deleted = any("deletionTimestamp" in body["metadata"] for body in trace.final.values())
    lines = [
        line
        for name, wanted in trace.final.items()
        if not (deleted and _goes_with_its_canary(wanted))
        for line in _differences(name, wanted, found.get(name))
    ]
    known = [pattern for pattern, _ in NOT_COMPARED]
    known += [pattern for _, pattern, holds in ON_PURPOSE if holds(trace, used)]
    return [line for line in lines if not any(re.fullmatch(pattern, line.partition(": ")[0]) for pattern in known)]


def _goes_with_its_canary(body: Json) -> bool:
    """Whether a garbage collector removes the object after its Canary; the recorded cluster had none."""
    return body["kind"] == CANARY or "ownerReferences" in body["metadata"]


def _differences(name: str, wanted: Json, body: Json | None) -> Iterator[str]:
    if body is None:
        yield f"{name} is gone: expected to be there"
        return
    before, after = dict(_fields(wanted, "")), dict(_fields(body, ""))
    for path in sorted({*before, *after}):
        if before.get(path) != after.get(path):
            yield f"{name} {path}: expected {before.get(path)!r}, found {after.get(path)!r}"


def _fields(value: Json, path: str) -> Iterator[tuple[str, Json]]:
    """(path, value) of all that has no parts and is not empty."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _fields(part, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        in_order = sorted(value, key=lambda port: str(port.get("name"))) if path == "spec.ports" else value
        for place, part in enumerate(in_order):
            yield from _fields(part, f"{path}[{place}]")
    elif value not in ("", None):
        yield path, value
