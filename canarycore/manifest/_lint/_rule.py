"""The types of the linter: rules, their context and their findings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, Literal, TypeVar

from attrs import Factory, field, frozen

from canarycore._ladder import Ladder, Strategy
from canarycore.bounds import FINDINGS
from canarycore.errors import Problem
from canarycore.foreign import get_text
from canarycore.manifest._definition._dropped import DEFINITION, FLAGGERS_OMISSIONS, find_omissions
from canarycore.manifest._definitions import CheckTemplate
from canarycore.manifest._model import AlertProvider, Analysis, Canary, MetricTemplate
from canarycore.manifest._resolve import interval_seconds, ladder, strategy
from canarycore.manifest.routing import NO_PLUGINS, InstalledProviders, ProviderCapabilities
from canarycore.text import clip

Subject = TypeVar("Subject")
Json = Mapping[str, Any]
"""A JSON object."""


@frozen(kw_only=True)
class LintFiles:
    """The documents of the files, by namespace and name."""

    canaries: tuple[Canary, ...] = ()
    """All Canaries."""
    templates: Mapping[tuple[str, str], MetricTemplate] = Factory(dict)
    """MetricTemplates by namespace and name."""
    check_templates: tuple[CheckTemplate, ...] = ()
    """Templates of other dialects, such as AnalysisTemplates."""
    providers: Mapping[tuple[str, str], AlertProvider] = Factory(dict)
    """AlertProviders by namespace and name."""
    others: tuple[Json, ...] = ()
    """Documents of kinds that are not Flagger's."""
    provider: str = "istio"
    """The default for Canaries without a provider."""
    installed: InstalledProviders = NO_PLUGINS
    """The providers of plug-ins."""

    omissions: Collection[str] = field(init=False, eq=False, repr=False)
    """The fields that the definition of Canaries lacks: the one in the files, or else Flagger's."""
    _by_name: Mapping[Hashable, list[Canary]] = field(init=False, eq=False, repr=False)
    _by_target: Mapping[Hashable, list[Canary]] = field(init=False, eq=False, repr=False)
    _by_service: Mapping[Hashable, list[Canary]] = field(init=False, eq=False, repr=False)
    _by_ingress: Mapping[Hashable, list[Canary]] = field(init=False, eq=False, repr=False)
    _others_by_place: Mapping[Hashable, Json] = field(init=False, eq=False, repr=False)

    @omissions.default
    def _find_omissions(self) -> Collection[str]:
        definitions = (body for body in self.others if get_text(body, "metadata", "name") == DEFINITION)
        definition = next((body for body in definitions if body.get("kind") == "CustomResourceDefinition"), None)
        return FLAGGERS_OMISSIONS if definition is None else find_omissions(definition)

    @_by_name.default
    def _group_by_name(self) -> Mapping[Hashable, list[Canary]]:
        return _grouped(self.canaries, _name)

    @_by_target.default
    def _group_by_target(self) -> Mapping[Hashable, list[Canary]]:
        return _grouped(self.canaries, _target)

    @_by_service.default
    def _group_by_service(self) -> Mapping[Hashable, list[Canary]]:
        return _grouped(self.canaries, _service)

    @_by_ingress.default
    def _group_by_ingress(self) -> Mapping[Hashable, list[Canary]]:
        return _grouped((canary for canary in self.canaries if canary.spec.ingress_ref), _ingress)

    @_others_by_place.default
    def _index_others(self) -> Mapping[Hashable, Json]:
        return {_place(document): document for document in reversed(self.others)}

    def named(self, canary: Canary) -> Sequence[Canary]:
        """Return all Canaries with the name and namespace of this one."""
        return self._by_name.get(_name(canary), ())

    def sharing(self, canary: Canary) -> Sequence[Canary]:
        """Return all Canaries with the target of this one, in its namespace."""
        return self._by_target.get(_target(canary), ())

    def sharing_service(self, canary: Canary) -> Sequence[Canary]:
        """Return all Canaries whose users call the Service of this one, in its namespace."""
        return self._by_service.get(_service(canary), ())

    def sharing_ingress(self, canary: Canary) -> Sequence[Canary]:
        """Return all Canaries with the Ingress of this one, in its namespace."""
        return self._by_ingress.get(_ingress(canary), ())

    def other(self, kind: str, namespace: str, name: str) -> Json | None:
        """Return a document of another kind, or None."""
        return self._others_by_place.get((kind, namespace, name))


