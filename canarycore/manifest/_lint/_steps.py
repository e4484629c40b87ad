"""Lint rules about the ladder: steps, weights, iterations, times and thresholds."""

from __future__ import annotations

from collections.abc import Iterator

from canarycore._ladder import Strategy
from canarycore.manifest._duration import format_duration, parse_duration
from canarycore.manifest._lint._rule import Finding, LintContext, LintRule
from canarycore.manifest._reader._fields import is_duration
from canarycore.manifest._resolve import PROGRESS_DEADLINE, SHORTEST_INTERVAL, UNROUTED, check_steps


def _no_analysis(context: LintContext) -> Iterator[Finding]:
    if context.canary.analysis is None and not context.canary.spec.skip_analysis:
        yield Finding("spec", "no analysis")


def _deprecated_analysis(context: LintContext) -> Iterator[Finding]:
    if context.canary.spec.canary_analysis:
        yield Finding("spec.canaryAnalysis", "the deprecated canaryAnalysis")


def _no_step(context: LintContext) -> Iterator[Finding]:
    for problem in check_steps(context.canary, context.provider):
        yield Finding(problem.path, problem.found)


def _max_below_step(context: LintContext) -> Iterator[Finding]:
    analysis = context.analysis
    if (
        context.strategy is Strategy.WEIGHTS
        and analysis.max_weight
        and analysis.max_weight < (analysis.step_weight or 0)
    ):
        arguments = {"step": analysis.step_weight}
        yield Finding(context.at("maxWeight"), f"maxWeight {analysis.max_weight}", arguments)


def _overshoot(context: LintContext) -> Iterator[Finding]:
    step, top = context.analysis.step_weight or 0, context.ladder.top
    if context.strategy is Strategy.WEIGHTS and 0 < step <= top and top % step and context.heaviest > top:
        place = "stepWeights" if context.analysis.step_weights else "maxWeight"
        arguments = {"step": step, "top": top, "heaviest": context.heaviest, "lower": top - top % step}
        yield Finding(context.at(place), f"a top of {top} with steps of {step}", arguments)


def _both_steps(context: LintContext) -> Iterator[Finding]:
    if context.strategy is Strategy.WEIGHTS and context.analysis.step_weights:
        for name, value in (("stepWeight", context.analysis.step_weight), ("maxWeight", context.analysis.max_weight)):
            if value:
                yield Finding(context.at(name), f"{name} {value} together with stepWeights")


def _weights_ignored(context: LintContext) -> Iterator[Finding]:
    if not context.analysis.iterations:
        return
    analysis = context.analysis
    for name, value in (
        ("stepWeight", analysis.step_weight),
        ("stepWeights", analysis.step_weights),
        ("maxWeight", analysis.max_weight),
    ):
        if value:
            yield Finding(context.at(name), f"{name} together with iterations")


def _match_ignored(context: LintContext) -> Iterator[Finding]:
    if context.analysis.match and not context.analysis.iterations and context.provider != UNROUTED:
        yield Finding(context.at("match"), "match without iterations")


def _promotion_steps_ignored(context: LintContext) -> Iterator[Finding]:
    if context.analysis.step_weight_promotion and not context.ladder.step_back:
        arguments = {"strategy": context.strategy.value, "provider": context.provider}
        yield Finding(context.at("stepWeightPromotion"), "stepWeightPromotion", arguments)


def _unrouted_weights(context: LintContext) -> Iterator[Finding]:
    if context.provider == UNROUTED and context.canary.analysis and not context.analysis.iterations:
        yield Finding(context.at("iterations"), "an analysis without iterations", {"count": context.ladder.iterations})


def _short_interval(context: LintContext) -> Iterator[Finding]:
    text = context.analysis.interval
    if is_duration(text) and parse_duration(text) < SHORTEST_INTERVAL:
        yield Finding(context.at("interval"), repr(text))


def _odd_durations(context: LintContext) -> Iterator[Finding]:
    places = [(context.at("interval"), context.analysis.interval)]
    places += [
        (context.at(f"metrics[{i}].interval"), metric.interval) for i, metric in enumerate(context.analysis.metrics)
    ]
    places += [(context.at(f"webhooks[{i}].timeout"), hook.timeout) for i, hook in enumerate(context.analysis.webhooks)]
    for path, text in places:
        whole = text.lstrip("0123456789")
        if text and (whole == text or whole[:1] not in {"m", "s"}):
            yield Finding(path, repr(text))


def _no_tolerance(context: LintContext) -> Iterator[Finding]:
    if context.canary.analysis and (context.analysis.threshold or 0) <= 0:
        value = context.analysis.threshold
        yield Finding(context.at("threshold"), "no threshold" if value is None else f"threshold {value}")


def _short_deadline(context: LintContext) -> Iterator[Finding]:
    given = context.canary.spec.progress_deadline_seconds
    deadline = PROGRESS_DEADLINE if given is None else given
    if context.canary.analysis and deadline < context.interval:
        arguments = {"interval": format_duration(context.interval)}
        yield Finding("spec.progressDeadlineSeconds", f"a progress deadline of {deadline}s", arguments)


RULES: tuple[LintRule[LintContext], ...] = (
    LintRule(
        "no-analysis",
        "warning",
        _no_analysis,
        "an analysis: without one every revision is promoted without a check",
        "Add spec.analysis, or set skipAnalysis: true if you want no analysis.",
    ),
    LintRule(
        "deprecated-analysis",
        "warning",
        _deprecated_analysis,
        "spec.analysis: Flagger's current Canary definition drops the old name",
        "Rename the field to analysis.",
    ),
    LintRule(
        "no-step",
        "error",
        _no_step,
        "one of them above 0: otherwise the analysis never advances",
        "Set stepWeight (and maxWeight), stepWeights or iterations, or set spec.skipAnalysis.",
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
        "a multiple of the step: steps of {step} go on until they reach {top}, so the last weight is {heaviest}",
        "Use {lower} or {heaviest} as the top, or list the weights in stepWeights.",
    ),
    LintRule(
        "steps-and-step",
        "warning",
        _both_steps,
        "either stepWeight or stepWeights: with both, stepWeight sets the steps and the last of stepWeights the top",
        "Remove stepWeight and maxWeight, or stepWeights.",
    ),
    LintRule(
        "weights-ignored",
        "warning",
        _weights_ignored,
        "no weights: the analysis ignores them with iterations, and Flagger's Canary definition refuses both together",
        "Remove the weights, or remove iterations to shift traffic by weights.",
    ),
    LintRule(
        "match-ignored",
        "warning",
        _match_ignored,
        "iterations too: match alone makes no A/B test",
        "Add iterations for an A/B test, or remove match.",
    ),
    LintRule(
        "promotion-steps-ignored",
        "warning",
        _promotion_steps_ignored,
        "no stepWeightPromotion: {strategy} on {provider} ignores it",
        "Remove the field.",
    ),
    LintRule(
        "unrouted-weights",
        "warning",
        _unrouted_weights,
        "iterations: kubernetes cannot split traffic, so the analysis becomes blue/green with {count} iterations",
        "Set iterations, or choose a provider that routes.",
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
        "Write the duration in m and s, for example 60m for an hour.",
    ),
    LintRule(
        "no-tolerance",
        "warning",
        _no_tolerance,
        "a number of failed checks above 0: otherwise the first failed check rolls back",
        "Set threshold; write 1 if you want a rollback at the first failed check.",
    ),
    LintRule(
        "short-deadline",
        "warning",
        _short_deadline,
        "at least one interval ({interval}): a shorter deadline rolls slow pods back at the first check",
        "Raise progressDeadlineSeconds.",
    ),
)
