"""The rollout of a Canary: defaults applied once, the strategy turned into a ladder.

The defaults and the choice of strategy are Flagger's. Where Flagger would stall silently, `resolve` raises an error
with the remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import chain

from attrs import evolve

from canarycore._canary_size import CanarySize
from canarycore._fields import fault
from canarycore._ladder import Ladder, Step, Strategy
from canarycore._limits import PLAIN, CheckLimits
from canarycore._observation import TOTAL_WEIGHT
from canarycore._reference import Reference
from canarycore._spec import (
    DRAIN,
    Check,
    CheckKind,
    GradualReturn,
    Hook,
    HookType,
    NoData,
    OnFailure,
    RollbackWindow,
    Rollout,
    TargetRef,
)
from canarycore.errors import ManifestError, Problem
from canarycore.manifest._checks._names import check_names
from canarycore.manifest._checks._pods import check_pods, check_stateful_set
from canarycore.manifest._checks._routes import check_route_kind, check_route_refs
from canarycore.manifest._checks._step_requests import check_step_requests
from canarycore.manifest._checks._step_sizes import check_step_sizes, read_percent
from canarycore.manifest._definitions import AnyTemplate, define_checks
from canarycore.manifest._duration import parse_duration
from canarycore.manifest._model import (
    FOLLOW_CAPACITY,
    SHORTEST_TIMEOUT,
    Analysis,
    AnalysisRollbackWindow,
    AnalysisStep,
    Canary,
    CanaryAlert,
    Metric,
    MetricTemplate,
    NamedReference,
    SessionAffinity,
    TemplateReference,
    Webhook,
)
from canarycore.manifest._reader._fields import is_duration
from canarycore.manifest.routing import ANYTHING, NO_PLUGINS, SPLIT_ONLY, InstalledProviders, ProviderCapabilities
from canarycore.notices import Alert, Severity
from canarycore.text import enumerate_some, shorten
from canarycore.traffic import Affinity

INTERVAL = 60.0
SHORTEST_INTERVAL = 10.0
METRIC_INTERVAL = "1m"
PROGRESS_DEADLINE = 600
READY = 100
HOOK_TIMEOUT = "10s"
COOKIE_AGE = 86400
UNROUTED_ITERATIONS = 10
UNROUTED = "kubernetes"
"""The provider that cannot split traffic: every analysis becomes blue/green."""

BUILT_IN_METRICS = {kind.value: kind for kind in (CheckKind.SUCCESS_RATE, CheckKind.DURATION)}
"""The metrics that need no query, by name."""


def resolve(
    canary: Canary,
    *,
    templates: Iterable[AnyTemplate] = (),
    provider: str = "istio",
    proxy_delay: Callable[[str], float] = lambda _: DRAIN,
    installed: InstalledProviders = NO_PLUGINS,
) -> Rollout:
    """Return the rollout of a Canary.

    templates: templates with the queries of metrics, and AnalysisTemplates (`canarycore.argo`), which have conditions
    and limits too; a metric whose template is missing has an empty query and keeps its reference. provider: the
    controller's default, for a Canary without a provider. proxy_delay: the seconds until a provider's proxies follow
    new routes, at the latest: the drain of a Canary that gives none. installed: the providers of plug-ins. Raise
    ManifestError where the analysis could never advance, or where a composed name would be too long.
    """
    templates = tuple(templates)
    metric_templates = [template for template in templates if isinstance(template, MetricTemplate)]
    canary = define_checks(canary, [template for template in templates if not isinstance(template, MetricTemplate)])
    problems = (
        *check_steps(canary, provider),
        *check_own_steps(canary),
        *check_steps_requests(canary, provider, installed),
        *check_steps_sizes(canary, provider),
        *check_bake(canary, provider),
        *check_rollback_window(canary, provider),
        *check_ranges(canary),
        *check_pods(canary, provider),
        *check_stateful_set(canary, provider),
        *check_names(canary, provider),
        *check_route_kind(canary, provider),
        *check_route_refs(canary, provider),
    )
    if problems:
        raise ManifestError(problems)
    spec, analysis = canary.spec, canary.analysis or Analysis()
    chosen = spec.provider or provider
    can = _capabilities(canary, installed.capabilities(chosen) or ANYTHING, chosen)
    deadline = spec.progress_deadline_seconds
    return Rollout(
        name=canary.name,
        namespace=canary.namespace,
        target=TargetRef(api_version=spec.target_ref.api_version, kind=spec.target_ref.kind, name=spec.target_ref.name),
        provider=chosen,
        ladder=ladder(analysis if can.mirror else evolve(analysis, mirror=False), chosen),
        interval=interval_seconds(analysis),
        threshold=max(analysis.threshold or 0, 1),
        checks=_checks(canary, metric_templates),
        hooks=tuple(_hook(webhook) for webhook in analysis.webhooks),
        alerts=(*map(_alert, analysis.alerts), *canary.subscriptions),
        match=() if chosen == UNROUTED else analysis.match,
        affinity=_affinity(analysis.session_affinity) if analysis.session_affinity and can.affinity else None,
        mirror_weight=analysis.mirror_weight or TOTAL_WEIGHT,
        no_data=NoData(analysis.no_data or NoData.FAIL.value),
        min_samples=analysis.min_samples or 0,
        inconclusive_limit=analysis.inconclusive or 0,
        rollback_window=_rollback_window(analysis.rollback_window),
        gradual_return=gradual_return(analysis),
        on_failure=OnFailure(analysis.on_failure or OnFailure.ROLLBACK.value),
        replace_down_primary=analysis.replace_down_primary,
        progress_deadline=float(PROGRESS_DEADLINE if deadline is None else deadline),
        primary_ready=_default(analysis.primary_ready_threshold, READY),
        canary_ready=_default(analysis.canary_ready_threshold, READY),
        skip_analysis=spec.skip_analysis or canary.analysis is None,
        suspend=spec.suspend,
        revert_on_deletion=spec.revert_on_deletion,
        autoscaled=spec.autoscaler_ref is not None,
        drain=parse_duration(analysis.drain) if analysis.drain else max(proxy_delay(chosen), DRAIN),
    )


def _capabilities(canary: Canary, can: ProviderCapabilities, provider: str) -> ProviderCapabilities:
    """Return the capabilities of a provider for a Canary: without parts whose rung the rollout would await for ever.

    A TCP connection has no requests to copy and no cookies. Match conditions replace session cookies.
    """
    service, analysis = canary.spec.service, canary.analysis
    if provider == "istio" and service is not None and service.app_protocol.lower() == "tcp":
        return SPLIT_ONLY
    return evolve(can, affinity=False) if analysis is not None and analysis.match else can


def check_steps(canary: Canary, provider: str) -> Iterator[Problem]:
    """Return the problem of an analysis that can never advance."""
    analysis, chosen = canary.analysis, canary.spec.provider or provider
    if analysis is None or canary.spec.skip_analysis or chosen == UNROUTED:
        return
    if not (analysis.step_weight or analysis.step_weights or analysis.iterations or analysis.steps):
        yield Problem(
            path=f"{canary.analysis_path}.stepWeight",
            found="neither stepWeight nor stepWeights nor iterations",
            expected="one of them above 0: otherwise the analysis never advances",
            remedy="Set stepWeight (and maxWeight), stepWeights or iterations, or set spec.skipAnalysis.",
            rule="no-step",
        )


def check_bake(canary: Canary, provider: str) -> Iterator[Problem]:
    """Return the problem of a bake that has no traffic to keep on the canary, or no step of its own."""
    analysis = canary.analysis
    if analysis is None or not analysis.bake:
        return
    path = f"{canary.analysis_path}.bake"
    if (canary.spec.provider or provider) == UNROUTED:
        found = f"a bake with the provider {UNROUTED}"
        expected = "none: this provider moves no traffic to the canary, so there is none to keep there"
        yield fault(found, expected, "Remove bake, or set spec.provider.", "no-bake", part=path)
    if _holds_all_traffic(analysis):
        found = f"a bake after a step with weight {TOTAL_WEIGHT} and conditions of its own"
        remedy = "Set the hold of that step and remove bake, or remove the step's other fields."
        yield fault(found, "one of them: that step has all traffic already", remedy, "no-bake", part=path)


def check_own_steps(canary: Canary) -> Iterator[Problem]:
    """Return the problems of `steps` beside iterations, and with metrics that the analysis does not have."""
    analysis = canary.analysis
    if analysis is None or not analysis.steps:
        return
    if analysis.iterations:
        yield Problem(
            path=f"{canary.analysis_path}.iterations",
            found="iterations together with steps",
            expected="one of them: a test that counts iterations has no steps by weight",
            remedy="Remove iterations, or steps.",
            rule="step-fields",
        )
    known = {metric.name for metric in analysis.metrics}
    for index, step in enumerate(analysis.steps):
        for place, name in enumerate(step.metrics):
            if name not in known:
                yield Problem(
                    path=f"{canary.analysis_path}.steps[{index}].metrics[{place}]",
                    found=shorten(name),
                    expected=f"a name of analysis.metrics: {enumerate_some(sorted(known)) or 'there are none'}",
                    remedy="Correct the name, or add the metric to analysis.metrics.",
                    rule="unknown-metric",
                )


def check_steps_requests(
    canary: Canary, provider: str, installed: InstalledProviders = NO_PLUGINS
) -> Iterator[Problem]:
    """Return the problems of matches and mirrors of steps. The provider kubernetes counts iterations in their place."""
    chosen = canary.spec.provider or provider
    can = _capabilities(canary, installed.capabilities(chosen) or ANYTHING, chosen)
    return iter(()) if chosen == UNROUTED else check_step_requests(canary, chosen, can)


def check_steps_sizes(canary: Canary, provider: str) -> Iterator[Problem]:
    """Return the problems of sizes of steps. The provider kubernetes counts iterations in place of steps."""
    chosen = canary.spec.provider or provider
    return iter(()) if chosen == UNROUTED else check_step_sizes(canary, chosen)


def check_rollback_window(canary: Canary, provider: str) -> Iterator[Problem]:
    """Return the problems of weights of the rollback window that no step has: a return would skip all the same."""
    analysis, chosen = canary.analysis, canary.spec.provider or provider
    window = None if analysis is None else analysis.rollback_window
    if analysis is None or window is None:
        return
    first = (check_steps(canary, provider), check_own_steps(canary), check_bake(canary, provider))
    if any((*chain.from_iterable(first), *check_steps_requests(canary, provider))):
        return  # these come first
    steps = ladder(analysis, chosen)
    rungs = steps.rungs if steps.strategy is Strategy.WEIGHTS else steps.rungs[-1:]  # iterations have no weight
    known = [rung.weight for rung in rungs if rung.weight]
    for index, weight in enumerate(window.steps):
        if weight not in known:
            yield Problem(
                path=f"{canary.analysis_path}.rollbackWindow.steps[{index}]",
                found=str(weight),
                expected=f"a weight of the analysis: {enumerate_some(map(str, known)) or 'there are none'}",
                remedy="Correct the weight, or remove it.",
                rule="unknown-step",
            )


def check_ranges(canary: Canary) -> Iterator[Problem]:
    """Return the problems of metrics whose range lets every value pass, or none, or is beside a condition."""
    for index, metric in enumerate(canary.analysis.metrics if canary.analysis else ()):
        limits, path = metric.threshold_range, f"{canary.analysis_path}.metrics[{index}].thresholdRange"
        if metric.has_condition and (limits is not None or metric.threshold is not None):
            yield Problem(
                path=path if limits is not None else path.removesuffix("Range"),
                found="a range beside a condition",
                expected="either a range or conditions",
                remedy="Remove one of them, or write the range as a condition, such as result >= 99.",
                rule="range-and-condition",
            )
            continue
        if limits is None:
            continue
        if limits.min is None and limits.max is None:
            yield Problem(
                path=path,
                found="neither min nor max",
                expected="thresholdRange with min or max: without one the metric always passes",
                remedy="Add min or max.",
                rule="no-range",
            )
        elif limits.min is not None and limits.max is not None and limits.min > limits.max:
            yield Problem(
                path=path,
                found=f"min {limits.min:g} above max {limits.max:g}",
                expected="min at most max: no value is in this range",
                remedy="Swap or correct min and max.",
                rule="empty-range",
            )


def strategy(analysis: Analysis, provider: str) -> Strategy:
    """Return the strategy that the fields select, as Flagger's `DeploymentStrategy` does."""
    if provider == UNROUTED:
        return Strategy.BLUE_GREEN
    if not analysis.iterations:
        return Strategy.WEIGHTS
    return Strategy.AB if analysis.match else Strategy.BLUE_GREEN


