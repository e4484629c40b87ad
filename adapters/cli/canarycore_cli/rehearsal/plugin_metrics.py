"""The metric providers of plug-ins in a rehearsal: it asks them for the checks whose MetricTemplates name them.

A rehearsal has no Secrets, so a template with one needs a value by `--metric`, as those of other providers do.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from canarycore.manifest import MetricTemplate, dump, parse
from canarycore.questions import MetricAnswer
from canarycore_runtime.mesh import query_variables
from canarycore_runtime.plugins import find_installed_providers
from canarycore_runtime.registry import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from canarycore import Check, Rollout
    from canarycore.questions import MetricQuestion
    from canarycore_cli.console import Json
    from canarycore_runtime.ports import MetricSource

Place = tuple[str, str]
"""The namespace and name of a template."""


def find_plugin_templates(rollout: Rollout, templates: Iterable[MetricTemplate]) -> tuple[Json, ...]:
    """Return the templates of a rollout's checks whose providers are plug-ins, as documents."""
    names = find_installed_providers().metrics
    places = {place_of(rollout, check) for check in rollout.checks}
    return tuple(
        dump(template)
        for template in templates
        if (template.namespace, template.name) in places
        and template.spec.provider.type in names
        and template.spec.provider.secret_ref is None
    )


def find_places(documents: Iterable[Json]) -> frozenset[Place]:
    """Return the places of templates."""
    return frozenset((template.namespace, template.name) for template in map(_parse, documents))


def place_of(rollout: Rollout, check: Check) -> Place | None:
    """Return the place of a check's MetricTemplate; None if it has none."""
    reference = check.template
    return None if reference is None or reference.kind else (reference.namespace or rollout.namespace, reference.name)


class TemplateMetrics:
    """A metric source that asks the plug-in of a check's template, and `fallback` for all other checks."""

    def __init__(self, sources: Mapping[Place, MetricSource], fallback: MetricSource | None) -> None:
        self._sources = sources
        self._fallback = fallback

    async def query(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        """Return the answer of the check's source."""
        source = self._source(rollout, question.check)
        if source is None:
            return MetricAnswer(error=f"found no source of the metric {question.check.name}: give it a value")
        return await source.query(rollout, question)

    async def online(self, rollout: Rollout) -> str:
        """Return why the first source of the checks is out of reach; empty where all are within reach."""
        for source in {self._source(rollout, check) for check in rollout.checks} - {None}:
            if source is not None and (reason := await source.online(rollout)):
                return reason
        return ""

    def _source(self, rollout: Rollout, check: Check) -> MetricSource | None:
        place = place_of(rollout, check)
        return self._fallback if place is None else self._sources.get(place, self._fallback)


@asynccontextmanager
async def open_plugin_metrics(
    documents: Iterable[Json], fallback: MetricSource | None
) -> AsyncIterator[TemplateMetrics]:
    """Open the providers of these templates."""
    async with AsyncExitStack() as stack:
        sources = {}
        for template in map(_parse, documents):
            provider = template.spec.provider
            opened = load("metrics", provider.type)(
                provider.address,
                headers=dict(provider.headers),
                secret={},
                region=provider.region,
                insecure_skip_verify=provider.insecure_skip_verify,
                query_variables=query_variables,
            )
            sources[template.namespace, template.name] = await stack.enter_async_context(opened)
        yield TemplateMetrics(sources, fallback)


def _parse(document: Json) -> MetricTemplate:
    template = parse(document)
    assert isinstance(template, MetricTemplate), "the options of a rehearsal have templates only"
    return template
