"""Lint rules about the climb: steps, weights, iterations, times and thresholds."""

from __future__ import annotations

from collections.abc import Iterator

from canarycore._ladder import Strategy
from canarycore.manifest._duration import format_duration, parse_duration
from canarycore.manifest._lint._rule import Finding, LintContext, LintRule
from canarycore.manifest._resolve import PROGRESS_DEADLINE, SHORTEST_INTERVAL, UNROUTED, unclimbable


def _no_analysis(case: LintContext) -> Iterator[Finding]:
    if case.canary.analysis is None:
        yield Finding("spec", "no analysis")


def _deprecated_analysis(case: LintContext) -> Iterator[Finding]:
    if case.canary.spec.canary_analysis:
        yield Finding("spec.canaryAnalysis", "the deprecated canaryAnalysis")


def _no_step(case: LintContext) -> Iterator[Finding]:
    for problem in unclimbable(case.canary, case.provider):
        yield Finding(problem.path, problem.found)


def _max_below_step(case: LintContext) -> Iterator[Finding]:
    analysis = case.analysis
    if case.strategy is Strategy.WEIGHTS and analysis.max_weight and analysis.max_weight < (analysis.step_weight or 0):
        words = {"step": analysis.step_weight}
        yield Finding(case.at("maxWeight"), f"maxWeight {analysis.max_weight}", words)


def _overshoot(case: LintContext) -> Iterator[Finding]:
    step, top = case.analysis.step_weight or 0, case.ladder.top
    if case.strategy is Strategy.WEIGHTS and 0 < step <= top and top % step and case.heaviest > top:
        place = "stepWeights" if case.analysis.step_weights else "maxWeight"
        words = {"step": step, "top": top, "heaviest": case.heaviest, "lower": top - top % step}
        yield Finding(case.at(place), f"a top of {top} with steps of {step}", words)


def _both_steps(case: LintContext) -> Iterator[Finding]:
    if case.strategy is Strategy.WEIGHTS and case.analysis.step_weights:
        for name, value in (("stepWeight", case.analysis.step_weight), ("maxWeight", case.analysis.max_weight)):
            if value:
                yield Finding(case.at(name), f"{name} {value} together with stepWeights")


def _weights_ignored(case: LintContext) -> Iterator[Finding]:
    if not case.analysis.iterations:
        return
    analysis = case.analysis
    for name, value in (
        ("stepWeight", analysis.step_weight),
        ("stepWeights", analysis.step_weights),
        ("maxWeight", analysis.max_weight),
    ):
        if value:
            yield Finding(case.at(name), f"{name} together with iterations")


def _match_ignored(case: LintContext) -> Iterator[Finding]:
    if case.analysis.match and not case.analysis.iterations and case.provider != UNROUTED:
        yield Finding(case.at("match"), "match without iterations")


def _promotion_steps_ignored(case: LintContext) -> Iterator[Finding]:
    if case.analysis.step_weight_promotion and not case.ladder.step_back:
        words = {"strategy": case.strategy.value, "provider": case.provider}
        yield Finding(case.at("stepWeightPromotion"), "stepWeightPromotion", words)


def _unrouted_weights(case: LintContext) -> Iterator[Finding]:
    if case.provider == UNROUTED and case.canary.analysis and not case.analysis.iterations:
        yield Finding(case.at("iterations"), "an analysis without iterations", {"count": case.ladder.iterations})


def _short_interval(case: LintContext) -> Iterator[Finding]:
    if case.analysis.interval and parse_duration(case.analysis.interval) < SHORTEST_INTERVAL:
        yield Finding(case.at("interval"), repr(case.analysis.interval))


def _odd_durations(case: LintContext) -> Iterator[Finding]:
    places = [(case.at("interval"), case.analysis.interval)]
    places += [(case.at(f"metrics[{i}].interval"), metric.interval) for i, metric in enumerate(case.analysis.metrics)]
    places += [(case.at(f"webhooks[{i}].timeout"), hook.timeout) for i, hook in enumerate(case.analysis.webhooks)]
    for path, text in places:
        whole = text.lstrip("0123456789")
        if text and (whole == text or whole[:1] not in {"m", "s"}):
            yield Finding(path, repr(text))


