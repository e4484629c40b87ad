"""Lint rules about metrics, webhooks, alerts and their providers and templates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from math import inf, nan

import attrs
from attrs import frozen

from canarycore._condition_values import find_values
from canarycore._expressions import Conditions, parse_condition
from canarycore._ladder import Strategy
from canarycore._reference import Reference
from canarycore._spec import CheckKind, HookType
from canarycore.bounds import HOOK_TIMEOUT
from canarycore.errors import Problem
from canarycore.gotemplate import BUILT_IN_FUNCTIONS, KEYWORDS, TemplateError
from canarycore.gotemplate import parse as parse_template
from canarycore.manifest._alerts._subscriptions import (
    SUBSCRIPTION_ANNOTATION,
    find_annotation,
    find_subscribed_providers,
)
from canarycore.manifest._alerts._templates import (
    LINKS_ANNOTATION,
    TEXT_ANNOTATION,
    AlertFacts,
    InvalidAlertTemplate,
    check_links,
    check_text,
)
from canarycore.manifest._definitions import (
    TemplatePlace,
    describe_template,
    find_undefined,
    index_templates,
    place_of_template,
)
from canarycore.manifest._duration import format_duration, parse_duration
from canarycore.manifest._lint._rule import Finding, LintContext, LintRule
from canarycore.manifest._model import SHORTEST_TIMEOUT, AlertProvider, Metric, MetricTemplate, NamedReference
from canarycore.manifest._reader._path import join
from canarycore.manifest._resolve import BUILT_IN_METRICS, METRIC_INTERVAL, check_ranges, hook_timeout
from canarycore.manifest.routing import InstalledProviders
from canarycore.text import enumerate_some, nearest, shorten

METRIC_PROVIDERS = (
    *("prometheus", "datadog", "externalmetrics", "cloudwatch", "newrelic", "graphite", "stackdriver", "influxdb"),
    *("dynatrace", "keptn", "splunk"),
)
ALERT_PROVIDERS = ("slack", "msteams", "msteams-workflow", "discord", "rocket", "gchat")
OWN_ANNOTATIONS = "canarycore/"
"""Prefix of the annotations of canarycore."""

WITHOUT_CHANNELS = ("msteams", "msteams-workflow", "discord", "gchat")
"""The types of chats whose address alone determines the channel."""

TEMPLATE_VARIABLES = frozenset({"name", "namespace", "target", "service", "ingress", "route", "interval", "variables"})

PLACEHOLDER = re.compile(r"<[^<>\s][^<>]*>|\bYOUR\b|\bYOUR[_-]|CHANGE_?ME|REPLACE_?ME|\bTODO\b|X{6,}|x{6,}")
"""Pattern of the placeholders that documentation leaves in addresses. The API server runs it too, so it is RE2."""

_VARIABLE = re.compile(r"\{\{-?\s*+([A-Za-z_]\w*+)\s*+-?\}\}")
_DOTTED = re.compile(r"\{\{-?\s*+\.(\w++)")
_BLOCK = re.compile(r"\{\{-?\s*+(?:with|range|template|block)\b")
_WEB = re.compile(r"https?://[^/\s]")

_NO_CHECKS = {HookType.EVENT.value, HookType.ROLLBACK.value, HookType.POST_ROLLOUT.value}
"""The types of webhooks that look at no new version: they tell, or end a rollout by hand, or come after it."""

MANY = 2
"""Greatest ratio of the interval to a metric's window without a warning."""

FEW_MILLISECONDS = 10
"""Least maximum of a duration that is no mistake for seconds (milliseconds)."""


def _metrics(context: LintContext) -> Iterator[tuple[str, Metric]]:
    for index, metric in enumerate(context.analysis.metrics):
        yield context.at(f"metrics[{index}]"), metric


def _no_checks(context: LintContext) -> Iterator[Finding]:
    analysis = context.analysis
    checking = [hook for hook in analysis.webhooks if hook.type not in _NO_CHECKS]
    judged = [metric for metric in analysis.metrics if not metric.dry_run]
    if context.canary.analysis and not context.canary.spec.skip_analysis and not judged and not checking:
        others = enumerate_some(dict.fromkeys(hook.type for hook in analysis.webhooks))
        metrics = "only metrics that run dry" if analysis.metrics else "no metrics"
        webhooks = f"only webhooks of the type {others}" if others else "no webhooks"
        yield Finding(context.canary.analysis_path, f"{metrics}, and {webhooks}")


