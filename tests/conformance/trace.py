"""A trace as it lies on disk, and the story that it recorded.

The format is described in the README beside the traces. `read` gives a `Trace`: what was put in (`objects`, `canary`,
`scripts`, `actions`) and what Flagger made of it (`recorded`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import field, frozen

from tests.conformance.objects import patched
from tests.conformance.story import Acted, Alerted, Called, Checked, Stand, Step, Story, Told, plain

ONLINE = "vector(1)"
"""The query that asks whether a metrics server is there at all."""

PASSES = 202
"""Flagger takes any status up to this one as a pass."""

Json = Any


@frozen(kw_only=True)
class Trace:
    """One scenario. `prom`, `hooks` and `cluster` are the scripts at the start; an action has its wait with it.

    `final`: every object at the end, as `plural/name`; {} where nobody recorded them.
    """

    name: str
    about: str
    flags: tuple[str, ...]
    objects: tuple[Json, ...]
    canary: Json
    prom: tuple[Json, ...] = ()
    hooks: dict[str, Any] = field(factory=dict)
    cluster: tuple[Json, ...] = ()
    actions: tuple[Json, ...] = ()
    timeline: tuple[Json, ...] = ()
    final: dict[str, Json] = field(factory=dict)

    def flag(self, name: str, default: str = "") -> str:
        """The value of `-name=value`."""
        return next((flag.partition("=")[2] for flag in self.flags if flag.startswith(f"-{name}=")), default)

    @property
    def namespace(self) -> str:
        return self.canary["metadata"].get("namespace") or self.flag("namespace", "default")

    @property
    def ticks(self) -> int:
        """On how many looks Flagger took all this."""
        return sum("tick" in frame for frame in self.timeline)

    @property
    def recorded(self) -> Story:
        return _Recording(self).story()

    def built_in_queries(self) -> dict[int, str]:
        """Return Flagger's queries by the position of the check; a recording lacks checks that it did not reach."""
        known: dict[int, str] = {}
        for frame in self.timeline:
            queries = [step["query"]["q"] for step in frame.get("steps", ()) if "query" in step]
            for place, query in enumerate(query for query in queries if query != ONLINE):
                known.setdefault(place, _one_line(query))
        return known


STATUS_FIELDS = {"phase": "phase", "canaryWeight": "weight", "iterations": "iterations", "failedChecks": "failed"}
"""The fields of a status that a wait may name, and those of a `Stand` that hold them."""

TIMEOUT = "timeout"
"""A key of a wait: seconds of the recording. It is no condition."""

_KEYS: dict[str, frozenset[str]] = {
    "the trace": frozenset(
        ("scenario", "about", "peer", "flags", "problems", "input", "timeline", "statuses", "kubernetesEvents",
         "requests", "final")
    ),
    "input": frozenset(("objects", "canary", "prom", "hooks", "cluster", "actions")),
    "an action": frozenset(
        ("wait", "note", "apiVersion", "kind", "name", "patch", "delete", "create", "hooks", "prom", "cluster",
         "restartPeer")
    ),
    "a wait": frozenset(("ticks", TIMEOUT, *STATUS_FIELDS)),
    "a rule of prom": frozenset(("match", "answers")),
    "a rule of cluster": frozenset(("name", "image", "mode", "after")),
    "a frame": frozenset(("tick", "t", "reads", "steps", "action", "between")),
    "a step": frozenset(
        ("write", "object", "diff", "patch", "status", "code", "message", "query", "hook", "event", "phase", "checksum",
         "alert")
    ),
}  # fmt: skip
"""Every key that a trace may have, by where it stands."""


class UnknownKey(ValueError):
    """A key of a trace that no driver understands."""


def read(folder: Path) -> Trace:
    """Read `folder`/trace.json. Raise UnknownKey for a key that would be ignored."""
    found = json.loads((folder / "trace.json").read_text(encoding="utf-8"))
    given = found["input"]
    _refuse_unknown_keys(found, folder.name)
    return Trace(
        name=found["scenario"],
        about=found["about"],
        flags=tuple(found["flags"]),
        objects=tuple(given["objects"]),
        canary=given["canary"],
        prom=tuple(given.get("prom", ())),
        hooks=given.get("hooks", {}),
        cluster=tuple(given.get("cluster", ())),
        actions=tuple(given["actions"]),
        timeline=tuple(found["timeline"]),
        final=_final(found),
    )


def _refuse_unknown_keys(found: Json, name: str) -> None:
    for place, part, kind in _parts(found):
        for key in sorted(part.keys() - _KEYS[kind]):
            known = ", ".join(sorted(_KEYS[kind]))
            raise UnknownKey(f"{name}: {place}{key}: found a key that is unknown in {kind}, expected one of {known}")


def _parts(found: Json) -> Iterator[tuple[str, Json, str]]:
    """Yield (path, object, kind of object) of every part of a trace whose keys are known."""
    given = found["input"]
    yield "", found, "the trace"
    yield "input.", given, "input"
    for number, action in enumerate(given["actions"]):
        yield f"input.actions[{number}].", action, "an action"
        yield f"input.actions[{number}].wait.", action.get("wait", {}), "a wait"
        yield from _rules(f"input.actions[{number}].", action)
    yield from _rules("input.", given)
    for number, frame in enumerate(found["timeline"]):
        yield f"timeline[{number}].", frame, "a frame"
        for place, step in enumerate(frame.get("steps", ())):
            yield f"timeline[{number}].steps[{place}].", step, "a step"