def _name(canary: Canary) -> Hashable:
    return canary.namespace, canary.name


def _target(canary: Canary) -> Hashable:
    return canary.namespace, canary.spec.target_ref


def _service(canary: Canary) -> Hashable:
    service = canary.spec.service
    return canary.namespace, (service.name if service else "") or canary.spec.target_ref.name


def _ingress(canary: Canary) -> Hashable:
    reference = canary.spec.ingress_ref
    return canary.namespace, reference.name if reference else ""


def _place(document: Json) -> Hashable:
    """Return kind, namespace and name. A part that is no text is left out, as nothing can refer to it."""
    namespace = get_text(document, "metadata", "namespace") or "default"
    return get_text(document, "kind"), namespace, get_text(document, "metadata", "name")


def _grouped(canaries: Iterable[Canary], key: Callable[[Canary], Hashable]) -> Mapping[Hashable, list[Canary]]:
    groups: dict[Hashable, list[Canary]] = {}
    for canary in canaries:
        groups.setdefault(key(canary), []).append(canary)
    return groups


@frozen(kw_only=True)
class LintContext:
    """A Canary for the rules, with values that follow from its fields."""

    canary: Canary
    """The Canary."""
    provider: str
    """Its provider, or the controller's default."""
    around: LintFiles = LintFiles()
    """The documents of all files."""
    analysis: Analysis = field(init=False)
    """Its analysis; an empty one where it has none."""
    routing: ProviderCapabilities | None = field(init=False)
    """The capabilities of its provider; None for an unknown one."""
    strategy: Strategy = field(init=False)
    """Its strategy."""
    ladder: Ladder = field(init=False)
    """Its ladder."""

    @analysis.default
    def _analysis(self) -> Analysis:
        return self.canary.analysis or Analysis()

    @routing.default
    def _routing(self) -> ProviderCapabilities | None:
        return self.around.installed.capabilities(self.provider)

    @strategy.default
    def _strategy(self) -> Strategy:
        return strategy(self.analysis, self.provider)

    @ladder.default
    def _ladder(self) -> Ladder:
        return ladder(self.analysis, self.provider)

    @property
    def interval(self) -> float:
        """Seconds between analyses."""
        return interval_seconds(self.analysis)

    @property
    def heaviest(self) -> int:
        """The greatest weight of the ladder."""
        return self.ladder.heaviest

    def at(self, path: str) -> str:
        """Return a path below the analysis."""
        return f"{self.canary.analysis_path}.{path}"


@frozen
class Finding:
    """A finding of a rule."""

    path: str
    """Path of the field."""
    found: str
    """The value at the path, in words."""
    arguments: Mapping[str, object] = Factory(dict)
    """Values for the placeholders in the rule's texts."""

    @classmethod
    def of(cls, problem: Problem) -> Finding:
        """Return the finding of a problem, for a rule with the texts `{expected}` and `{remedy}`."""
        return cls(problem.path, problem.found, {"expected": problem.expected, "remedy": problem.remedy})


_LONGEST_FOUND = 300
"""Most characters of the found value, which may repeat a name of any length."""


@frozen
class LintRule(Generic[Subject]):
    """A rule of the linter."""

    name: str
    """Identity of the rule, which problems show."""
    severity: Literal["error", "warning"]
    """An error cannot work; a warning surprises."""
    check: Callable[[Subject], Iterator[Finding]]
    """The function that returns the findings of a resource."""
    expected: str
    """The expected value, in words, with placeholders for the finding's arguments."""
    remedy: str
    """The way to correct the manifest, with placeholders for the finding's arguments."""

    def problems(self, subject: Subject) -> Iterator[Problem]:
        """Yield the rule's first findings as problems."""
        for finding in islice(self.check(subject), FINDINGS.most):
            yield Problem(
                path=finding.path,
                found=clip(finding.found, _LONGEST_FOUND),
                expected=self.expected.format(**finding.arguments),
                remedy=self.remedy.format(**finding.arguments),
                rule=self.name,
                severity=self.severity,
            )