def _late_check(context: LintContext) -> Iterator[Finding]:
    heaviest = context.ladder.rungs[-1].percent
    for path, metric in _metrics(context):
        if (metric.from_weight or 0) > heaviest:
            yield Finding(f"{path}.fromWeight", str(metric.from_weight), {"heaviest": f"{heaviest:g}"})


def _no_range(context: LintContext) -> Iterator[Finding]:
    for path, metric in _metrics(context):
        limits = metric.threshold_range
        if limits is None and metric.threshold is None and not (metric.has_condition or metric.is_defined_elsewhere):
            verdict = "always passes" if metric.name == CheckKind.SUCCESS_RATE.value else "passes at 0 or less only"
            yield Finding(path, f"the metric {metric.name!r} without a range", {"verdict": verdict})
    for problem in _problems_of_ranges(context, "no-range"):
        yield Finding(problem.path, problem.found, {"verdict": "always passes"})


def _empty_range(context: LintContext) -> Iterator[Finding]:
    for problem in _problems_of_ranges(context, "empty-range"):
        yield Finding(problem.path, problem.found)


def _range_and_condition(context: LintContext) -> Iterator[Finding]:
    return map(Finding.of, _problems_of_ranges(context, "range-and-condition"))


_SPECIAL: tuple[float | None, ...] = (None, nan, inf, -inf)
"""The results that are no number of their own kind."""


def _truths(context: LintContext) -> Iterator[tuple[str, str, set[bool | None]]]:
    """Yield the path and text of each condition, and its truths; only of those whose values show all of them."""
    for path, metric in _metrics(context):
        texts = {"successCondition": metric.success_condition, "failureCondition": metric.failure_condition}
        for name, text in texts.items():
            conditions = Conditions.of(text, "")
            if conditions is None or not (found := find_values(conditions)).is_complete:
                continue
            condition, values = parse_condition(text), (*found.values, *filter(conditions.accept, _SPECIAL))
            yield f"{path}.{name}", text, {condition.evaluate(value) for value in values}


def _condition_never(context: LintContext) -> Iterator[Finding]:
    for path, text, truths in _truths(context):
        if True not in truths:
            yield Finding(path, shorten(text))


def _condition_always(context: LintContext) -> Iterator[Finding]:
    for path, text, truths in _truths(context):
        if truths == {True}:
            yield Finding(path, shorten(text))


def _condition_overlap(context: LintContext) -> Iterator[Finding]:
    for path, metric in _metrics(context):
        conditions = Conditions.of(metric.success_condition, metric.failure_condition)
        if conditions is None or conditions.success is None or conditions.failure is None:
            continue
        success, failure = conditions.success, conditions.failure
        values = find_values(conditions).values
        common = next((value for value in values if success.evaluate(value) and failure.evaluate(value)), None)
        if common is not None:
            yield Finding(f"{path}.failureCondition", shorten(failure.text), {"value": f"{common:g}"})


def _problems_of_ranges(context: LintContext, rule: str) -> Iterator[Problem]:
    return (problem for problem in check_ranges(context.canary) if problem.rule == rule)


def _old_threshold(context: LintContext) -> Iterator[Finding]:
    for path, metric in _metrics(context):
        if metric.threshold is not None:
            end = "min" if metric.name == CheckKind.SUCCESS_RATE.value else "max"
            arguments = {"end": end, "value": f"{metric.threshold:g}"}
            yield Finding(f"{path}.threshold", "the deprecated threshold", arguments)


def _no_query(context: LintContext) -> Iterator[Finding]:
    for path, metric in _metrics(context):
        if metric.name not in BUILT_IN_METRICS and not metric.query and metric.template_ref is None:
            near = nearest(metric.name, BUILT_IN_METRICS)
            hint = f"Did you mean {near!r}? Otherwise add templateRef." if near else "Add templateRef."
            yield Finding(path, f"the metric {metric.name!r} without templateRef", {"hint": hint})


