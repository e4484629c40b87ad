"""Lint rules about the ladder: steps, weights, iterations, times and thresholds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from canarycore._ladder import Ladder, Rung, Strategy
from canarycore.manifest._checks._step_requests import STEP_RULES
from canarycore.manifest._checks._step_sizes import SIZE_RULE, read_percent
from canarycore.manifest._duration import format_duration, parse_duration
from canarycore.manifest._lint._rule import Finding, LintContext, LintRule
from canarycore.manifest._reader._fields import is_duration
from canarycore.manifest._resolve import (
    PROGRESS_DEADLINE,
    SHORTEST_INTERVAL,
    UNROUTED,
    check_bake,
    check_own_steps,
    check_rollback_window,
    check_steps,
    check_steps_requests,
    check_steps_sizes,
    gradual_return,
)
from canarycore.text import shorten


def _no_analysis(context: LintContext) -> Iterator[Finding]:
    if context.canary.analysis is None:
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
    heaviest = min(top - top % step + step, context.ladder.total) if step else 0
    if context.strategy is Strategy.WEIGHTS and 0 < step <= top and top % step and heaviest > top:
        place = "stepWeights" if context.analysis.step_weights else "maxWeight"
        arguments = {"step": step, "top": top, "heaviest": heaviest, "lower": top - top % step}
        yield Finding(context.at(place), f"a top of {top} with steps of {step}", arguments)


def _step_fields(context: LintContext) -> Iterator[Finding]:
    if context.canary.analysis is None or any(check_steps(context.canary, context.provider)):
        return
    analysis = context.analysis
    fields = {
        "iterations": analysis.iterations is not None,
        "stepWeight": analysis.step_weight is not None,
        "stepWeights": bool(analysis.step_weights),
    }
    given = [name for name, is_given in fields.items() if is_given]
    if analysis.steps:
        given = [*given, "steps"] if analysis.iterations else ["steps"]
    if len(given) != 1:
        place = context.at(given[-1]) if given else context.canary.analysis_path
        yield Finding(place, " together with ".join(given) or f"none of {', '.join(fields)}")


def _unknown_metric(context: LintContext) -> Iterator[Finding]:
    for problem in check_own_steps(context.canary):
        if problem.rule == "unknown-metric":
            yield Finding(problem.path, problem.found)


def _unknown_step(context: LintContext) -> Iterator[Finding]:
    for problem in check_rollback_window(context.canary, context.provider):
        yield Finding(problem.path, problem.found)


def _step_requests(rule: str) -> Callable[[LintContext], Iterator[Finding]]:
    """Return a check of requests that reach the canary beside the weight of a step."""

    def check(context: LintContext) -> Iterator[Finding]:
        for problem in check_steps_requests(context.canary, context.provider, context.around.installed):
            if problem.rule == rule:
                yield Finding.of(problem)

    return check


def _step_size(context: LintContext) -> Iterator[Finding]:
    return map(Finding.of, check_steps_sizes(context.canary, context.provider))


def _small_size(context: LintContext) -> Iterator[Finding]:
    percent = 0
    for index, step in enumerate(context.analysis.steps):
        percent = read_percent(step.size) if step.size else percent
        if 0 < percent < (step.weight or 0):
            place = "size" if step.size else "weight"
            arguments = {"weight": step.weight, "times": round((step.weight or 0) / percent, 1)}
            yield Finding(context.at(f"steps[{index}].{place}"), f"a size of {percent}%", arguments)


def _unrouted_steps(context: LintContext) -> Iterator[Finding]:
    if context.analysis.steps and context.provider == UNROUTED:
        yield Finding(context.at("steps"), f"steps with the provider {UNROUTED}")


def _no_bake(context: LintContext) -> Iterator[Finding]:
    return map(Finding.of, check_bake(context.canary, context.provider))


def _short_hold(context: LintContext) -> Iterator[Finding]:
    holds = {f"steps[{index}].hold": step.hold for index, step in enumerate(context.analysis.steps)}
    for place, hold in (holds | {"bake": context.analysis.bake}).items():
        if hold and 0 < parse_duration(hold) < context.interval:
            arguments = {"interval": format_duration(context.interval)}
            yield Finding(context.at(place), repr(hold), arguments)


def _long_analysis(context: LintContext) -> Iterator[Finding]:
    for index, step in enumerate(context.analysis.steps):
        hold = parse_duration(step.hold) if step.hold else 0.0
        for metric in context.analysis.metrics:
            every = parse_duration(metric.every) if metric.every else 0.0
            takes = ((metric.count or 1) - 1) * max(every, context.interval)
            if 0 < hold < takes and (not step.metrics or metric.name in step.metrics):
                arguments = {"name": shorten(metric.name), "takes": format_duration(takes)}
                yield Finding(context.at(f"steps[{index}].hold"), repr(step.hold), arguments)


def _tolerant_check(context: LintContext) -> Iterator[Finding]:
    for index, metric in enumerate(context.analysis.metrics):
        if metric.failure_limit is not None and metric.failure_limit >= (metric.count or 1):
            arguments = {"count": metric.count or 1}
            yield Finding(context.at(f"metrics[{index}].failureLimit"), str(metric.failure_limit), arguments)


def _max_ignored(context: LintContext) -> Iterator[Finding]:
    analysis = context.analysis
    by = "iterations" if analysis.iterations else "stepWeights" if analysis.step_weights else ""
    if by and analysis.max_weight and not analysis.step_weight:
        yield Finding(context.at("maxWeight"), f"maxWeight together with {by}", {"by": by})


def _match_ignored(context: LintContext) -> Iterator[Finding]:
    if context.analysis.match and not context.analysis.iterations and context.provider != UNROUTED:
        yield Finding(context.at("match"), "match without iterations")


def _promotion_steps_ignored(context: LintContext) -> Iterator[Finding]:
    if context.analysis.step_weight_promotion and not context.ladder.step_back:
        arguments = {"strategy": context.strategy.value, "provider": context.provider}
        yield Finding(context.at("stepWeightPromotion"), "stepWeightPromotion", arguments)


def _return_ignored(context: LintContext) -> Iterator[Finding]:
    if context.analysis.rollback is not None and not any(rung.weight for rung in _weighted(context.ladder)):
        arguments = {"strategy": context.strategy.value, "provider": context.provider}
        yield Finding(context.at("rollback"), "rollback", arguments)


def _follow_ignored(context: LintContext) -> Iterator[Finding]:
    policy, kind = context.analysis.rollback, context.canary.spec.target_ref.kind
    if policy is not None and policy.follow and kind == "Service":
        yield Finding(context.at("rollback.follow"), f"{policy.follow} of a target of kind {kind}")


def _weighted(ladder: Ladder) -> Sequence[Rung]:
    """Return the rungs that may have a weight: rungs that count iterations have none before the last."""
    return ladder.rungs if ladder.strategy is Strategy.WEIGHTS else ladder.rungs[-1:]


def _short_return(context: LintContext) -> Iterator[Finding]:
    policy = gradual_return(context.analysis)
    if policy is None:
        return
    deadline = _progress_deadline(context) if policy.deadline is None else policy.deadline
    steps = -(-max((rung.weight for rung in _weighted(context.ladder)), default=0) // policy.step)
    takes = (steps - 1) * policy.interval
    if takes > deadline:
        arguments = {"takes": format_duration(takes), "steps": steps}
        yield Finding(context.at("rollback"), f"a deadline of {format_duration(deadline)}", arguments)


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


def _no_interval(context: LintContext) -> Iterator[Finding]:
    if context.canary.analysis and not context.analysis.interval:
        yield Finding(context.at("interval"), "no interval")


def _no_threshold(context: LintContext) -> Iterator[Finding]:
    if context.canary.analysis and context.analysis.threshold is None:
        yield Finding(context.at("threshold"), "no threshold")


def _no_tolerance(context: LintContext) -> Iterator[Finding]:
    value = context.analysis.threshold
    if value is not None and value <= 0:
        yield Finding(context.at("threshold"), f"threshold {value}")


def _progress_deadline(context: LintContext) -> int:
    given = context.canary.spec.progress_deadline_seconds
    return PROGRESS_DEADLINE if given is None else given


def _short_deadline(context: LintContext) -> Iterator[Finding]:
    deadline = _progress_deadline(context)
    if context.canary.analysis and deadline < context.interval:
        arguments = {"interval": format_duration(context.interval)}
        yield Finding("spec.progressDeadlineSeconds", f"a progress deadline of {deadline}s", arguments)


RULES: tuple[LintRule[LintContext], ...] = (
    LintRule(
        "no-analysis",
        "error",
        _no_analysis,
        "an analysis, as in Flagger's Canary definition: without one every revision is promoted without a check",
        "Add spec.analysis; set skipAnalysis: true beside it if you want no checks.",
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
        "step-fields",
        "error",
        _step_fields,
        "exactly one of iterations, stepWeight and stepWeights: Flagger's Canary definition refuses any other number",
        "Keep one of them: iterations for blue/green and A/B, stepWeight or stepWeights for a canary.",
    ),
    LintRule(
        "max-ignored",
        "warning",
        _max_ignored,
        "no maxWeight: the analysis ignores it with {by}",
        "Remove maxWeight.",
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
        "return-ignored",
        "warning",
        _return_ignored,
        "none: {strategy} on {provider} sends no share of the requests to the canary, so none goes back by steps",
        "Remove it.",
    ),
    LintRule(
        "follow-ignored",
        "warning",
        _follow_ignored,
        "none: such a target has no number of pods, so no step waits for them",
        "Remove it.",
    ),
    LintRule(
        "short-return",
        "warning",
        _short_return,
        "at least {takes}, the time of {steps} steps: at the deadline the rest goes back at once, with an alert",
        "Raise the deadline, take greater steps, or shorten their interval.",
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
        "error",
        _odd_durations,
        "a duration that begins with whole minutes or seconds: Flagger's Canary definition refuses others",
        "Write the duration in m and s, for example 60m for an hour.",
    ),
    LintRule(
        "no-interval",
        "error",
        _no_interval,
        "a duration such as 1m: Flagger's Canary definition requires it",
        "Set interval, the time between two checks.",
    ),
    LintRule(
        "no-threshold",
        "error",
        _no_threshold,
        "a number of failed checks: Flagger's Canary definition requires it, and without it the first one rolls back",
        "Set threshold; write 1 if you want a rollback at the first failed check.",
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
    LintRule(
        "unknown-metric",
        "error",
        _unknown_metric,
        "a name of analysis.metrics",
        "Correct the name, or add the metric to analysis.metrics.",
    ),
    LintRule(
        "unknown-step",
        "error",
        _unknown_step,
        "a weight of the analysis: a return would skip all its steps",
        "Correct the weight, or remove it.",
    ),
    *(LintRule(rule, "error", _step_requests(rule), "{expected}", "{remedy}") for rule in STEP_RULES),
    LintRule(SIZE_RULE, "error", _step_size, "{expected}", "{remedy}"),
    LintRule(
        "small-size",
        "warning",
        _small_size,
        "at least {weight}%, the weight of the step: each pod of the canary would get {times} times as many requests",
        "Raise size, or lower the weight; a step without a size has that of the step before.",
    ),
    LintRule(
        "unrouted-steps",
        "warning",
        _unrouted_steps,
        "no steps: this provider cannot split requests, so the analysis counts iterations",
        "Remove steps, or set spec.provider.",
    ),
    LintRule(
        "no-bake",
        "error",
        _no_bake,
        "{expected}",
        "{remedy}",
    ),
    LintRule(
        "long-analysis",
        "warning",
        _long_analysis,
        "at least {takes}: the check {name} takes as long on the step, and the rollout waits for it",
        "Write a longer hold, or lower count or every.",
    ),
    LintRule(
        "tolerant-check",
        "warning",
        _tolerant_check,
        "less than the count of {count}: a rung ends after as many values, so no number of bad ones fails the check",
        "Lower failureLimit, or raise count.",
    ),
    LintRule(
        "short-hold",
        "warning",
        _short_hold,
        "a hold of at least the interval {interval}: the rollout leaves a step only at an analysis",
        "Remove the hold, or write a longer one.",
    ),
)
