"""AnalysisTemplates as the definitions of a Canary's checks, where `templateRef.kind` names one.

A check takes the metric of its own name: the provider, the query, the conditions and the limits. Its
`templateVariables` are values of the template's arguments. A part without an equivalent refuses the whole check, as
half of a check would be another one.

Credentials go to the template's own server only. A secret argument is for a header, and is never part of a query, which
errors may show. An address that depends on the Canary gets no credentials, and a template of the cluster has none, as
it has no namespace with Secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import evolve, field, frozen

from canarycore.argo._analysis import (
    TemplateMetric,
    does_run_dry,
    fill_arguments,
    find_arguments,
    find_dry_runs,
)
from canarycore.argo._document import DocumentPart, Json
from canarycore.argo._gaps import Gaps
from canarycore.argo._to_canaries import is_template
from canarycore.errors import ManifestError, Problem
from canarycore.foreign import get_mapping, get_text
from canarycore.manifest import (
    CLUSTER_ANALYSIS_TEMPLATE,
    CheckDefinition,
    MetricTemplate,
    SecretArgument,
    documents,
    find_excess,
    parse,
    read_metric,
)
from canarycore.text import enumerate_some, nearest, shorten

Variables = tuple[tuple[str, str], ...]

MOST_PROBLEMS = 10
"""Problems of a template in one error."""

MOST_CANDIDATES = 100
"""Names among which the nearest one is found."""

MOST_DEFINITIONS = 64
"""Definitions that a template remembers, as each query needs one."""

LONGEST_MEMORY = 8_192
"""Most characters of a definition that a template remembers, with the variables."""

_PARTS = frozenset({"metrics", "args", "dryRun", "measurementRetention", "templates"})
"""The fields of a template that are read, or decide nothing: there are no AnalysisRuns to retain."""

_NAMES_HERE = {".every": ".interval", ".thresholdRange.min": "", ".thresholdRange.max": ""}
"""The ends of paths of a metric here, and those of Argo's metric."""

_VALUE_REMEDY = "Set templateVariables of the check, or give the argument a value."