def _built_in_template(context: LintContext) -> Iterator[Finding]:
    for path, metric in _metrics(context):
        has_query = bool(metric.query or metric.template_ref) and not metric.is_defined_elsewhere
        if metric.name in BUILT_IN_METRICS and has_query:
            yield Finding(f"{path}.name", f"the built-in name {metric.name!r} with a query of its own")


def _suspicious_unit(context: LintContext) -> Iterator[Finding]:
    for path, metric in _metrics(context):
        limits = metric.threshold_range
        if limits is None or metric.is_defined_elsewhere:
            continue
        if metric.name == CheckKind.SUCCESS_RATE.value and limits.min is not None and 0 < limits.min <= 1:
            arguments = {"unit": "percent (0 to 100)", "better": f"{limits.min * 100:g}"}
            yield Finding(f"{path}.thresholdRange.min", f"a success rate of {limits.min:g}", arguments)
        if metric.name == CheckKind.DURATION.value and limits.max is not None and 0 < limits.max < FEW_MILLISECONDS:
            arguments = {"unit": "milliseconds", "better": f"{limits.max * 1000:g}"}
            yield Finding(f"{path}.thresholdRange.max", f"a duration of {limits.max:g}", arguments)


def _long_window(context: LintContext) -> Iterator[Finding]:
    for path, metric in _metrics(context):
        window = parse_duration(metric.interval or METRIC_INTERVAL)
        if context.strategy is Strategy.WEIGHTS and window > context.interval:
            arguments = {"interval": format_duration(context.interval)}
            yield Finding(f"{path}.interval", f"a window of {format_duration(window)}", arguments)


def _short_window(context: LintContext) -> Iterator[Finding]:
    for path, metric in _metrics(context):
        window = parse_duration(metric.interval or METRIC_INTERVAL)
        if window * MANY < context.interval:
            arguments = {"interval": format_duration(context.interval)}
            yield Finding(f"{path}.interval", f"a window of {format_duration(window)}", arguments)


def _templates(context: LintContext) -> Iterator[tuple[str, NamedReference]]:
    for path, metric in _metrics(context):
        if metric.template_ref and not metric.is_defined_elsewhere:
            yield f"{path}.templateRef.name", metric.template_ref


def _alerts(context: LintContext) -> Iterator[tuple[str, NamedReference | Reference]]:
    for index, alert in enumerate(context.analysis.alerts):
        if alert.provider_ref:
            yield context.at(f"alerts[{index}].providerRef.name"), alert.provider_ref
    yield from find_subscribed_providers(context.canary.subscriptions).items()


def _missing_template(context: LintContext) -> Iterator[Finding]:
    for path, namespace, name in _absent_templates(context):
        known = [other for place, other in context.around.templates if place == namespace]
        if known:
            have = enumerate_some(f"{other}.{namespace}" for other in known)
            yield Finding(path, f"the template {name}.{namespace}", {"have": have})


def _unlisted_template(context: LintContext) -> Iterator[Finding]:
    """Yield the references into a namespace whose templates are in no file: they may be elsewhere."""
    namespaces = {namespace for namespace, _ in context.around.templates}
    for path, namespace, name in _absent_templates(context):
        if namespace not in namespaces:
            yield Finding(path, f"the template {name}.{namespace}", {"namespace": namespace})


def _absent_templates(context: LintContext) -> Iterator[tuple[str, str, str]]:
    """Yield the path, namespace and name of each reference to a template that is in no file."""
    for path, reference in _templates(context):
        namespace = reference.namespace or context.canary.namespace
        if (namespace, reference.name) not in context.around.templates:
            yield path, namespace, reference.name


def _unlisted_check_template(context: LintContext) -> Iterator[Finding]:
    known = index_templates(context.around.check_templates)
    for path, place, _ in _check_templates(context):
        if place not in known:
            yield Finding(f"{path}.templateRef.name", f"the {describe_template(place)}")


def _check_templates(context: LintContext) -> Iterator[tuple[str, TemplatePlace, str]]:
    """Yield the path of each metric that an AnalysisTemplate defines, the place of the template, and the name."""
    for path, metric in _metrics(context):
        if metric.template_ref is not None and metric.is_defined_elsewhere:
            yield path, place_of_template(metric.template_ref, context.canary.namespace), metric.name


