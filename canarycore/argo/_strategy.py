"""The strategy of a Rollout as the analysis of a Canary: its steps, holds, approvals and checks."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import chain
from math import ceil

from attrs import define, field

from canarycore._observation import TOTAL_WEIGHT
from canarycore.argo._analysis import AnalysisUse, ChecksOfAnalyses
from canarycore.argo._document import DocumentPart, Json
from canarycore.argo._gaps import Gaps
from canarycore.manifest import parse_duration
from canarycore.manifest.routing import EXACT_PREFIX_REGEX, SPLIT_ONLY, ProviderCapabilities
from canarycore.text import shorten

INTERVAL = 10
"""Seconds between two analyses: the shortest interval, as a Rollout goes on as soon as it can."""

_DURATION = re.compile(r"(?:\d{1,9}h)?(?:\d{1,9}m)?(?:\d{1,9}s)?")


@define
class _Step:
    weight: int
    hold: int = 0
    approval: bool = False
    metrics: list[str] = field(factory=list)
    match: list[Json] = field(factory=list)
    mirror: int = 0
    size: int | str | None = None

    @property
    def is_new(self) -> bool:
        """Whether nothing follows the weight yet."""
        return not (self.hold or self.approval or self.metrics)

    @property
    def body(self) -> Json:
        fields: Json = {"weight": self.weight}
        if self.match:
            fields["match"] = self.match
        if self.mirror:
            fields["mirror"] = self.mirror
        if self.size:
            fields["size"] = self.size
        if self.hold:
            fields["hold"] = f"{self.hold}s"
        if self.approval:
            fields["approval"] = True
        if self.metrics:
            fields["metrics"] = self.metrics
        return fields


@define
class _ManagedRoutes:
    """The routes of headers and of mirrors in force, by their name."""

    headers: dict[str, list[Json]] = field(factory=dict)
    mirrors: dict[str, int] = field(factory=dict)

    def set_header(self, route: DocumentPart) -> bool:
        """Set or remove a route of headers. Return whether it is one that a step can have."""
        conditions = list(map(_read_condition, route.items("match")))
        if None in conditions:
            return False  # the gap is the part that nobody has read
        self.headers[route.text("name")] = [condition for condition in conditions if condition]
        return True

    def set_mirror(self, route: DocumentPart) -> bool:
        """Set or remove a mirror. Return whether it is one of all requests. Without a match it ends, as in Argo."""
        matches = [part.value for part in route.items("match")]
        if any(match != ALL_PATHS for match in matches):
            return False
        name, share = route.text("name"), route.number("percentage")
        route.take("match")
        self.mirrors[name] = max(TOTAL_WEIGHT if share is None else share, 0) if matches else 0
        return True

    def fill(self, step: _Step) -> None:
        """Let a step have the routes in force, if it does not have all requests."""
        is_open = step.weight < TOTAL_WEIGHT
        step.match = list(chain.from_iterable(self.headers.values())) if is_open else []
        step.mirror = min(max(self.mirrors.values(), default=0), TOTAL_WEIGHT) if is_open else 0

    def apply(self, route: DocumentPart, steps: list[_Step], gaps: Gaps) -> None:
        """Let the last step have the routes in force, where nothing follows its weight yet."""
        if not steps:
            steps.append(_Step(0))
        last = steps[-1]
        before = last.match, last.mirror
        if last.is_new:
            self.fill(last)
            if not (last.weight or last.match or last.mirror):
                steps.pop()
            return
        now = _Step(last.weight)
        self.fill(now)
        if (now.match, now.mirror) != before:
            gaps.report(
                route,
                "a route after a pause or an analysis",
                "a route from a weight on",
                "It begins with the next weight: write it right after setWeight.",
            )


@define
class _CanaryScale:
    """The size of the canary in force: absolute, in percent, or equal to the weight of each step."""

    size: int | str | None = None
    follows_weight: bool = False
    written: int | str | None = None
    """The size that the steps so far have; a step without one has that of the step before."""
    waiting: DocumentPart | None = None
    """A change of the size that no step has yet."""

    def set(self, scale: DocumentPart, steps: list[_Step]) -> None:
        """Set the size from here on. One that no step can have is a gap: the part that nobody has read."""
        follows = scale.at("matchTrafficWeight").value is True
        name = "replicas" if scale.at("replicas").value is not None else "weight"
        amount = scale.at(name).value
        is_count = isinstance(amount, int) and not isinstance(amount, bool) and amount > 0
        if not follows and not (is_count and (name == "replicas" or amount <= TOTAL_WEIGHT)):
            return
        scale.take()
        self.follows_weight, self.waiting = follows, scale
        self.size = None if follows else amount if name == "replicas" else f"{amount}%"
        if steps and steps[-1].is_new:
            self.fill(steps[-1])

    def fill(self, step: _Step) -> None:
        """Let a step have the size in force."""
        self.waiting = None
        size = f"{step.weight}%" if self.follows_weight and step.weight else self.size
        if size and (size != self.written or step.size):
            step.size = self.written = size

    def report(self, gaps: Gaps) -> None:
        """Report a change of the size that comes later than in Argo, or never."""
        if self.waiting is not None:
            gaps.report(
                self.waiting,
                "a size without setWeight after it",
                "a size from a weight on",
                "It begins with the next weight: write it right before setWeight.",
            )
            self.waiting = None


ALL_PATHS = {"path": {"prefix": "/"}}
"""The match of a mirror of all requests."""


def convert_canary(
    strategy: DocumentPart, checks: ChecksOfAnalyses, gaps: Gaps, can: ProviderCapabilities = SPLIT_ONLY
) -> Json:
    """Return the analysis of a Rollout by steps. can: the capabilities of its provider."""
    nodes = strategy.items("steps")
    analysis: Json = {"interval": f"{INTERVAL}s", "threshold": 1}
    weights = _weights_at(nodes)
    background = strategy.at("analysis")
    everywhere: list[str] = []
    if background:
        starting = background.number("startingStep") or 0
        begin = weights[min(starting, len(weights) - 1)] if weights else 0
        everywhere = checks.add(AnalysisUse(node=background, from_weight=begin, is_background=True))
    steps = _read_steps(nodes, checks, gaps, can)
    if not steps:
        return analysis | {"iterations": 1} if everywhere else {}
    for step in steps:
        if step.metrics:
            step.metrics = [*everywhere, *step.metrics]
        elif len(everywhere) < len(checks.metrics):
            step.metrics = list(everywhere)
    analysed = next((index for index, step in enumerate(steps) if len(step.metrics) > len(everywhere)), len(steps))
    if any(not step.metrics for step in steps[analysed:]):
        gaps.report(
            strategy.at("steps"),
            "an analysis of one step",
            "an analysis from its step on",
            "The checks go on in the steps above it.",
        )
    rich = any(step.match or step.mirror or step.size or not step.is_new for step in steps)
    if rich:
        return analysis | {"steps": [step.body for step in steps]}
    return analysis | {"stepWeights": [step.weight for step in steps]}


def convert_blue_green(strategy: DocumentPart, checks: ChecksOfAnalyses) -> Json:
    """Return the analysis of a blue/green Rollout: it has no way back after the switch, and no analysis there."""
    wait = strategy.number("autoPromotionSeconds") or 0
    if strategy.at("autoPromotionEnabled").value is True:
        strategy.take("autoPromotionEnabled")
    analysis: Json = {"interval": f"{INTERVAL}s", "threshold": 1, "iterations": max(ceil(wait / INTERVAL), 1)}
    if strategy.at("prePromotionAnalysis"):
        checks.add(AnalysisUse(node=strategy.at("prePromotionAnalysis")))
    return analysis


def _weights_at(nodes: list[DocumentPart]) -> list[int]:
    """Return the weight in force at each step."""
    weights, weight = [], 0
    for node in nodes:
        given = node.at("setWeight").value
        weight = given if isinstance(given, int) else weight
        weights.append(weight)
    return weights


def _read_steps(
    nodes: list[DocumentPart], checks: ChecksOfAnalyses, gaps: Gaps, can: ProviderCapabilities
) -> list[_Step]:
    steps: list[_Step] = []
    routes, scale = _ManagedRoutes(), _CanaryScale()
    for node in nodes:
        if node.at("setCanaryScale") and not can.by_pods:
            scale.report(gaps)
            scale.set(node.at("setCanaryScale"), steps)
        if node.at("setWeight").value is not None:
            count = len(steps)
            _add_weight(node, steps, routes, gaps)
            for step in steps[count:]:
                scale.fill(step)
        header, mirror = node.at("setHeaderRoute"), node.at("setMirrorRoute")
        if header and can.match_beside_weight and routes.set_header(header):
            routes.apply(header, steps, gaps)
        if mirror and can.mirror_beside_weight and routes.set_mirror(mirror):
            routes.apply(mirror, steps, gaps)
        if steps and isinstance(node.value, dict) and ("pause" in node.value or "analysis" in node.value):
            scale.report(gaps)
        if isinstance(node.value, dict) and "pause" in node.value:
            _add_pause(node.at("pause"), steps, gaps)
        if node.at("analysis"):
            names = checks.add(AnalysisUse(node=node.at("analysis"), from_weight=steps[-1].weight if steps else 0))
            if steps:
                steps[-1].metrics += names
    scale.report(gaps)
    return steps


def _add_weight(node: DocumentPart, steps: list[_Step], routes: _ManagedRoutes, gaps: Gaps) -> None:
    weight = node.number("setWeight")
    reached = steps[-1].weight if steps else 0
    if weight is None or not 0 <= weight <= 100:
        found = shorten(str(node.at("setWeight").value))
        gaps.report(node.at("setWeight"), found, "a weight in percent", "Write a weight from 1 to 100.")
    elif weight > reached:
        steps.append(_Step(weight))
        routes.fill(steps[-1])
    elif weight < reached:
        gaps.report(
            node.at("setWeight"), str(weight), f"a weight above {reached}: weights never fall", "Remove the step."
        )


def _read_condition(entry: DocumentPart) -> Json | None:
    """Return an alternative of a header route; None for one that is none. Names of headers have no case."""
    name, kinds = entry.at("headerName").value, [kind for kind in EXACT_PREFIX_REGEX if entry.at("headerValue", kind)]
    if not isinstance(name, str) or len(kinds) != 1:
        return None
    entry.take("headerName")
    return {"headers": {name.lower(): {kinds[0]: entry.text("headerValue", kinds[0])}}}


def _add_pause(pause: DocumentPart, steps: list[_Step], gaps: Gaps) -> None:
    duration = pause.take("duration")
    pause.take()
    seconds = read_duration(duration)
    if seconds is None:
        gaps.report(pause, shorten(str(duration)), "seconds, or a duration such as 10m", "Write the duration.")
    elif not steps:
        gaps.report(
            pause,
            "a pause at weight 0",
            "a pause after a weight",
            "Add a webhook of type confirm-rollout: it holds the rollout before its first step.",
        )
    elif seconds:
        steps[-1].hold += seconds
    else:
        steps[-1].approval = True


def read_duration(value: object) -> int | None:
    """Return the seconds of a pause; 0 for one without end, None for a value that is none."""
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool):
        return max(value, 0)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    if isinstance(value, str) and value and _DURATION.fullmatch(value):
        with suppress(ValueError):  # longer than the 292 years of a Go duration
            return int(parse_duration(value))
    return None
