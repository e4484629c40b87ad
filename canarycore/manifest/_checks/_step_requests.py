"""Requests that reach the canary beside the weight of a step: those of its match, and copies by its mirror."""

from __future__ import annotations

from collections.abc import Iterator

from canarycore._observation import TOTAL_WEIGHT
from canarycore.errors import Problem
from canarycore.manifest._model import Analysis, AnalysisStep, Canary
from canarycore.manifest.routing import ProviderCapabilities

STEP_RULES = ("step-match", "step-mirror")
"""The rules of `check_step_requests`."""


def check_step_requests(canary: Canary, provider: str, can: ProviderCapabilities) -> Iterator[Problem]:
    """Return the problems of a match or mirror beside the weight that would not do what it says.

    can: the capabilities of the provider for this Canary.
    """
    analysis = canary.analysis or Analysis()
    for index, step in enumerate(analysis.steps):
        for name, part, found, expected, remedy in _find_faults(analysis, step, provider, can):
            path = f"{canary.analysis_path}.steps[{index}].{part}"
            yield Problem(path=path, found=found, expected=expected, remedy=remedy, rule=f"step-{name}")


_Fault = tuple[str, str, str, str, str]
"""The field, the wrong part, its value, the expected value and the remedy."""


def _find_faults(analysis: Analysis, step: AnalysisStep, provider: str, can: ProviderCapabilities) -> Iterator[_Fault]:
    given = [name for name in _EXPECTED if getattr(step, name)]
    if given and not step.weight and analysis.mirror:
        expected = "a weight above 0: with mirror the first step has weight 0 and copies requests"
        yield given[0], "weight", "0", expected, "Set the weight, or remove mirror."
    for name in given:
        if step.weight == TOTAL_WEIGHT:
            found = f"a {name} at weight {TOTAL_WEIGHT}"
            yield name, name, found, "none: the step has all requests already", "Remove it."
        if not getattr(can, f"{name}_beside_weight"):
            expected = f"none: the provider {provider} cannot {_EXPECTED[name]}"
            yield name, name, f"a {name} beside a weight", expected, "Remove it, or choose another provider."
    if step.match:
        yield from _find_contradictions(analysis, step)


_EXPECTED = {
    "match": "send matching requests to the canary beside a weight",
    "mirror": "copy a percentage of requests to the canary beside a weight",
}


def _find_contradictions(analysis: Analysis, step: AnalysisStep) -> Iterator[_Fault]:
    for place, entry in enumerate(step.match):
        if entry.is_empty:
            expected, remedy = "headers: an empty entry sends every request to the canary", "Add headers, or remove it."
            yield "match", f"match[{place}]", "an entry without a condition", expected, remedy
    for name, value in (("match", analysis.match), ("sessionAffinity", analysis.session_affinity)):
        if value:
            expected = f"none: analysis.{name} chooses the canary's requests too"
            yield "match", "match", f"a match beside analysis.{name}", expected, f"Remove it, or analysis.{name}."