def _undefined_check(context: LintContext) -> Iterator[Finding]:
    return map(Finding.of, find_undefined(context.canary, context.around.check_templates, with_missing=False))


def _unnamed_metric(context: LintContext) -> Iterator[Finding]:
    """Yield the metrics of AnalysisTemplates that no check of the Canary takes."""
    known, uses = index_templates(context.around.check_templates), dict[TemplatePlace, tuple[str, set[str]]]()
    for path, place, name in _check_templates(context):
        uses.setdefault(place, (path, set()))[1].add(name)
    for place, (path, names) in uses.items():
        template = known.get(place)
        left = [] if template is None else [name for name in template.metrics if name not in names]
        if left:
            yield Finding(f"{path}.templateRef.name", f"the {describe_template(place)}", {"left": enumerate_some(left)})


def _missing_provider(context: LintContext) -> Iterator[Finding]:
    for path, reference in _alerts(context):
        key = (reference.namespace or context.canary.namespace, reference.name)
        if key not in context.around.providers:
            yield Finding(path, f"the alert provider {key[1]}.{key[0]}", {"namespace": key[0]})


def _misspelt_subscription(context: LintContext) -> Iterator[Finding]:
    for name, _ in context.canary.metadata.annotations:
        word = name.removeprefix(OWN_ANNOTATIONS).partition(".")[0]
        if name.startswith(OWN_ANNOTATIONS) and not name.startswith(SUBSCRIPTION_ANNOTATION):
            known = SUBSCRIPTION_ANNOTATION.removeprefix(OWN_ANNOTATIONS).rstrip(".")
            if nearest(word, [known]):
                yield _unknown_annotation(name, SUBSCRIPTION_ANNOTATION)


def _misspelt_template(provider: AlertProvider) -> Iterator[Finding]:
    known = (TEXT_ANNOTATION, LINKS_ANNOTATION)
    for name, _ in provider.metadata.annotations:
        if name.startswith(OWN_ANNOTATIONS) and name not in known:
            yield _unknown_annotation(name, nearest(name, known) or " or ".join(known))


def _unknown_annotation(name: str, known: str) -> Finding:
    return Finding(join("metadata.annotations", name), f"the annotation {shorten(name)}", {"known": known})


def _unused_channel(context: LintContext) -> Iterator[Finding]:
    for alert in context.canary.subscriptions:
        reference = alert.provider
        room = context.around.providers.get((reference.namespace or context.canary.namespace, reference.name))
        if alert.channel and room is not None and room.spec.type in WITHOUT_CHANNELS:
            yield Finding(find_annotation(alert), f"the channel {alert.channel!r}", {"type": room.spec.type})


def _duplicates(context: LintContext) -> Iterator[Finding]:
    analysis = context.analysis
    for section, names in (
        ("metrics", [metric.name for metric in analysis.metrics]),
        ("webhooks", [hook.name for hook in analysis.webhooks]),
        ("alerts", [alert.name for alert in analysis.alerts]),
    ):
        for name, count in Counter(names).items():
            if count > 1:
                second = names.index(name, names.index(name) + 1)
                yield Finding(context.at(f"{section}[{second}].name"), f"the name {name!r} {count} times")


def _long_hook(context: LintContext) -> Iterator[Finding]:
    for index, hook in enumerate(context.analysis.webhooks):
        timeout = hook_timeout(hook)
        if hook.type in {"", HookType.ROLLOUT.value} and timeout > context.interval:
            arguments = {"interval": format_duration(context.interval)}
            yield Finding(
                context.at(f"webhooks[{index}].timeout"), f"a timeout of {format_duration(timeout)}", arguments
            )


def _endless_hook(context: LintContext) -> Iterator[Finding]:
    for index, hook in enumerate(context.analysis.webhooks):
        timeout = hook_timeout(hook)
        if timeout > HOOK_TIMEOUT:
            yield Finding(context.at(f"webhooks[{index}].timeout"), f"a timeout of {format_duration(timeout)}")


