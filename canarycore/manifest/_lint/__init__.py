"""The linter: what parses but cannot work, or surprises.

The rules are rows of tables in `_steps`, `_checks`, `_routing` and `_objects`. A rule reads one resource. A rule about
a Canary also reads the other documents of the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from canarycore.errors import Problem
from canarycore.manifest._files import FilesReport, ParsedDocument, examine, read
from canarycore.manifest._lint import _checks, _objects, _routing, _steps
from canarycore.manifest._lint._rule import LintContext, LintFiles, LintRule
from canarycore.manifest._model import AlertProvider, Canary, MetricTemplate
from canarycore.manifest._reader._yaml import Document

CANARY_RULES: tuple[LintRule[LintContext], ...] = (
    *_steps.RULES,
    *_checks.RULES,
    *_routing.RULES,
    *_objects.RULES,
)
TEMPLATE_RULES: tuple[LintRule[MetricTemplate], ...] = _checks.TEMPLATE_RULES
ALERT_RULES: tuple[LintRule[AlertProvider], ...] = _checks.ALERT_RULES


def check_files(files: Iterable[tuple[str, str]], *, provider: str = "istio") -> FilesReport:
    """Everything that is wrong with some (name, text) pairs; never raises.

    `provider` is the controller's own, for canaries that name none.
    """
    return _judged(read(files), provider)


def lint(documents: Iterable[Document | Mapping[str, Any]], *, provider: str = "istio") -> tuple[Problem, ...]:
    """Everything that is wrong with some documents, parsed already."""
    pieces = (piece if isinstance(piece, Document) else Document(piece, {}) for piece in documents)
    return _judged(examine(ParsedDocument(file="", document=piece) for piece in pieces), provider).problems


def _judged(report: FilesReport, provider: str) -> FilesReport:
    around = LintFiles(
        canaries=report.canaries,
        templates={(template.namespace, template.name): template for template in report.templates},
        providers={(provider.namespace, provider.name): provider for provider in report.providers},
        others=report.others,
    )
    caught = tuple(
        found.locate(problem) for found in report.found for problem in _problems(found.resource, around, provider)
    )
    return attrs.evolve(report, problems=report.problems + caught)


def _problems(resource: object, around: LintFiles, provider: str) -> Iterator[Problem]:
    match resource:
        case Canary():
            case = LintContext(canary=resource, provider=resource.spec.provider or provider, around=around)
            for rule in CANARY_RULES:
                yield from rule.problems(case)
        case MetricTemplate():
            for template_rule in TEMPLATE_RULES:
                yield from template_rule.problems(resource)
        case AlertProvider():
            for alert_rule in ALERT_RULES:
                yield from alert_rule.problems(resource)
