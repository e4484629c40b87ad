"""Checks that a template of another dialect defines.

A metric names an AnalysisTemplate of Argo by `templateRef.kind`. Such a template has the query and the provider, as a
MetricTemplate has them, and also the conditions and the limits. `define_checks` gives the metrics of a Canary these
fields, so that all that reads metrics needs to know nothing of templates. `canarycore.argo` reads the templates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from attrs import evolve

from canarycore.errors import ManifestError, Problem
from canarycore.manifest._model import (
    DEFINED_FIELDS,
    Canary,
    CheckDefinition,
    Metric,
    MetricTemplate,
    TemplateReference,
)
from canarycore.manifest._reader._fields import fields_of
from canarycore.manifest._service import Pairs


class CheckTemplate(Protocol):
    """A template of another dialect, which defines checks by name."""

    @property
    def kind(self) -> str:
        """The kind, such as AnalysisTemplate."""

    @property
    def namespace(self) -> str:
        """The namespace; empty for a template of the cluster."""

    @property
    def name(self) -> str:
        """The name."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of its metrics."""

    def define(self, metric: str, variables: Pairs) -> CheckDefinition:
        """Return the definition of a check by the name of its metric.

        variables: values of arguments, from the Canary. Raise ManifestError with all that a check cannot have.
        """


AnyTemplate = MetricTemplate | CheckTemplate
"""A template that a metric may refer to."""

TemplatePlace = tuple[str, str, str]
"""Kind, namespace and name of a template."""


def place_of_template(reference: TemplateReference, namespace: str) -> TemplatePlace:
    """Return the place of the template that a Canary of a namespace refers to."""
    home = "" if reference.is_cluster_scoped else reference.namespace or namespace
    return reference.kind, home, reference.name


def index_templates(templates: Iterable[CheckTemplate]) -> dict[TemplatePlace, CheckTemplate]:
    """Return templates by their places."""
    return {(template.kind, template.namespace, template.name): template for template in templates}


def define_checks(canary: Canary, templates: Iterable[CheckTemplate]) -> Canary:
    """Return a Canary whose metrics have the fields that these templates define.

    A metric whose template is missing, or cannot define it, stays as it is: its source reports the error.
    """
    known = index_templates(templates)
    if not known or canary.analysis is None:
        return canary
    metrics = tuple(_define(metric, canary.namespace, known) for metric in canary.analysis.metrics)
    if all(new is old for new, old in zip(metrics, canary.analysis.metrics, strict=True)):
        return canary
    analysis = evolve(canary.analysis, metrics=metrics)
    spec = canary.spec
    spec = evolve(spec, analysis=analysis) if spec.analysis else evolve(spec, canary_analysis=analysis)
    return evolve(canary, spec=spec)


def find_undefined(
    canary: Canary, templates: Iterable[CheckTemplate], *, with_missing: bool = True
) -> Iterator[Problem]:
    """Yield what prevents templates from defining the checks of a Canary.

    with_missing: whether a template that is not among them counts.
    """
    known = index_templates(templates)
    for index, metric in enumerate(canary.analysis.metrics if canary.analysis else ()):
        reference = metric.template_ref
        if reference is None or not reference.is_analysis:
            continue
        path = f"{canary.analysis_path}.metrics[{index}].templateRef"
        place = place_of_template(reference, canary.namespace)
        template = known.get(place)
        if template is not None:
            yield from _refusals(template, metric, path)
        elif with_missing:
            yield Problem(
                path=path,
                found=f"the {describe_template(place)}, which is not among the files",
                expected="its file too: it has the conditions and limits of the check",
                remedy="Add the file.",
                rule="missing-template",
            )


def require_definitions(canary: Canary, templates: Iterable[CheckTemplate]) -> None:
    """Raise ManifestError unless these templates define all checks of a Canary that refer to one."""
    problems = tuple(find_undefined(canary, templates))
    if problems:
        raise ManifestError(problems)


def describe_template(place: TemplatePlace) -> str:
    """Return the kind and the name of a template, with its namespace."""
    kind, namespace, name = place
    return f"{kind} {name}.{namespace}" if namespace else f"{kind} {name}"


def _define(metric: Metric, namespace: str, known: dict[TemplatePlace, CheckTemplate]) -> Metric:
    reference = metric.template_ref
    if reference is None or not reference.is_analysis or metric.definition is not None:
        return metric
    template = known.get(place_of_template(reference, namespace))
    if template is None:
        return metric
    try:
        definition = template.define(metric.name, metric.template_variables)
    except ManifestError:
        return metric
    attributes = [field.name for name, field in fields_of(Metric).items() if name in DEFINED_FIELDS]
    given = {name: getattr(definition.metric, name) for name in attributes}
    return evolve(metric, **given, dry_run=metric.dry_run or definition.metric.dry_run, definition=definition)


def _refusals(template: CheckTemplate, metric: Metric, path: str) -> Iterator[Problem]:
    try:
        template.define(metric.name, metric.template_variables)
    except ManifestError as error:
        name = describe_template((template.kind, template.namespace, template.name))
        for problem in error.problems:
            found = f"{name} with {problem.found} at {problem.path}" if problem.path else f"{name} with {problem.found}"
            yield evolve(problem, path=path, found=found, rule="template-check", severity="error", line=None, file=None)