def _clipped_timeout(context: LintContext) -> Iterator[Finding]:
    for index, hook in enumerate(context.analysis.webhooks):
        if 0 < len(hook.timeout) < SHORTEST_TIMEOUT:
            yield Finding(context.at(f"webhooks[{index}].timeout"), repr(hook.timeout))


def _bad_url(context: LintContext) -> Iterator[Finding]:
    for index, hook in enumerate(context.analysis.webhooks):
        scheme = hook.url.partition("://")[0]
        if not _WEB.match(hook.url) and scheme not in context.around.installed.hooks:
            yield Finding(context.at(f"webhooks[{index}].url"), "an address that is not shown")


def _placeholder_in_url(context: LintContext) -> Iterator[Finding]:
    urls = [(context.at(f"webhooks[{index}].url"), hook.url) for index, hook in enumerate(context.analysis.webhooks)]
    yield from _placeholders(("spec.metricsServer", context.canary.spec.metrics_server), *urls)


def _placeholder_in_template(template: MetricTemplate) -> Iterator[Finding]:
    return _placeholders(("spec.provider.address", template.spec.provider.address))


def _placeholder_in_alert(provider: AlertProvider) -> Iterator[Finding]:
    return _placeholders(("spec.address", provider.spec.address))


def _placeholders(*places: tuple[str, str]) -> Iterator[Finding]:
    for path, text in places:
        if left := PLACEHOLDER.search(text):
            yield Finding(path, f"{left[0]!r} in the address")


@frozen(kw_only=True)
class ProviderType:
    """The type of a provider in a template or an alert provider."""

    path: str
    name: str
    known: tuple[str, ...]
    """The types with an adapter."""


def metric_type(template: MetricTemplate, installed: InstalledProviders) -> ProviderType:
    """Return the type of a template's provider."""
    known = (*METRIC_PROVIDERS, *sorted(installed.metrics))
    return ProviderType(path="spec.provider.type", name=template.spec.provider.type, known=known)


def alert_type(provider: AlertProvider, installed: InstalledProviders) -> ProviderType:
    """Return the type of an alert provider."""
    return ProviderType(
        path="spec.type", name=provider.spec.type, known=(*ALERT_PROVIDERS, *sorted(installed.notifiers))
    )


def _unknown_type(provider: ProviderType) -> Iterator[Finding]:
    if provider.name not in provider.known:
        near = nearest(provider.name, provider.known)
        hint = f"Did you mean {near!r}?" if near else "Install the adapter of that name."
        yield Finding(provider.path, repr(provider.name), {"known": ", ".join(provider.known), "hint": hint})


def _unknown_variable(template: MetricTemplate) -> Iterator[Finding]:
    for variable in dict.fromkeys(_VARIABLE.findall(template.spec.query)):
        if variable not in TEMPLATE_VARIABLES | KEYWORDS | BUILT_IN_FUNCTIONS:
            near = nearest(variable, TEMPLATE_VARIABLES)
            hint = f"Did you mean {near!r}?" if near else f"There are {', '.join(sorted(TEMPLATE_VARIABLES))}."
            yield Finding("spec.query", f"{{{{ {variable} }}}}", {"hint": hint})


def _wrong_template(template: MetricTemplate) -> Iterator[Finding]:
    if any(_unknown_variable(template)):
        return  # one finding is enough
    try:
        parse_template(template.spec.query, dict.fromkeys(TEMPLATE_VARIABLES, str))
    except TemplateError as error:
        yield Finding("spec.query", str(error))


def _dotted_variable(template: MetricTemplate) -> Iterator[Finding]:
    if _BLOCK.search(template.spec.query):
        return  # a block gives the dot a value
    for variable in dict.fromkeys(_DOTTED.findall(template.spec.query)):
        yield Finding("spec.query", f"{{{{ .{variable} }}}}", {"variable": variable})


def _no_address(provider: AlertProvider) -> Iterator[Finding]:
    if not provider.spec.address and provider.spec.secret_ref is None:
        yield Finding("spec", "neither address nor secretRef")


def _two_addresses(provider: AlertProvider) -> Iterator[Finding]:
    if provider.spec.address and provider.spec.secret_ref is not None:
        yield Finding("spec.address", "an address together with secretRef")


def _wrong_text(provider: AlertProvider) -> Iterator[Finding]:
    return _wrong_annotation(provider, TEXT_ANNOTATION, check_text)


