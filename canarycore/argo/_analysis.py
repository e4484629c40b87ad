"""AnalysisTemplates as MetricTemplates, and their metrics as checks of a Canary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from attrs import define, field, frozen

from canarycore._expressions import Conditions, ExpressionError
from canarycore.argo._conditions import read_conditions, translate
from canarycore.argo._document import DocumentPart, Json, drop_none, make_resource
from canarycore.argo._gaps import Gaps
from canarycore.argo._metric_providers import READERS
from canarycore.bounds import RENDERED_QUERY
from canarycore.text import shorten

CONSECUTIVE_ERROR_LIMIT = 4
"""Argo's default of `consecutiveErrorLimit`."""

MOST_TEMPLATES = 100
"""Most AnalysisTemplates that one analysis refers to, directly or by other templates."""

ALL_METRICS = ("*", ".*")
"""Patterns for all metrics of a template."""

_PATTERN_CHARACTERS = frozenset("*+?|()[]{}^$\\")

Templates = Mapping[tuple[bool, str], tuple[DocumentPart, Gaps]]
"""The spec and the gaps of each template, by whether it belongs to the cluster, and its name."""

_ARGUMENT = re.compile(r"\{\{\s*+args\.([\w.-]++)\s*+\}\}")
_NO_NAME = re.compile(r"[^a-z0-9]+")


@frozen(kw_only=True)
class AnalysisUse:
    """The place of a Rollout that names templates, and the weight from which on they are measured."""

    node: DocumentPart
    from_weight: int = 0
    is_background: bool = False


@frozen
class TemplateMetric:
    """A metric of a template, the values of its arguments, and the gaps of the template."""

    node: DocumentPart
    arguments: Mapping[str, str]
    gaps: Gaps
    remedy: str = "Write the value into the query, or a variable such as {{ target }} or {{ namespace }}."
    """The remedy for an argument without a value."""
    secrets: frozenset[str] = frozenset()
    """The arguments whose values are in Secrets: only headers may have them."""
    foreign: frozenset[str] = frozenset()
    """The arguments whose values are not the template's own."""

    def text(self, name: str) -> str:
        """Return a text with its arguments replaced."""
        return self.fill(self.node.text(name))

    def fill(self, text: str) -> str:
        return fill_arguments(text, self.arguments)

    def query(self) -> tuple[Json, str] | None:
        """Return the provider and the query; None if there is no equivalent."""
        node = self.node.at("provider")
        names = list(map(str, node.value)) if isinstance(node.value, Mapping) else []
        read = READERS.get(names[0]) if len(names) == 1 else None
        if read is None:
            found = f"the provider {shorten(', '.join(names))}"
            remedy = "Write a MetricTemplate, or a webhook that calls your own check."
            self._omit(node, found, f"one of {', '.join(READERS)}", remedy)
            return None
        written, query = read(node.at(names[0]))
        headers = {key: list(map(self.fill, values)) for key, values in written.get("headers", {}).items()}
        provider = written | {"address": self.fill(written.get("address", ""))}
        provider |= {"headers": headers} if headers else {}
        query = self.fill(query)
        values = [value for values in headers.values() for value in values]
        in_headers = set(find_arguments(*headers, *values))
        missing = {*find_arguments(provider["address"], query), *(in_headers - self.secrets)}
        if missing:
            self._report_missing(node, missing)
            return None
        chosen = self.foreign.intersection(find_arguments(written.get("address", "")))
        if chosen and (headers or "secretRef" in provider):
            found = f"an address that depends on {shorten(', '.join(sorted(chosen)))}, beside credentials"
            expected = "an address of the template's own: it sends its credentials to no other server"
            self._omit(node, found, expected, "Write the address into the template.")
            return None
        return {name: value for name, value in provider.items() if value}, query

    def _report_missing(self, node: DocumentPart, names: Iterable[str]) -> None:
        """Report arguments that have no value, and those that could not be filled in."""
        without = sorted(name for name in names if name not in self.arguments)
        secret = [name for name in without if name in self.secrets]
        if secret:
            found = f"the secret {shorten(', '.join(secret))} outside the headers"
            self._omit(node, found, "secrets in headers only: queries are shown", "Send the secret in a header.")
        elif without:
            found = f"arguments without a value: {shorten(', '.join(without))}"
            self._omit(node, found, "values that the files give", self.remedy)
        else:
            found = f"the arguments {shorten(', '.join(sorted(names)))} in a text that becomes too long"
            self._omit(node, found, f"{RENDERED_QUERY} with all values", "Shorten the values.")

    def conditions(self) -> Json | None:
        """Return the fields of the range or of the conditions that pass; None if there is no equivalent."""
        success, failure = self.text("successCondition"), self.text("failureCondition")
        limits = read_conditions(success, failure)
        if limits is not None and limits.is_empty:
            found, remedy = f"the condition {shorten(success or failure)}", "Correct its numbers."
            self._omit(self.node, found, "a condition that a value meets", remedy)
            return None
        if limits is not None:
            return {"thresholdRange": drop_none({"min": limits.minimum, "max": limits.maximum})}
        fields = {"successCondition": translate(success), "failureCondition": translate(failure)}
        try:
            if Conditions.of(*fields.values()) is not None:
                return {name: text for name, text in fields.items() if text}
        except ExpressionError as error:
            found = f"the condition {shorten(success or failure)}: {error.found}"
            self._omit(self.node, found, error.expected, error.remedy)
            return None
        self._omit(self.node, "no condition", "successCondition or failureCondition", "Add a condition.")
        return None

    def limits(self, *, is_background: bool) -> Json:
        """Return the fields of the measurements."""
        times = {"initialDelay": self.text("initialDelay"), "every": self.text("interval")}
        fields: Json = {name: text for name, text in times.items() if text}
        for name, default in LIMITS.items():
            node = self.node.at(name)
            value = node.take()
            number = DocumentPart(self.fill(value) if isinstance(value, str) else value).number()
            if number is not None and number >= 0:
                fields[name] = number
            elif value is not None:
                self.gaps.report(node, shorten(str(value)), "a whole number, at least 0", "Write the number.")
            elif default is not None:
                fields[name] = default
        if is_background or not fields.get("count"):
            fields.pop("count", None)
        return fields

    def _omit(self, node: DocumentPart, found: str, expected: str, remedy: str) -> None:
        """Report the metric as one gap."""
        self.gaps.report(node, found, expected, remedy)
        self.node.take()


