"""The linter's words: a rule, what it looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, Literal, TypeVar

from attrs import Factory, field, frozen

from canarycore._ladder import Ladder, Strategy
from canarycore.bounds import FINDINGS
from canarycore.errors import Problem
from canarycore.foreign import get_text
from canarycore.manifest._duration import parse_duration
from canarycore.manifest._model import AlertProvider, Analysis, Canary, MetricTemplate
from canarycore.manifest._resolve import INTERVAL, SHORTEST_INTERVAL, ladder, strategy
from canarycore.manifest.routing import PROVIDER_CAPABILITIES, ProviderCapabilities
from canarycore.text import clip

Subject = TypeVar("Subject")
Json = Mapping[str, Any]


@frozen(kw_only=True)
class LintFiles:
    """What else is in the files, by namespace and name."""

    canaries: tuple[Canary, ...] = ()
    templates: Mapping[tuple[str, str], MetricTemplate] = Factory(dict)
    providers: Mapping[tuple[str, str], AlertProvider] = Factory(dict)
    others: tuple[Json, ...] = ()

    _by_name: Mapping[Hashable, list[Canary]] = field(init=False, eq=False, repr=False)
    _by_target: Mapping[Hashable, list[Canary]] = field(init=False, eq=False, repr=False)
    _others_by_place: Mapping[Hashable, Json] = field(init=False, eq=False, repr=False)

    @_by_name.default
    def _named(self) -> Mapping[Hashable, list[Canary]]:
        return _grouped(self.canaries, _name)

    @_by_target.default
    def _aimed(self) -> Mapping[Hashable, list[Canary]]:
        return _grouped(self.canaries, _target)

    @_others_by_place.default
    def _placed(self) -> Mapping[Hashable, Json]:
        return {_place(document): document for document in reversed(self.others)}

    def named(self, canary: Canary) -> Sequence[Canary]:
        """All Canaries with the name and namespace of this one."""
        return self._by_name.get(_name(canary), ())

    def sharing(self, canary: Canary) -> Sequence[Canary]:
        """All Canaries with the target of this one, in its namespace."""
        return self._by_target.get(_target(canary), ())

    def other(self, kind: str, namespace: str, name: str) -> Json | None:
        """A document of another kind."""
        return self._others_by_place.get((kind, namespace, name))


def _name(canary: Canary) -> Hashable:
    return canary.namespace, canary.name


def _target(canary: Canary) -> Hashable:
    return canary.namespace, canary.spec.target_ref


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
    """A canary under the linter, with what follows from its fields."""

    canary: Canary
    provider: str
    around: LintFiles = LintFiles()
    analysis: Analysis = field(init=False)
    routing: ProviderCapabilities | None = field(init=False)
    strategy: Strategy = field(init=False)
    ladder: Ladder = field(init=False)

    @analysis.default
    def _analysis(self) -> Analysis:
        return self.canary.analysis or Analysis()

    @routing.default
    def _routing(self) -> ProviderCapabilities | None:
        return PROVIDER_CAPABILITIES.get(self.provider)

    @strategy.default
    def _strategy(self) -> Strategy:
        return strategy(self.analysis, self.provider)

    @ladder.default
    def _ladder(self) -> Ladder:
        return ladder(self.analysis, self.provider)

    @property
    def interval(self) -> float:
        """Seconds between analyses."""
        text = self.analysis.interval
        return max(parse_duration(text), SHORTEST_INTERVAL) if text else INTERVAL

    @property
    def heaviest(self) -> int:
        """The greatest weight of the climb."""
        return self.ladder.heaviest

    def at(self, path: str) -> str:
        """A path below the analysis."""
        return f"{self.canary.analysis_path}.{path}"


@frozen
class Finding:
    """One catch of a rule: where, and what was found there. `words` fill the rule's texts."""

    path: str
    found: str
    words: Mapping[str, object] = Factory(dict)


_LONGEST_FOUND = 300
"""Characters of what was found: it may repeat a name as long as a text may be."""


@frozen
class LintRule(Generic[Subject]):
    """A row of the linter's tables. An error cannot work; a warning surprises."""

    name: str
    severity: Literal["error", "warning"]
    check: Callable[[Subject], Iterator[Finding]]
    expected: str
    remedy: str

    def problems(self, subject: Subject) -> Iterator[Problem]:
        """Yield the rule's first findings as problems."""
        for finding in islice(self.check(subject), FINDINGS.most):
            yield Problem(
                path=finding.path,
                found=clip(finding.found, _LONGEST_FOUND),
                expected=self.expected.format(**finding.words),
                remedy=self.remedy.format(**finding.words),
                rule=self.name,
                severity=self.severity,
            )
