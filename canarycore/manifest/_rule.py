"""The linter's words: a rule, what it looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Literal, TypeVar

from attrs import Factory, field, frozen

from canarycore._ladder import Ladder, Strategy
from canarycore.errors import Problem
from canarycore.manifest._duration import parse_duration
from canarycore.manifest._foreign import dig
from canarycore.manifest._model import AlertProvider, Analysis, Canary, MetricTemplate
from canarycore.manifest._resolve import INTERVAL, SHORTEST_INTERVAL, ladder, strategy
from canarycore.manifest._routing import ROUTING, Routing

Subject = TypeVar("Subject")
Json = Mapping[str, Any]


@frozen(kw_only=True)
class Around:
    """What else is in the files, by namespace and name."""

    canaries: tuple[Canary, ...] = ()
    templates: Mapping[tuple[str, str], MetricTemplate] = Factory(dict)
    providers: Mapping[tuple[str, str], AlertProvider] = Factory(dict)
    others: tuple[Json, ...] = ()

    def other(self, kind: str, namespace: str, name: str) -> Json | None:
        """A document of another kind."""
        for document in self.others:
            where = dig(document, "metadata", "namespace") or "default"
            place = (document.get("kind"), where, dig(document, "metadata", "name"))
            if place == (kind, namespace, name):
                return document
        return None


@frozen(kw_only=True)
class Case:
    """A canary under the linter, with what follows from its fields."""

    canary: Canary
    provider: str
    around: Around = Around()
    analysis: Analysis = field(init=False)
    routing: Routing | None = field(init=False)
    strategy: Strategy = field(init=False)
    ladder: Ladder = field(init=False)

    @analysis.default
    def _analysis(self) -> Analysis:
        return self.canary.analysis or Analysis()

    @routing.default
    def _routing(self) -> Routing | None:
        return ROUTING.get(self.provider)

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


@frozen
class Rule(Generic[Subject]):
    """A row of the linter's tables. An error cannot work; a warning surprises."""

    name: str
    severity: Literal["error", "warning"]
    check: Callable[[Subject], Iterator[Finding]]
    expected: str
    remedy: str

    def problems(self, subject: Subject) -> Iterator[Problem]:
        """What the rule finds, told."""
        for finding in self.check(subject):
            yield Problem(
                path=finding.path,
                found=finding.found,
                expected=self.expected.format(**finding.words),
                remedy=self.remedy.format(**finding.words),
                rule=self.name,
                severity=self.severity,
            )
