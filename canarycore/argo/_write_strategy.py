"""The analysis of a Canary as the strategy of a Rollout: the inverse of reading one."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from math import inf, nextafter

from attrs import define, field

from canarycore._observation import TOTAL_WEIGHT
from canarycore.argo._analysis import LIMITS, compose_name
from canarycore.argo._conditions import index_result
from canarycore.argo._document import DocumentPart, Json, drop_none
from canarycore.argo._gaps import Gaps
from canarycore.argo._metric_providers import WRITERS
from canarycore.argo._rollout import Objects
from canarycore.argo._strategy import ALL_PATHS, INTERVAL
from canarycore.foreign import get_value
from canarycore.manifest.routing import EXACT_PREFIX_REGEX
from canarycore.text import shorten


@define
class WrittenMetrics:
    """The metrics of a Canary as AnalysisTemplates: one for each metric."""

    canary: str
    namespace: str
    objects: Objects
    gaps: Gaps
    documents: list[Json] = field(factory=list)
    used: set[str] = field(factory=set)
    """The MetricTemplates that became part of an AnalysisTemplate."""

    def write(self, metric: DocumentPart) -> None:
        """Write the AnalysisTemplate of a metric."""
        provider = self._write_provider(metric)
        if metric.text("interval", default="1m") != "1m":
            self.gaps.report(
                metric.at("interval"),
                shorten(metric.at("interval").value),
                "1m, or nothing",
                "Argo has no window beside a query: write it into the query.",
            )
        fields: Json = {
            "name": metric.text("name"),
            "successCondition": _write_range(metric.at("thresholdRange")) or self._write_condition(metric, "success"),
            "failureCondition": self._write_condition(metric, "failure"),
            "initialDelay": metric.text("initialDelay") or None,
            "interval": metric.text("every") or None,
            "provider": provider,
        }
        fields |= {name: self._write_limit(metric, name, default) for name, default in LIMITS.items()}
        metadata = drop_none({"name": self._name(metric), "namespace": self.namespace or None})
        spec = {"metrics": [drop_none(fields)]}
        body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": metadata, "spec": spec}
        self.documents.append(body)

    def refer(self, metrics: list[DocumentPart]) -> Json:
        """Return the field `analysis` that measures some metrics."""
        dry = [{"metricName": metric.text("name")} for metric in metrics if metric.take("dryRun") is True]
        templates = [{"templateName": self._name(metric)} for metric in metrics]
        return {"templates": templates} | ({"dryRun": dry} if dry else {})

    def _name(self, metric: DocumentPart) -> str:
        return compose_name(self.canary, metric.text("name"))

    def _find_template(self, metric: DocumentPart) -> Json | None:
        return self.objects.get(("MetricTemplate", metric.at("templateRef").text("name")))

    def _write_condition(self, metric: DocumentPart, kind: str) -> str | None:
        name = f"{kind}Condition"
        condition = metric.text(name)
        if "%" in condition:
            remedy = "Argo divides whole numbers only: write the remainder into the query."
            self.gaps.report(metric.at(name), shorten(condition), "a condition without %", remedy)
        is_list = get_value(self._find_template(metric) or {}, "spec", "provider", "type") not in _NUMBERS
        return (index_result(condition) if is_list else condition) or None

    def _write_limit(self, metric: DocumentPart, name: str, default: int | None) -> int | None:
        value = metric.number(name)
        if value is None and default is not None:
            remedy = f"Argo counts the answers of each metric: set it, to {default} for Argo's default."
            self.gaps.report(metric.at(name), "nothing", "a whole number, at least 0", remedy)
        return value

    def _write_provider(self, metric: DocumentPart) -> Json | None:
        reference, template = metric.at("templateRef").text("name"), self._find_template(metric)
        if template is None:
            found = (
                f"the template {shorten(reference)}, which is not among the files" if reference else "no templateRef"
            )
            remedy = "Add its file." if reference else "Write its query into a MetricTemplate."
            self.gaps.report(metric.at("templateRef"), found, "a MetricTemplate of the files", remedy)
            return None
        source = DocumentPart(get_value(template, "spec", "provider"), metric.at("templateRef").path)
        kind, query = source.text("type"), str(get_value(template, "spec", "query") or "")
        write = WRITERS.get(kind)
        if write is None or "{{" in query:
            found = f"a query with {{{{: {shorten(query)}" if write else f"the provider {shorten(kind)}"
            expected = "a query without variables" if write else f"one of {', '.join(WRITERS)}"
            self.gaps.report(metric.at("templateRef"), found, expected, "Write this analysis by hand.")
            return None
        self.used.add(reference)
        return write(source, query)


def write_canary(analysis: DocumentPart, metrics: WrittenMetrics) -> Json:
    """Return the fields `steps` and `analysis` of a strategy by steps."""
    checks = analysis.items("metrics")
    background = [metric for metric in checks if metric.number("count") is None]
    waiting = [metric for metric in checks if metric.number("count") is not None]
    begin = {metric.number("fromWeight") or 0 for metric in checks if metric in background}
    if len(begin) > 1:
        found = f"checks from the weights {', '.join(map(str, sorted(begin)))} on"
        remedy = "Argo has one analysis in the background: give all of them the same fromWeight, or a count."
        metrics.gaps.report(analysis.at("metrics"), found, "one weight", remedy)
    steps: list[Json] = []
    routes: dict[str, str] = {}
    starting: int | None = None
    for step in _steps(analysis):
        weight, names = step.number("weight") or 0, step.take("metrics") or []
        if starting is None and begin and weight >= min(begin):
            starting = len(steps)
        steps += _write_size(step)
        steps.append({"setWeight": weight})
        steps += _write_routes(step, routes, metrics.gaps)
        steps += [{"pause": {"duration": hold}} for hold in [step.text("hold")] if hold]
        steps += [{"pause": {}}] if step.take("approval") is True else []
        due = [metric for metric in waiting if _is_due(metric, weight, names)]
        steps += [{"analysis": metrics.refer(due)}] if due else []
        waiting = [metric for metric in waiting if metric not in due]
    for metric in checks:
        metrics.write(metric)
    written: Json = {"steps": steps}
    if background:
        written["analysis"] = metrics.refer(background) | ({"startingStep": starting} if starting else {})
    return written


def write_blue_green(analysis: DocumentPart, metrics: WrittenMetrics) -> Json:
    """Return the fields of a strategy that counts iterations."""
    iterations, checks = analysis.number("iterations") or 1, analysis.items("metrics")
    for metric in checks:
        metrics.write(metric)
    written: Json = {"autoPromotionSeconds": iterations * INTERVAL} if iterations > 1 else {}
    return written | ({"prePromotionAnalysis": metrics.refer(checks)} if checks else {})


def _is_due(metric: DocumentPart, weight: int, names: list[str]) -> bool:
    name, begin = metric.text("name"), metric.number("fromWeight") or 0
    return weight >= begin and (not names or name in names)


def _steps(analysis: DocumentPart) -> list[DocumentPart]:
    """Return the steps; also those of the short forms, which have weights alone."""
    weights = analysis.take("stepWeights") or _even_weights(analysis)
    return analysis.items("steps") or [DocumentPart({"weight": weight}) for weight in weights]


def _even_weights(analysis: DocumentPart) -> list[int]:
    step, most = analysis.number("stepWeight") or 0, analysis.number("maxWeight") or TOTAL_WEIGHT
    return list(range(step, most + 1, step)) if step > 0 else []


def _write_size(step: DocumentPart) -> list[Json]:
    """Return the step that sets the canary's scale; none without a size, as Argo's lasts for further steps too."""
    size = step.at("size").value
    if isinstance(size, str) and size.endswith("%"):
        percent = int(step.text("size").removesuffix("%"))
        return [{"setCanaryScale": {"weight": percent}}]
    replicas = step.number("size")
    return [{"setCanaryScale": {"replicas": replicas}}] if replicas else []


def _write_routes(step: DocumentPart, routes: dict[str, str], gaps: Gaps) -> list[Json]:
    """Return the steps that set the routes of a step, and take those of the step before back."""
    written: dict[str, Json] = {}
    for index, entry in enumerate(step.items("match")):
        condition = _write_condition(entry)
        if condition is None:
            expected = f"one header, by one of {', '.join(EXACT_PREFIX_REGEX)}"
            gaps.report(entry, shorten(str(entry.value)), expected, "Write an entry for each header.")
        else:
            written[f"match-{index}"] = {"setHeaderRoute": {"name": f"match-{index}", "match": [condition]}}
    mirror = step.number("mirror")
    if mirror:
        written["mirror"] = {"setMirrorRoute": {"name": "mirror", "percentage": mirror, "match": [ALL_PATHS]}}
    over = [{kind: {"name": name}} for name, kind in routes.items() if name not in written]
    routes.clear()
    routes.update({name: next(iter(body)) for name, body in written.items()})
    return [*over, *written.values()]


def _write_condition(entry: DocumentPart) -> Json | None:
    headers = entry.at("headers")
    if not isinstance(headers.value, Mapping) or len(headers.value) != 1:
        return None
    ((name, match),) = headers.value.items()
    if not isinstance(match, Mapping) or len(match) != 1 or next(iter(match)) not in EXACT_PREFIX_REGEX:
        return None
    headers.take()
    return {"headerName": name, "headerValue": dict(match)}


_NUMBERS = ("datadog",)
"""The types of providers whose result is a number in Argo; that of others is a list."""


def _write_range(limits: DocumentPart) -> str:
    comparisons = [
        _write_comparison(">", ">=", limits.take("min"), -inf),
        _write_comparison("<", "<=", limits.take("max"), inf),
    ]
    return " && ".join(filter(None, comparisons))


def _write_comparison(beyond: str, from_there: str, limit: object, end: float) -> str:
    """Return the comparison with a limit. A limit right beside a shorter number excludes that number."""
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        return ""
    plain, beside = _write_number(limit), _write_number(nextafter(limit, end))
    return f"result[0] {beyond} {beside}" if len(beside) < len(plain) else f"result[0] {from_there} {plain}"


def _write_number(number: float) -> str:
    return format(Decimal(repr(number)), "f")
