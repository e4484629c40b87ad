"""Queries as Go templates.

    sum(rate(http_requests_total{namespace="{{ namespace }}", pod=~"{{ target }}-.*"}[{{ interval }}]))

`canarycore.gotemplate` has the language. A query's functions are those of Flagger: `namespace`, `target` and so on,
each a text, and `variables`, a map of the metric's `templateVariables`. An action without a value is an error, where Go
writes "<no value>": such a query could pass by mistake.

`canarycore.bounds` limits the length of the query and of the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.bounds import QUERY, RENDERED_QUERY
from canarycore.gotemplate import TemplateError, parse
from canarycore.text import enumerate_some

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["TemplateError", "render"]

VARIABLES = "variables"


def render(text: str, values: Mapping[str, str], variables: Mapping[str, str]) -> str:
    """Return the query: each name in `values` is a function, and `variables` is the map of that name.

    Raises TemplateError.
    """
    if len(text) > QUERY.most:
        raise TemplateError(f"the query has {len(text):,} characters: expected {QUERY}")
    functions: dict[str, Callable[[], object]] = {name: _constant(value) for name, value in values.items()}
    functions[VARIABLES] = _constant(dict(variables))
    try:
        return parse(text, functions).render(longest=RENDERED_QUERY.most)
    except TemplateError as error:
        names = enumerate_some([f"{VARIABLES}.{name}" for name in sorted(variables)], most=20)
        hint = f"; the variables are {names}" if names and "value" in str(error) else ""
        raise TemplateError(f"the query cannot be rendered: {error}{hint}") from None


def _constant(value: object) -> Callable[[], object]:
    return lambda: value
