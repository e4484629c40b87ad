"""The linter's findings for a rollout without a manifest.

The rules are those of manifests. A rollout becomes the Canary that would resolve to it, and the rules' texts name the
fields of the core's classes instead of the manifest's.

Rules about a manifest alone do not apply: deprecated fields, references to other documents, notations of durations. Nor
do the names of providers, as a program may bring its own. The constructors of the core's classes refuse some errors
before any rule (`no-step`, `no-range`, `empty-range`), under the rules' names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import evolve, field, frozen

from canarycore._ladder import Ladder, Step, Strategy
from canarycore._observation import TOTAL_WEIGHT
from canarycore._spec import Check, CheckKind, GradualReturn, Hook, Rollout
from canarycore.errors import Problem
from canarycore.manifest._duration import format_duration
from canarycore.manifest._lint import _checks, _routing, _steps
from canarycore.manifest._lint._rule import LintContext, LintRule
from canarycore.manifest._model import (
    FOLLOW_CAPACITY,
    Analysis,
    AnalysisRollback,
    AnalysisStep,
    Canary,
    CanaryAlert,
    CanarySpec,
    Metadata,
    Metric,
    NamedReference,
    SessionAffinity,
    TargetReference,
    ThresholdRange,
    Webhook,
)

ROLLOUT_RULES = (
    *("max-below-step", "overshoot", "step-fields", "short-hold", "short-deadline"),
    *("return-ignored", "follow-ignored", "short-return"),
    *("no-bake", "late-check", "condition-never", "condition-always", "condition-overlap", "step-match", "step-mirror"),
    "small-size",
    *("no-checks", "unit", "long-window", "short-window", "duplicate-name", "long-hook", "endless-hook", "bad-url"),
    *("placeholder-address", "no-ab-routing", "unrouted-match", "match-kind", "nginx-cookie", "nginx-headers"),
    *("merged-match", "header-case", "match-everything", "match-ignored", "no-mirror", "mirror-ignored"),
    *("mirror-weight-ignored", "no-affinity", "affinity-ignored", "same-cookie", "no-blue-green"),
)
"""The names of the rules that apply to a rollout."""

_FIELDS = {
    "stepWeightPromotion": "ladder.step_back",
    "stepWeights": "ladder.steps",
    "stepWeight": "ladder.step",
    "maxWeight": "ladder.top",
    "iterations": "ladder.iterations",
    "fromWeight": "from_weight",
    "successCondition": "success_condition",
    "failureCondition": "failure_condition",
    "mirrorWeight": "mirror_weight",
    "mirror": "ladder.mirror",
    "metrics": "checks",
    "webhooks": "hooks",
    "sessionAffinity": "affinity",
    "primaryCookieName": "primary_cookie_name",
    "progressDeadlineSeconds": "progress_deadline",
    "thresholdRange.min": "minimum",
    "thresholdRange.max": "maximum",
    "withoutHeaders": "without",
    "queryParams": "query_params",
    "sourceLabels": "source_labels",
}
"""The fields of a rollout by those of a manifest."""

_FIELD = re.compile(rf"\b(?:{'|'.join(sorted(map(re.escape, _FIELDS), key=len, reverse=True))})\b")
_CAMEL = re.compile(
    rf"\b(?:{'|'.join(sorted((name for name in _FIELDS if not name.islower()), key=len, reverse=True))})\b"
)
"""The names that are no words of English, so that a found value keeps the owner's words."""


def problems(rollout: Rollout) -> tuple[Problem, ...]:
    """Return the findings of `canary lint` for a rollout that a program builds, errors and warnings.

    Each has the rule, the path below the rollout (such as `checks[0].minimum`), the value, the expected values and the
    remedy.
    """
    context = _RolloutContext(canary=_canary(rollout), provider=rollout.provider, rollout=rollout)
    return tuple(_translate_path(problem) for rule in _RULES for problem in rule.problems(context))


@frozen(kw_only=True)
class _RolloutContext(LintContext):
    """A rollout for the rules. Values that a manifest's fields would only approximate are the rollout's own."""

    rollout: Rollout
    strategy: Strategy = field(init=False)
    ladder: Ladder = field(init=False)

    @strategy.default
    def _rollouts_strategy(self) -> Strategy:
        return self.rollout.ladder.strategy

    @ladder.default
    def _rollouts_ladder(self) -> Ladder:
        return self.rollout.ladder

    @property
    def interval(self) -> float:
        return self.rollout.interval