def ladder(analysis: Analysis, provider: str) -> Ladder:
    """Return the ladder of an analysis on a provider."""
    kind, routed = strategy(analysis, provider), provider != UNROUTED
    bakes = analysis.bake and routed and not _holds_all_traffic(analysis)
    bake = parse_duration(analysis.bake) if bakes else 0.0
    if kind is Strategy.WEIGHTS and analysis.steps:
        back = analysis.step_weight_promotion or 0
        steps = tuple(_step(step) for step in analysis.steps if step.weight or not analysis.mirror)
        return _ladder(strategy=kind, steps=steps, mirror=analysis.mirror, step_back=back, bake=bake)
    if kind is Strategy.WEIGHTS:
        top = analysis.step_weights[-1] if analysis.step_weights else analysis.max_weight or TOTAL_WEIGHT
        return _ladder(
            strategy=kind,
            step=analysis.step_weight or 0,
            steps=analysis.step_weights,
            top=top,
            mirror=analysis.mirror,
            step_back=analysis.step_weight_promotion or 0,
            bake=bake,
        )
    return _ladder(
        strategy=kind,
        iterations=analysis.iterations or UNROUTED_ITERATIONS,
        mirror=analysis.mirror and routed and kind is Strategy.BLUE_GREEN,
        step_back=(analysis.step_weight_promotion or 0) if routed and kind is Strategy.BLUE_GREEN else 0,
        routed=routed,
        bake=bake,
    )