@define
class ChecksOfAnalyses:
    """The checks that the analyses of one Rollout add to its Canary."""

    rollout: str
    namespace: str
    templates: Templates
    gaps: Gaps
    metrics: list[Json] = field(factory=list)
    documents: list[Json] = field(factory=list)

    def add(self, use: AnalysisUse) -> list[str]:
        """Add the metrics of an analysis; return their names."""
        given, dry = _arguments(use.node), find_dry_runs(use.node, self.gaps)
        names: list[str] = []
        for template, spec, gaps in self._find(use.node.items("templates")):
            arguments, runs_dry = _arguments(spec) | given, [*dry, *find_dry_runs(spec, gaps)]
            for node in spec.items("metrics"):
                name = self._add_metric(template, TemplateMetric(node, arguments, gaps), use, runs_dry)
                names += [name] if name else []
        return names

    def _find(self, references: Iterable[DocumentPart]) -> Iterator[tuple[str, DocumentPart, Gaps]]:
        """Yield the name, the spec and the gaps of the templates of some references, and of those below them."""
        waiting = list(references)
        seen: set[tuple[bool, str]] = set()
        while waiting and len(seen) < MOST_TEMPLATES:
            reference = waiting.pop(0)
            key = bool(reference.take("clusterScope")), reference.text("templateName")
            if key in self.templates and key not in seen:
                spec, gaps = self.templates[key]
                yield key[1], spec, gaps
                waiting += spec.items("templates")
            elif key not in seen:
                found = f"the template {shorten(key[1])}, which is not among the files"
                self.gaps.report(reference, found, "a template of the files", "Add its file, and convert again.")
            seen.add(key)

    def _add_metric(self, template: str, metric: TemplateMetric, use: AnalysisUse, runs_dry: list[str]) -> str:
        """Add a metric; return its name, which is empty for one without an equivalent."""
        name = metric.node.text("name")
        query = metric.query()
        conditions = None if query is None else metric.conditions()
        if query is None or conditions is None:
            return ""
        if name in {each["name"] for each in self.metrics}:
            name = f"{template}-{name}"
        reference = compose_name(self.rollout, name)
        entry: Json = {"name": name, "templateRef": {"name": reference}, "interval": "1m"}
        entry |= conditions
        entry |= {"fromWeight": use.from_weight} if use.from_weight else {}
        entry |= metric.limits(is_background=use.is_background)
        entry |= {"dryRun": True} if does_run_dry(name, runs_dry) else {}
        self.metrics.append(entry)
        spec = {"provider": query[0], "query": query[1]}
        self.documents.append(make_resource("MetricTemplate", reference, self.namespace, spec))
        return name


LIMITS: dict[str, int | None] = {
    "count": None,
    "failureLimit": 0,
    "inconclusiveLimit": 0,
    "consecutiveErrorLimit": CONSECUTIVE_ERROR_LIMIT,
    "consecutiveSuccessLimit": None,
}
"""The counts of a metric, with Argo's defaults."""


def compose_name(*parts: str) -> str:
    """Return the name of a resource from names of any characters."""
    return _NO_NAME.sub("-", "-".join(parts).lower()).strip("-")


def _arguments(node: DocumentPart) -> dict[str, str]:
    """Return the arguments that have a value. One without a value is a gap where a query needs it."""
    items = node.items("args")
    found = {item.text("name"): item.take("value") for item in items}
    node.take("args")
    return {name: str(value) for name, value in found.items() if isinstance(value, str | int | float)}


def find_dry_runs(node: DocumentPart, gaps: Gaps) -> list[str]:
    """Return the names of the metrics that run dry. Report other patterns than those for all metrics."""
    items = [(item.at("metricName"), item.text("metricName")) for item in node.items("dryRun")]
    for item, name in items:
        if name not in ALL_METRICS and not _PATTERN_CHARACTERS.isdisjoint(name):
            gaps.report(item, f"the pattern {shorten(name)}", "the name of a metric, or * for all", "Write the names.")
    return [name for _, name in items]


def does_run_dry(metric: str, patterns: Iterable[str]) -> bool:
    """Return whether one of the patterns is for a metric: its name, or one for all."""
    return any(pattern in {metric, *ALL_METRICS} for pattern in patterns)


def find_arguments(*texts: str) -> Iterator[str]:
    """Yield the names of the arguments that texts still have."""
    return (name for text in texts for name in _ARGUMENT.findall(text))


def fill_arguments(text: str, values: Mapping[str, str]) -> str:
    """Return a text with its arguments replaced by their values; the text itself if it would become too long."""
    known = (values[name] for name in _ARGUMENT.findall(text) if name in values)
    if len(text) + sum(map(len, known)) > RENDERED_QUERY.most:
        return text
    return _ARGUMENT.sub(lambda found: values.get(found[1], found[0]), text)
