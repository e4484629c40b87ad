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

    @property
    def is_new(self) -> bool:
        """Whether nothing follows the weight yet."""
        return not (self.hold or self.approval or self.metrics)

    @property
    def body(self) -> Json:
        fields: Json = {"weight": self.weight}
        if self.match:
            fields["match"] = self.match
        if self.hold:
            fields["hold"] = f"{self.hold}s"
        if self.approval:
            fields["approval"] = True
        if self.metrics:
            fields["metrics"] = self.metrics
        return fields


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
    steps = _read_steps(nodes, analysis, checks, gaps, can)
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
    rich = any(step.match or not step.is_new for step in steps)
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
    nodes: list[DocumentPart], analysis: Json, checks: ChecksOfAnalyses, gaps: Gaps, can: ProviderCapabilities
) -> list[_Step]:
    steps: list[_Step] = []
    headers: dict[str, list[Json]] = {}
    for node in nodes:
        if node.at("setWeight").value is not None:
            _add_weight(node, steps, list(chain.from_iterable(headers.values())), gaps)
        if node.at("setHeaderRoute") and can.match_beside_weight:
            _set_header_route(node.at("setHeaderRoute"), headers, steps, gaps)
        if isinstance(node.value, dict) and "pause" in node.value:
            _add_pause(node.at("pause"), steps, gaps)
        if node.at("analysis"):
            names = checks.add(AnalysisUse(node=node.at("analysis"), from_weight=steps[-1].weight if steps else 0))
            if steps:
                steps[-1].metrics += names
        mirror = node.at("setMirrorRoute")
        if mirror and not mirror.at("match") and not steps:
            mirror.take("name")
            share = mirror.number("percentage")
            analysis |= {"mirror": True} | ({} if share is None else {"mirrorWeight": share})
    return steps


def _add_weight(node: DocumentPart, steps: list[_Step], match: list[Json], gaps: Gaps) -> None:
    weight = node.number("setWeight")
    reached = steps[-1].weight if steps else 0
    if weight is None or not 0 <= weight <= 100:
        found = shorten(str(node.at("setWeight").value))
        gaps.report(node.at("setWeight"), found, "a weight in percent", "Write a weight from 1 to 100.")
    elif weight > reached:
        steps.append(_Step(weight, match=match if weight < TOTAL_WEIGHT else []))
    elif weight < reached:
        gaps.report(
            node.at("setWeight"), str(weight), f"a weight above {reached}: weights never fall", "Remove the step."
        )


def _set_header_route(route: DocumentPart, headers: dict[str, list[Json]], steps: list[_Step], gaps: Gaps) -> None:
    """Set or remove a route in `headers`, and in the last step where nothing follows its weight yet."""
    conditions = list(map(_read_condition, route.items("match")))
    if None in conditions:
        return  # the gap is the part that nobody has read
    name = route.text("name")
    headers[name] = [condition for condition in conditions if condition]
    match = list(chain.from_iterable(headers.values()))
    if match and not steps:
        steps.append(_Step(0))
    if steps and steps[-1].is_new:
        steps[-1].match = match if steps[-1].weight < TOTAL_WEIGHT else []
        if not match and not steps[-1].weight:
            steps.pop()
    elif steps and steps[-1].match != match:
        gaps.report(
            route,
            "a header route after a pause or an analysis",
            "a header route from a weight on",
            "It begins with the next weight: write it right after setWeight.",
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