def _holds_all_traffic(analysis: Analysis) -> bool:
    """Whether the last step has all traffic and conditions of its own."""
    last = analysis.steps[-1] if analysis.steps else None
    return last is not None and last.weight == TOTAL_WEIGHT and isinstance(_step(last), Step)


def _rollback_window(window: AnalysisRollbackWindow | None) -> RollbackWindow | None:
    return None if window is None else RollbackWindow(revisions=window.revisions or 1, steps=window.steps)


def gradual_return(analysis: Analysis) -> GradualReturn | None:
    """Return the steps of the way back after a rollback; by default one for each interval of the analysis."""
    policy = analysis.rollback
    if policy is None:
        return None
    return GradualReturn(
        step=policy.step_weight or TOTAL_WEIGHT,
        interval=parse_duration(policy.interval) if policy.interval else interval_seconds(analysis),
        deadline=parse_duration(policy.deadline) if policy.deadline else None,
        follows_capacity=policy.follow == FOLLOW_CAPACITY,
    )


def _step(step: AnalysisStep) -> int | Step:
    """Return a step; one that only a passing analysis has to leave is its weight."""
    weight, hold = step.weight or 0, parse_duration(step.hold) if step.hold else 0.0
    match, mirror = (step.match, step.mirror or 0) if weight < TOTAL_WEIGHT else ((), 0)
    size = _size(step.size)
    if not (match or mirror or size or hold or step.approval or step.metrics):
        return weight
    return Step(
        weight=weight,
        match=match,
        mirror=mirror,
        size=size,
        hold=hold,
        approval=step.approval,
        metrics=step.metrics,
    )