@frozen(kw_only=True)
class AnalysisTemplate:
    """An AnalysisTemplate or a ClusterAnalysisTemplate of Argo, unread: `define` reads one metric of it."""

    kind: str
    """The kind."""
    namespace: str = ""
    """The namespace; empty for a ClusterAnalysisTemplate."""
    name: str = ""
    """The name."""
    spec: Mapping[str, Any] = field(factory=dict, repr=False)
    """The spec as it is. It may have credentials."""
    problems: tuple[Problem, ...] = ()
    """The reasons why it defines nothing; empty where it can be read."""
    _definitions: dict[tuple[str, Variables], CheckDefinition | ManifestError] = field(
        factory=dict, init=False, eq=False, repr=False
    )

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> AnalysisTemplate:
        """Return the template of a document. One beyond the bounds of an object defines nothing, and says why."""
        kind = get_text(document, "kind")
        written = get_text(document, "metadata", "namespace") or "default"
        namespace = "" if kind == CLUSTER_ANALYSIS_TEMPLATE else written
        name, spec = get_text(document, "metadata", "name"), dict(get_mapping(document, "spec"))
        excess = find_excess(spec, "spec")
        if excess is not None:
            return cls(kind=kind, namespace=namespace, name=name, problems=(excess,))
        return cls(kind=kind, namespace=namespace, name=name, spec=spec)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of its metrics."""
        return tuple(node.text("name") for node in DocumentPart(self.spec, "spec").items("metrics"))

    def define(self, metric: str, variables: Variables) -> CheckDefinition:
        """Return the definition of a check by the name of its metric.

        variables: values of arguments, from the Canary. Raise ManifestError with all that a check cannot have.
        """
        key = metric, tuple(variables)
        found = self._definitions.get(key)
        if found is None:
            try:
                found = self._define(metric, dict(variables))
            except ManifestError as error:
                found = error
            if _count_characters(key, found) <= LONGEST_MEMORY:
                if len(self._definitions) >= MOST_DEFINITIONS:
                    self._definitions.clear()
                self._definitions[key] = found
        if isinstance(found, ManifestError):
            raise ManifestError(found.problems)
        return found

    def _define(self, name: str, variables: Mapping[str, str]) -> CheckDefinition:
        if self.problems:
            raise ManifestError(self.problems)
        spec, gaps = DocumentPart(self.spec, "spec"), Gaps(has_secrets=True)
        node = self._find(spec, name)
        arguments = _read_arguments(spec, variables, gaps)
        metric = TemplateMetric(
            node, arguments.values, gaps, _VALUE_REMEDY, frozenset(arguments.secrets), frozenset(variables)
        )
        source = metric.query()
        conditions = None if source is None else metric.conditions()
        fields = metric.limits(is_background=False)
        fields |= {"dryRun": True} if does_run_dry(name, find_dry_runs(spec, gaps)) else {}
        node.take("name")
        gaps.report_unread(node)
        _report_unknown_parts(spec, gaps)
        _raise(gaps.problems)
        assert source is not None, "a metric without a provider has a gap"
        assert conditions is not None, "a metric without conditions has a gap"
        return self._build(node, name, source, {**fields, **conditions}, arguments.secrets)

    def _find(self, spec: DocumentPart, name: str) -> DocumentPart:
        """Return the metric of a name. Raise ManifestError where there is none, or several."""
        nodes = [node for node in spec.items("metrics") if node.text("name") == name]
        if len(nodes) == 1:
            return nodes[0]
        near = nearest(name, self.metrics[:MOST_CANDIDATES])
        inner = [each.text("templateName") for each in spec.items("templates")]
        remedy = f"Name the check {near}." if near else "Name the check as one of these metrics."
        if inner and not nodes:
            remedy += f" For a metric of {enumerate_some(inner)}, refer to that template."
        problem = Problem(
            path="spec.metrics",
            found=f"{len(nodes) or 'no'} metric{'s' if nodes else ''} {shorten(name)}",
            expected=f"one metric of the check's name: there are {enumerate_some(self.metrics) or 'none'}",
            remedy=remedy,
            rule="template-check",
        )
        raise ManifestError((problem,))

    def _build(
        self,
        node: DocumentPart,
        name: str,
        source: tuple[Json, str],
        fields: Json,
        secrets: Mapping[str, SecretArgument],
    ) -> CheckDefinition:
        """Return the definition in the types of a Canary. Raise ManifestError where a value does not fit."""
        provider, query = source
        values = [value for values in provider.get("headers", {}).values() for value in values]
        used = tuple(secrets[each] for each in dict.fromkeys(find_arguments(*values)))
        if self.kind == CLUSTER_ANALYSIS_TEMPLATE and (used or "secretRef" in provider):
            problem = Problem(
                path=f"{node.path}.provider",
                found=f"a {self.kind} that needs a Secret",
                expected="none: it belongs to no namespace, so no Secret is its own",
                remedy="Make an AnalysisTemplate in the namespace of the Secret.",
                rule="template-check",
            )
            raise ManifestError((problem,))
        try:
            template = parse(_as_metric_template(provider, query))
            metric = read_metric({"name": name, **fields}, node.path)
        except ManifestError as error:
            _raise([evolve(problem, path=_own_path(problem.path, node.path)) for problem in error.problems])
            raise
        assert isinstance(template, MetricTemplate), "the kind of the document"
        return CheckDefinition(provider=template.spec.provider, query=template.spec.query, metric=metric, secrets=used)


def read_templates(bodies: Iterable[Mapping[str, Any]]) -> tuple[AnalysisTemplate, ...]:
    """Return the AnalysisTemplates and ClusterAnalysisTemplates among some documents."""
    return tuple(AnalysisTemplate.read(body) for body in bodies if is_template(body))


def read_template_files(files: Iterable[tuple[str, str]]) -> tuple[AnalysisTemplate, ...]:
    """Return the templates of some (name, text) pairs of YAML. A text with an error has none; its reader reports it."""
    return read_templates(body for _, text in files if _MARK in text for body in _read(text))


def fill_secrets(text: str, values: Mapping[str, str]) -> str:
    """Return the text of a header with the values of its secret arguments."""
    return fill_arguments(text, values)


_MARK = "AnalysisTemplate"
"""A text that each file with a template has."""


def _read(text: str) -> Iterator[Mapping[str, Any]]:
    try:
        yield from [document.content for document in documents(text)]
    except ManifestError:
        return


def _count_characters(key: tuple[str, Variables], found: CheckDefinition | ManifestError) -> int:
    """Return the length of the texts that a remembered definition keeps in memory."""
    texts = [key[0], *(text for pair in key[1] for text in pair)]
    if isinstance(found, ManifestError):
        texts.append(str(found))
    else:
        texts += [found.query, found.provider.address]
        texts += [text for name, values in found.provider.headers for text in (name, *values)]
    return sum(map(len, texts))


@frozen
class _Arguments:
    values: Mapping[str, str]
    secrets: Mapping[str, SecretArgument]


def _read_arguments(spec: DocumentPart, variables: Mapping[str, str], gaps: Gaps) -> _Arguments:
    """Return the arguments that have a value, and those whose value is in a Secret. The Canary's values come first."""
    nodes = {node.text("name"): node for node in spec.items("args")}
    for name in [each for each in variables if each not in nodes][:MOST_PROBLEMS]:
        near = nearest(name, list(nodes)[:MOST_CANDIDATES])
        remedy = f"Did you mean {near}?" if near else "Correct the name in templateVariables, or remove it."
        expected = f"an argument of the template: {enumerate_some(nodes) or 'there are none'}"
        gaps.report(spec.at("args"), f"the variable {shorten(name)}", expected, remedy)
    values, secrets = dict(variables), dict[str, SecretArgument]()
    for name, node in nodes.items():
        value, reference = node.take("value"), node.at("valueFrom", "secretKeyRef")
        if name in variables:
            continue
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            values[name] = str(value)
        elif reference.text("name"):
            secrets[name] = SecretArgument(name=name, secret=reference.text("name"), key=reference.text("key"))
    return _Arguments(values, secrets)


