"""Flags in the form of Go programs: `-mesh-provider=istio`, `-enable-leader-election=true`.

With them, a Deployment of Flagger keeps the arguments of its container.
"""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand

_FLAG = re.compile(r"--?(?P<name>[a-z][a-z0-9-]+)(?P<value>=.*)?", re.DOTALL)
_TRUE = ("=true", "=t", "=1")
_FALSE = ("=false", "=f", "=0")


class GoFlags(TyperCommand):
    """A command that accepts its long options with one dash too, and switches with `=true` or `=false`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Rewrite the flags for click, and parse them."""
        switches = {
            name
            for parameter in self.params
            if getattr(parameter, "is_flag", False)
            for name in (*parameter.opts, *parameter.secondary_opts)
        }
        return super().parse_args(ctx, [part for argument in args for part in _rewrite(argument, switches)])


def _rewrite(argument: str, switches: set[str]) -> list[str]:
    match = _FLAG.fullmatch(argument)
    if match is None:
        return [argument]
    name, value = f"--{match['name']}", match["value"] or ""
    if name in switches and value.lower() in _TRUE:
        return [name]
    if name in switches and value.lower() in _FALSE:
        off = f"--no-{match['name']}"
        return [off] if off in switches else []
    return [f"{name}{value}"]