def _size(size: int | str | None) -> CanarySize | None:
    if not size:
        return None
    return CanarySize(replicas=size) if isinstance(size, int) else CanarySize(percent=read_percent(size))


_ladder = lru_cache(maxsize=256)(Ladder)
"""A cache of ladders, as thousands of Canaries share one; it takes 10 MB at most."""


def interval_seconds(analysis: Analysis) -> float:
    """Return the seconds between two analyses: as in Flagger at least 10, and 60 for a text that is no duration."""
    return max(parse_duration(analysis.interval), SHORTEST_INTERVAL) if is_duration(analysis.interval) else INTERVAL


def _default(value: int | None, default: int) -> int:
    return default if value is None else value


def _checks(canary: Canary, templates: Iterable[MetricTemplate]) -> tuple[Check, ...]:
    queries = {(template.namespace, template.name): template.spec.query for template in templates}
    metrics = canary.analysis.metrics if canary.analysis else ()
    return tuple(check for metric in metrics for check in _checks_of(metric, canary.namespace, queries))


def _checks_of(metric: Metric, namespace: str, queries: dict[tuple[str, str], str]) -> Iterator[Check]:
    """Return the checks of a metric. As in Flagger, a metric with a built-in name may have a query or template too."""
    if metric.template_ref is not None and metric.is_defined_elsewhere:
        query = metric.definition.query if metric.definition else ""
        yield _check(metric, CheckKind.TEMPLATE, query=query, template=_reference(metric.template_ref))
        return
    if metric.name in BUILT_IN_METRICS:
        yield _check(metric, BUILT_IN_METRICS[metric.name])
    if metric.query:
        yield _check(metric, CheckKind.QUERY, query=metric.query)
    if metric.template_ref:
        reference = _reference(metric.template_ref)
        query = queries.get((reference.namespace or namespace, reference.name), "")
        yield _check(metric, CheckKind.TEMPLATE, query=query, template=reference)
    elif metric.name not in BUILT_IN_METRICS and not metric.query:
        yield _check(metric, CheckKind.QUERY)  # the source reports the missing query, as lint does before