def _rules(place: str, holder: Json) -> Iterator[tuple[str, Json, str]]:
    for name in ("prom", "cluster"):
        for number, rule in enumerate(holder.get(name, ())):
            yield f"{place}{name}[{number}].", rule, f"a rule of {name}"


def created(action: Json) -> tuple[Json, ...]:
    """Return the objects that an action creates."""
    bodies = action.get("create", ())
    return (bodies,) if isinstance(bodies, dict) else tuple(bodies)


def kinds_of(action: Json) -> set[str]:
    """Return the kinds of the objects that an action patches, deletes or creates."""
    bodies = (action, action.get("delete", {}), *created(action))
    return {body["kind"] for body in bodies if "kind" in body}


def _final(found: Json) -> dict[str, Json]:
    """All that there is at the end; of the Canary's status, which is told apart, what else it is about."""
    final = {**_configs(found["timeline"]), **found.get("final", {})}
    name, statuses = f"canaries/{found['input']['canary']['metadata']['name']}", found.get("statuses")
    if name in final and statuses:
        final[name] = final[name] | {"status": {"trackedConfigs": statuses[-1].get("trackedConfigs", {})}}
    return final


def _configs(timeline: list[Json]) -> dict[str, Json]:
    """The ConfigMaps and Secrets that were made, as they were made: a recording does not end with them."""
    made: dict[str, Json] = {}
    for step in (step for frame in timeline for step in frame.get("steps", ())):
        verb, _, name = step.get("write", "").partition(" ")
        if name.startswith(("configmaps/", "secrets/")) and step.get("code", 200) < 300:
            if verb == "create":
                made[name] = step["object"]
            elif name in made and "diff" in step:
                made[name] = patched(made[name], step["diff"])
    return made


def acts(action: Json) -> bool:
    """Whether an action changes anything, or only waits."""
    return bool(set(action) - {"wait", "note"})


def url_tail(url: str) -> str:
    """The last part of a URL: the name under which the scripted servers know a hook."""
    return url.rstrip("/").rpartition("/")[2]


# --------------------------------------------------------------------------------------------------------- recording


class _Recording:
    """The timeline, read from the start: scripted rules change on the way."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.rules = trace.prom
        self.numbers = [number for number, action in enumerate(trace.actions) if acts(action)]
        self.event_hook = ""

    def story(self) -> Story:
        return Story(tuple(tuple(self._tick(frame)) for frame in self.trace.timeline))

    def _tick(self, frame: Json) -> list[Step]:
        if "action" in frame:
            self.rules = frame["action"].get("prom", self.rules)
            return [Acted(self.numbers.pop(0))]
        steps = (self._step(step) for step in frame.get("steps", ()))
        return [step for step in steps if step is not None]

    def _step(self, step: Json) -> Step | None:
        if "status" in step and step.get("code", 200) < 300:
            return _stand(step["status"])
        if "event" in step:
            kind, text = step["event"]
            return Told(kind, text, step.get("phase", ""))
        if "alert" in step:
            return alerted(step["alert"])
        if "hook" in step:
            return self._hook(step["hook"])
        if "query" in step:
            return self._query(step["query"])
        return None

    def _hook(self, hook: Json) -> Step | None:
        payload = hook["payload"]
        metadata = dict(payload.get("metadata") or {})
        if "eventMessage" in metadata:
            self.event_hook = self.event_hook or hook["name"]
            told = Told(metadata["eventType"], metadata["eventMessage"], payload["phase"])
            return told if hook["name"] == self.event_hook else None
        passed = status_of(hook["answer"]) <= PASSES
        return Called(hook["name"], payload["phase"], passed, tuple(sorted(metadata.items())))

    def _query(self, query: Json) -> Step | None:
        text = _one_line(query["q"])
        if text == ONLINE:
            return None
        return Checked(rule_for(self.rules, text), plain(query["answer"]))


def status_of(answer: Json) -> int:
    """The HTTP status of a scripted answer: a bare status, or {status, body}."""
    return int(answer.get("status", 200)) if isinstance(answer, dict) else int(answer)


def rule_for(rules: tuple[Json, ...], query: str) -> str:
    """The `match` of the first rule that a query meets."""
    return next((rule["match"] for rule in rules if rule["match"] in query), "")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _stand(status: Json) -> Stand:
    return Stand(
        status.get("phase", ""),
        status.get("canaryWeight", 0),
        status.get("iterations", 0),
        status.get("failedChecks", 0),
    )


_ERROR_COLOURS = ("danger", "FF0000")
_ANY_COLOUR = re.compile(r'"(color|themeColor)"')


def alerted(alert: Json) -> Alerted:
    """An alert as a receiver got it: {to, payload}."""
    payload = alert["payload"]
    written = json.dumps(payload)
    error = any(colour in written for colour in _ERROR_COLOURS) if _ANY_COLOUR.search(written) else None
    return Alerted(alert["to"], _alert_text(payload), error)


def _alert_text(payload: Json) -> str:
    """The message in the formats of Slack (Rocket and Discord too), Microsoft Teams and Google Chat."""
    if "attachments" in payload:
        return str(payload["attachments"][0]["text"])
    if "cards" in payload:
        text = payload["cards"][0]["sections"][0]["widgets"][0]["textParagraph"]["text"]
        return re.sub(r"<[^>]*>", "", text)
    if "sections" in payload:
        return str(payload["sections"][0]["activityTitle"])
    return json.dumps(payload)
