"""Lint rules about the definition of Canaries: fields that the cluster drops."""

from __future__ import annotations

from collections.abc import Iterator

from canarycore.manifest._definition._annotations import annotated_fields
from canarycore.manifest._definition._dropped import find_dropped_fields, suggest_for_dropped
from canarycore.manifest._lint._rule import Finding, LintContext, LintRule
from canarycore.manifest._reader._fields import write_object


def _dropped(context: LintContext) -> Iterator[Finding]:
    annotated = annotated_fields(key for key, _ in context.canary.metadata.annotations)
    for dropped in find_dropped_fields(write_object(context.canary.spec), context.around.omissions):
        if dropped.field not in annotated and dropped.field != "canaryAnalysis":  # another rule has the old name
            remedy = suggest_for_dropped([dropped])
            yield Finding(dropped.path, "a field that Flagger's definition lacks", {"remedy": remedy})


RULES: tuple[LintRule[LintContext], ...] = (
    LintRule(
        "pruned-field",
        "warning",
        _dropped,
        "a field that every cluster stores: the API server drops this one where Flagger's definition is installed",
        "{remedy}",
    ),
)
