"""Flags as Go programs take them: `-mesh-provider=istio`, `-enable-leader-election=true`.

Whoever replaces Flagger by us keeps the arguments of its container.
"""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand

_FLAG = re.compile(r"--?(?P<name>[a-z][a-z0-9-]+)(?P<value>=.*)?", re.DOTALL)
_TRUE = ("=true", "=t", "=1")
_FALSE = ("=false", "=f", "=0")


class GoFlags(TyperCommand):
    """A command that takes its long options with one dash too, and switches with `=true` or `=false`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        switches = {
            name
            for parameter in self.params
            if getattr(parameter, "is_flag", False)
            for name in (*parameter.opts, *parameter.secondary_opts)
        }
        return super().parse_args(ctx, [word for given in args for word in _rewritten(given, switches)])


def _rewritten(given: str, switches: set[str]) -> list[str]:
    found = _FLAG.fullmatch(given)
    if found is None:
        return [given]
    name, value = f"--{found['name']}", found["value"] or ""
    if name in switches and value.lower() in _TRUE:
        return [name]
    if name in switches and value.lower() in _FALSE:
        off = f"--no-{found['name']}"
        return [off] if off in switches else []
    return [f"{name}{value}"]