def _wrong_links(provider: AlertProvider) -> Iterator[Finding]:
    return _wrong_annotation(provider, LINKS_ANNOTATION, check_links)


def _wrong_annotation(provider: AlertProvider, name: str, check: Callable[[str], object]) -> Iterator[Finding]:
    text = dict(provider.metadata.annotations).get(name)
    if text is None:
        return
    try:
        check(text)
    except InvalidAlertTemplate as error:
        arguments = {"expected": error.expected, "fields": _ALERT_FIELDS}
        yield Finding(join("metadata.annotations", name), error.found, arguments)


_ALERT_FIELDS = enumerate_some((f".{field.name}" for field in attrs.fields(AlertFacts)), most=20)
_UNKNOWN_ANNOTATION_TEXTS = (
    "an annotation that canarycore reads: this one has no effect",
    "Did you mean {known}?",
)
_PLACEHOLDER_TEXTS = ("placeholder-address", "the real address", "Replace the placeholder.")

RULES: tuple[LintRule[LintContext], ...] = (
    LintRule(
        "no-checks",
        "warning",
        _no_checks,
        "metrics or a webhook: without them the analysis passes for every new revision",
        "Add metrics, or a webhook that tests the canary.",
    ),
    LintRule(
        "late-check",
        "error",
        _late_check,
        "at most {heaviest}, the last weight: the check is never measured",
        "Lower fromWeight, raise the last weight, or add bake.",
    ),
    LintRule(
        "no-range",
        "error",
        _no_range,
        "thresholdRange with min or max: without one the metric {verdict}",
        "Add thresholdRange.",
    ),
    LintRule(
        "empty-range",
        "error",
        _empty_range,
        "min at most max: no value is in this range",
        "Swap or correct min and max.",
    ),
    LintRule("range-and-condition", "error", _range_and_condition, "{expected}", "{remedy}"),
    LintRule(
        "condition-never",
        "warning",
        _condition_never,
        "a condition that some result meets: this one is never true",
        "Correct the condition.",
    ),
    LintRule(
        "condition-always",
        "warning",
        _condition_always,
        "a condition that some result does not meet: this one is true for each number",
        "Correct the condition.",
    ),
    LintRule(
        "condition-overlap",
        "warning",
        _condition_overlap,
        "results that meet one of the two conditions: {value} meets both, and fails",
        "Correct one of them.",
    ),
    LintRule(
        "deprecated-threshold",
        "warning",
        _old_threshold,
        "thresholdRange, which replaces threshold",
        "Write thresholdRange: {{{end}: {value}}}.",
    ),
    LintRule("no-query", "error", _no_query, "a query: without one the metric always fails", "{hint}"),
    LintRule(
        "built-in-template",
        "warning",
        _built_in_template,
        "another name: the built-in check of this name runs too",
        "Rename the metric unless you want both checks.",
    ),
    LintRule("unit", "warning", _suspicious_unit, "{unit}, which is the unit of this metric", "Did you mean {better}?"),
    LintRule(
        "long-window",
        "warning",
        _long_window,
        "at most the interval of the analysis ({interval}): a longer window includes requests from before this weight",
        "Lengthen the analysis's interval; shorten the metric's only if it still covers three scrapes of the provider.",
    ),
    LintRule(
        "short-window",
        "warning",
        _short_window,
        "at least half of the analysis's interval ({interval}): the check misses failures before the window",
        "Lengthen the metric's interval.",
    ),
    LintRule(
        "missing-template",
        "error",
        _missing_template,
        "one of the MetricTemplates in these files ({have})",
        "Correct the name or namespace, or add the template.",
    ),
    LintRule(
        "unseen-template",
        "warning",
        _unlisted_template,
        "its MetricTemplate in these files, so that lint can check it",
        "Pass its file too, or make sure that the namespace {namespace} has it.",
    ),
    LintRule(
        "unseen-template",
        "warning",
        _unlisted_check_template,
        "its file too, so that lint can check it",
        "Pass its file too, or make sure that the cluster has it.",
    ),
    LintRule("template-check", "error", _undefined_check, "{expected}", "{remedy}"),
    LintRule(
        "unnamed-metric",
        "warning",
        _unnamed_metric,
        "a check for each of its metrics: none takes {left}",
        "Add a metric of that name with this templateRef, if the rollout should be judged by it.",
    ),
    LintRule(
        "missing-alert-provider",
        "warning",
        _missing_provider,
        "its AlertProvider in these files: without one in the cluster no alert arrives",
        "Pass its file too, or make sure that the namespace {namespace} has it.",
    ),
    LintRule("unknown-annotation", "warning", _misspelt_subscription, *_UNKNOWN_ANNOTATION_TEXTS),
    LintRule(
        "unused-channel",
        "warning",
        _unused_channel,
        "no channel: a provider of the type {type} sends to the channel of its address",
        "Remove the channel, or subscribe to an AlertProvider with the address of that channel.",
    ),
    LintRule("duplicate-name", "warning", _duplicates, "different names, to tell them apart", "Rename one of them."),
    LintRule(
        "long-hook",
        "warning",
        _long_hook,
        "at most the interval of the analysis ({interval}): a slow answer delays the rollout",
        "Shorten the timeout or lengthen the interval.",
    ),
    LintRule(
        "endless-hook",
        "warning",
        _endless_hook,
        "at most an hour: a longer attempt ends after an hour",
        "Shorten the timeout, or let the webhook answer at once; the controller calls it in each interval.",
    ),
    LintRule(
        "clipped-timeout",
        "warning",
        _clipped_timeout,
        "a number with a unit: a single character counts as the default of 10s",
        "Write for example 10s.",
    ),
    LintRule("bad-url", "error", _bad_url, "an http:// or https:// address", "Write the whole address."),
    LintRule(_PLACEHOLDER_TEXTS[0], "error", _placeholder_in_url, *_PLACEHOLDER_TEXTS[1:]),
)