def _step(step: int | Step) -> AnalysisStep:
    if not isinstance(step, Step):
        return AnalysisStep(weight=step)
    hold = format_duration(step.hold) if step.hold else ""
    return AnalysisStep(
        weight=step.weight,
        match=step.match,
        mirror=step.mirror or None,
        size=None if step.size is None else step.size.replicas or str(step.size),
        hold=hold,
        approval=step.approval,
        metrics=step.metrics,
    )


def _canary(rollout: Rollout) -> Canary:
    """Return the Canary that would resolve to a rollout, as far as the rules read it."""
    ladder, affinity = rollout.ladder, rollout.affinity
    counts = ladder.strategy is not Strategy.WEIGHTS
    has_steps = any(isinstance(step, Step) for step in ladder.steps)
    analysis = Analysis(
        interval=format_duration(rollout.interval),
        threshold=rollout.threshold,
        iterations=ladder.iterations if counts else None,
        max_weight=ladder.top if ladder.step and ladder.top < TOTAL_WEIGHT else None,
        step_weight=ladder.step or None,
        step_weights=() if has_steps else tuple(step for step in ladder.steps if isinstance(step, int)),
        steps=tuple(map(_step, ladder.steps)) if has_steps else (),
        bake=format_duration(ladder.bake) if ladder.bake else "",
        rollback=_rollback(rollout.gradual_return),
        step_weight_promotion=ladder.step_back or None,
        mirror=ladder.mirror,
        mirror_weight=rollout.mirror_weight if rollout.mirror_weight < TOTAL_WEIGHT else None,
        match=rollout.match,
        metrics=tuple(map(_metric, rollout.checks)),
        webhooks=tuple(map(_webhook, rollout.hooks)),
        alerts=tuple(
            CanaryAlert(name=alert.name, provider_ref=NamedReference(name=alert.provider.name))
            for alert in rollout.alerts
        ),
        session_affinity=None
        if affinity is None
        else SessionAffinity(cookie_name=affinity.cookie_name, primary_cookie_name=affinity.primary_cookie_name),
    )
    target = rollout.target
    return Canary(
        metadata=Metadata(name=rollout.name, namespace=rollout.namespace),
        spec=CanarySpec(
            provider=rollout.provider,
            target_ref=TargetReference(api_version=target.api_version, kind=target.kind, name=target.name),
            analysis=analysis,
            progress_deadline_seconds=int(rollout.progress_deadline),
            skip_analysis=rollout.skip_analysis,
        ),
    )


def _rollback(policy: GradualReturn | None) -> AnalysisRollback | None:
    if policy is None:
        return None
    return AnalysisRollback(
        step_weight=policy.step,
        interval=format_duration(policy.interval),
        follow=FOLLOW_CAPACITY if policy.follows_capacity else "",
        deadline="" if policy.deadline is None else format_duration(policy.deadline),
    )


def _metric(check: Check) -> Metric:
    is_built_in = check.kind in {CheckKind.SUCCESS_RATE, CheckKind.DURATION}
    return Metric(
        name=check.kind.value if is_built_in else check.name,
        interval=format_duration(check.window),
        threshold_range=None if check.conditions else ThresholdRange(min=check.minimum, max=check.maximum),
        from_weight=check.from_weight or None,
        dry_run=check.dry_run,
        success_condition=check.success_condition,
        failure_condition=check.failure_condition,
    )


def _webhook(hook: Hook) -> Webhook:
    return Webhook(name=hook.name, type=hook.type.value, url=hook.url, timeout=format_duration(hook.timeout))


def _rules() -> Iterator[LintRule[LintContext]]:
    for rule in (*_steps.RULES, *_checks.RULES, *_routing.RULES):
        if rule.name in ROLLOUT_RULES:
            yield evolve(rule, expected=_translate(rule.expected), remedy=_translate(rule.remedy))


def _translate(text: str) -> str:
    """Return a text with the names of a rollout's fields."""
    return _FIELD.sub(_rename, text)


def _rename(name: re.Match[str]) -> str:
    return _FIELDS[name[0]]


def _translate_path(problem: Problem) -> Problem:
    path = problem.path.removeprefix("spec.").removeprefix("analysis").removeprefix(".")
    path = re.sub(r"^(metrics\[\d+\])\.interval$", r"\1.window", path)
    path = re.sub(r"^rollback\b", "gradual_return", path)
    path = re.sub(r"^(steps\[\d+\]|bake\b)", r"ladder.\1", path)
    return evolve(problem, path=_translate(path) or "rollout", found=_CAMEL.sub(_rename, problem.found))


_RULES = tuple(_rules())
