"""The linter: checks of manifests that parse but cannot work, or surprise their owner.

The rules are rows of the tables in the modules beside this one. A rule reads one resource. A rule about a Canary also
reads the other documents of the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from canarycore.errors import Problem
from canarycore.manifest._definitions import CheckTemplate, define_checks
from canarycore.manifest._files import FilesReport, ParsedDocument, examine, read
from canarycore.manifest._lint import _checks, _definition, _objects, _routing, _steps
from canarycore.manifest._lint._rule import LintContext, LintFiles, LintRule
from canarycore.manifest._model import AlertProvider, Canary, MetricTemplate
from canarycore.manifest._reader._yaml import Document
from canarycore.manifest.routing import NO_PLUGINS, InstalledProviders

CANARY_RULES: tuple[LintRule[LintContext], ...] = (
    *_steps.RULES,
    *_checks.RULES,
    *_routing.RULES,
    *_objects.RULES,
    *_definition.RULES,
)
TEMPLATE_RULES: tuple[LintRule[MetricTemplate], ...] = _checks.TEMPLATE_RULES
ALERT_RULES: tuple[LintRule[AlertProvider], ...] = _checks.ALERT_RULES
TYPE_RULES: tuple[LintRule[_checks.ProviderType], ...] = (_checks.METRIC_TYPE_RULE, _checks.ALERT_TYPE_RULE)


def check_files(
    files: Iterable[tuple[str, str]],
    *,
    provider: str = "istio",
    installed: InstalledProviders = NO_PLUGINS,
    templates: Iterable[CheckTemplate] = (),
) -> FilesReport:
    """Return all problems of some (name, text) pairs, without an exception.

    provider: the controller's default, for Canaries without a provider.
    installed: the providers of plug-ins.
    templates: the templates of other dialects among the files (`canarycore.argo.read_template_files`).
    """
    return _lint(read(files), provider, installed, templates)


def lint(
    documents: Iterable[Document | Mapping[str, Any]],
    *,
    provider: str = "istio",
    installed: InstalledProviders = NO_PLUGINS,
    templates: Iterable[CheckTemplate] = (),
) -> tuple[Problem, ...]:
    """Return all problems of some documents. The other arguments: as in `check_files`."""
    pieces = (piece if isinstance(piece, Document) else Document(piece, {}) for piece in documents)
    report = examine(ParsedDocument(file="", document=piece) for piece in pieces)
    return _lint(report, provider, installed, templates).problems


def _lint(
    report: FilesReport, provider: str, installed: InstalledProviders, templates: Iterable[CheckTemplate]
) -> FilesReport:
    around = LintFiles(
        canaries=report.canaries,
        templates={(template.namespace, template.name): template for template in report.templates},
        check_templates=tuple(templates),
        providers={(provider.namespace, provider.name): provider for provider in report.providers},
        others=report.others,
        provider=provider,
        installed=installed,
    )
    problems = tuple(
        piece.locate(problem) for piece in report.documents for problem in _problems(piece.resource, around, provider)
    )
    return attrs.evolve(report, problems=report.problems + problems)


def _problems(resource: object, around: LintFiles, provider: str) -> Iterator[Problem]:
    match resource:
        case Canary():
            chosen, complete = resource.spec.provider or provider, define_checks(resource, around.check_templates)
            written = LintContext(canary=resource, provider=chosen, around=around)
            context = LintContext(canary=complete, provider=chosen, around=around)
            for rule in CANARY_RULES:
                yield from rule.problems(written if rule in _definition.RULES else context)
        case MetricTemplate():
            for template_rule in TEMPLATE_RULES:
                yield from template_rule.problems(resource)
            yield from _checks.METRIC_TYPE_RULE.problems(_checks.metric_type(resource, around.installed))
        case AlertProvider():
            for alert_rule in ALERT_RULES:
                yield from alert_rule.problems(resource)
            yield from _checks.ALERT_TYPE_RULE.problems(_checks.alert_type(resource, around.installed))