def _no_tolerance(case: LintContext) -> Iterator[Finding]:
    if case.canary.analysis and (case.analysis.threshold or 0) <= 0:
        value = case.analysis.threshold
        yield Finding(case.at("threshold"), "no threshold" if value is None else f"threshold {value}")


def _short_deadline(case: LintContext) -> Iterator[Finding]:
    given = case.canary.spec.progress_deadline_seconds
    deadline = PROGRESS_DEADLINE if given is None else given
    if case.canary.analysis and deadline < case.interval:
        words = {"interval": format_duration(case.interval)}
        yield Finding("spec.progressDeadlineSeconds", f"a progress deadline of {deadline}s", words)


RULES: tuple[LintRule[LintContext], ...] = (
    LintRule(
        "no-analysis",
        "warning",
        _no_analysis,
        "an analysis: without one every revision is promoted unchecked",
        "Add spec.analysis, or set skipAnalysis: true to say that this is meant.",
    ),
    LintRule(
        "deprecated-analysis",
        "warning",
        _deprecated_analysis,
        "spec.analysis: Flagger's present Canary definition drops the old name",
        "Rename it to analysis.",
    ),
    LintRule(
        "no-step",
        "error",
        _no_step,
        "one of them above 0: otherwise the analysis never advances",
        "Give stepWeight (and maxWeight), or stepWeights, or iterations, or set spec.skipAnalysis.",
    ),
    LintRule(
        "max-below-step",
        "error",
        _max_below_step,
        "at least the first step: stepWeight {step} sends more to the canary than the maximum allows",
        "Lower stepWeight or raise maxWeight.",
    ),
    LintRule(
        "overshoot",
        "warning",
        _overshoot,
        "a multiple of the step: steps of {step} go on until {top} is reached, so the climb tops out at {heaviest}",
        "Use {lower} or {heaviest} as the top, or list the weights in stepWeights.",
    ),
    LintRule(
        "steps-and-step",
        "warning",
        _both_steps,
        "only one of the two ways to give weights: stepWeight goes before stepWeights, whose last weight is the top",
        "Remove stepWeight and maxWeight, or stepWeights.",
    ),
    LintRule(
        "weights-ignored",
        "warning",
        _weights_ignored,
        "no weights: with iterations they are ignored, and Flagger's Canary definition refuses both together",
        "Remove the weights, or remove iterations for a climb by weights.",
    ),
    LintRule(
        "match-ignored",
        "warning",
        _match_ignored,
        "iterations as well: match alone makes no A/B test",
        "Add iterations for an A/B test, or remove match.",
    ),
    LintRule(
        "promotion-steps-ignored",
        "warning",
        _promotion_steps_ignored,
        "no steps of the promotion: they are ignored for {strategy} on {provider}",
        "Remove it.",
    ),
    LintRule(
        "unrouted-weights",
        "warning",
        _unrouted_weights,
        "iterations: kubernetes cannot split traffic, so the analysis becomes blue/green with {count} checks",
        "Give iterations, or choose a provider that routes.",
    ),
    LintRule(
        "short-interval",
        "warning",
        _short_interval,
        "at least 10s: a shorter interval counts as 10s",
        "Write 10s or more.",
    ),
    LintRule(
        "odd-duration",
        "warning",
        _odd_durations,
        "a duration that begins with whole minutes or seconds: Flagger's Canary definition refuses others",
        "Write it in m and s, for example 60m for an hour.",
    ),
    LintRule(
        "no-tolerance",
        "warning",
        _no_tolerance,
        "a number of failed checks above 0: otherwise the first one rolls back",
        "Give the threshold; write 1 if that is meant.",
    ),
    LintRule(
        "short-deadline",
        "warning",
        _short_deadline,
        "at least one interval ({interval}): pods that are slow once are rolled back at the first look",
        "Raise progressDeadlineSeconds.",
    ),
)