METRIC_TYPE_RULE: LintRule[ProviderType] = LintRule(
    "unknown-metric-provider",
    "warning",
    _unknown_type,
    "one of {known}: Flagger takes any other for prometheus",
    "{hint}",
)
ALERT_TYPE_RULE: LintRule[ProviderType] = LintRule(
    "unknown-alert-provider", "warning", _unknown_type, "one of {known}", "{hint}"
)

TEMPLATE_RULES: tuple[LintRule[MetricTemplate], ...] = (
    LintRule(_PLACEHOLDER_TEXTS[0], "error", _placeholder_in_template, *_PLACEHOLDER_TEXTS[1:]),
    LintRule(
        "template-word",
        "error",
        _unknown_variable,
        "a variable of query templates: this one has no value",
        "{hint}",
    ),
    LintRule(
        "template-syntax",
        "error",
        _wrong_template,
        "a query in Go's template language: each check with this one fails",
        "Correct the action, or render the file first if it is a Helm template.",
    ),
    LintRule(
        "template-dot",
        "error",
        _dotted_variable,
        "a variable without a dot: these templates have no fields",
        "Write {{{{ {variable} }}}}, or render the file first if it is a Helm template.",
    ),
)

ALERT_RULES: tuple[LintRule[AlertProvider], ...] = (
    LintRule("unknown-annotation", "warning", _misspelt_template, *_UNKNOWN_ANNOTATION_TEXTS),
    LintRule(
        "alert-text",
        "error",
        _wrong_text,
        "{expected}: until then alerts have Flagger's text",
        "Correct the template. The dot has {fields}.",
    ),
    LintRule(
        "alert-links",
        "error",
        _wrong_links,
        "{expected}: until then alerts have no such link",
        "Write lines such as Logs=https://logs.example.com/?q={{{{ urlquery .name }}}}. The dot has {fields}.",
    ),
    LintRule(_PLACEHOLDER_TEXTS[0], "error", _placeholder_in_alert, *_PLACEHOLDER_TEXTS[1:]),
    LintRule(
        "no-address",
        "error",
        _no_address,
        "one of them: without it alerts have no destination",
        "Add address or secretRef.",
    ),
    LintRule(
        "address-and-secret",
        "warning",
        _two_addresses,
        "one of them: an address in the secret takes precedence",
        "Remove the address: it is a secret itself.",
    ),
)