def _report_unknown_parts(spec: DocumentPart, gaps: Gaps) -> None:
    for name in spec.value if isinstance(spec.value, Mapping) else ():
        if name not in _PARTS and spec.at(name):
            gaps.report(spec.at(name), "a part of the template", "nothing: a check has no such part", "Remove it.")


def _raise(problems: list[Problem]) -> None:
    """Raise ManifestError with the first problems, if there are any."""
    if not problems:
        return
    first = [evolve(problem, severity="error", rule="template-check") for problem in problems[:MOST_PROBLEMS]]
    if len(problems) > MOST_PROBLEMS:
        first.append(
            Problem(
                path="",
                found=f"{len(problems) - MOST_PROBLEMS} more problems",
                expected="none",
                remedy="Correct the problems above first.",
                rule="template-check",
            )
        )
    raise ManifestError(tuple(first))


def _as_metric_template(provider: Json, query: str) -> Json:
    """Return a document whose reader checks the provider and the query."""
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "MetricTemplate",
        "metadata": {"name": "definition"},
        "spec": {"provider": provider, "query": query},
    }


def _own_path(path: str, metric: str) -> str:
    """Return the path of a problem in the template, for a path in what it becomes."""
    for end, own in _NAMES_HERE.items():
        if path.endswith(end):
            return f"{path.removesuffix(end)}{own}"
    return f"{metric}.provider" if path.startswith(("spec.provider", "spec.query")) else path