def _check(metric: Metric, kind: CheckKind, *, query: str = "", template: Reference | None = None) -> Check:
    minimum, maximum = _limits(metric, kind)
    return Check(
        name=metric.name,
        kind=kind,
        minimum=minimum,
        maximum=maximum,
        window=parse_duration(metric.interval or METRIC_INTERVAL),
        window_text=metric.interval or METRIC_INTERVAL,
        template=template,
        query=query,
        variables=metric.template_variables,
        from_weight=metric.from_weight or 0,
        limits=_check_limits(metric),
        dry_run=metric.dry_run,
        success_condition=metric.success_condition,
        failure_condition=metric.failure_condition,
    )


def _check_limits(metric: Metric) -> CheckLimits:
    given = CheckLimits(
        initial_delay=parse_duration(metric.initial_delay) if metric.initial_delay else 0.0,
        every=parse_duration(metric.every) if metric.every else 0.0,
        count=metric.count or 1,
        success_limit=metric.consecutive_success_limit or 0,
        failure_limit=metric.failure_limit,
        inconclusive_limit=metric.inconclusive_limit,
        error_limit=metric.consecutive_error_limit,
    )
    return PLAIN if given == PLAIN else given


def _limits(metric: Metric, kind: CheckKind) -> tuple[float | None, float | None]:
    """Return (minimum, maximum). The deprecated threshold is a minimum of the success rate, else a maximum."""
    if metric.has_condition:
        return None, None
    if metric.threshold_range:
        return metric.threshold_range.min, metric.threshold_range.max
    threshold = metric.threshold or 0.0
    return (threshold, None) if kind is CheckKind.SUCCESS_RATE else (None, threshold)


def _hook(webhook: Webhook) -> Hook:
    return Hook(
        name=webhook.name,
        type=HookType(webhook.type or HookType.ROLLOUT.value),
        url=webhook.url,
        timeout=hook_timeout(webhook),
        retries=webhook.retries or 0,
        metadata=webhook.metadata,
        mute_alert=webhook.mute_alert,
        disable_tls=webhook.disable_tls,
    )


def hook_timeout(webhook: Webhook) -> float:
    """Return the timeout of a webhook in seconds."""
    return parse_duration(webhook.timeout if len(webhook.timeout) >= SHORTEST_TIMEOUT else HOOK_TIMEOUT)


def _alert(alert: CanaryAlert) -> Alert:
    assert alert.provider_ref is not None  # parsing requires it
    return Alert(
        name=alert.name,
        provider=_reference(alert.provider_ref),
        severity=Severity(alert.severity or Severity.INFO.value),
    )


def _reference(reference: NamedReference) -> Reference:
    kind = reference.kind if isinstance(reference, TemplateReference) and reference.is_analysis else ""
    return Reference(name=reference.name, namespace=reference.namespace, kind=kind)


def _affinity(affinity: SessionAffinity) -> Affinity:
    return Affinity(
        cookie_name=affinity.cookie_name,
        primary_cookie_name=affinity.primary_cookie_name,
        max_age=affinity.max_age or COOKIE_AGE,
        domain=affinity.domain,
        path=affinity.path,
        same_site=affinity.same_site,
        http_only=affinity.http_only,
        partitioned=affinity.partitioned,
        secure=affinity.secure,
    )
