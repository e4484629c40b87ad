"""The template of a plug-in, examples/plugin, as an installed distribution."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPLATE = Path(__file__).parents[4] / "examples" / "plugin"


@contextmanager
def installed_acme(folder: Path, **further: dict[str, str]) -> Iterator[None]:
    """Install the template while the context is open, with further entry points by group."""
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text())["project"]
    groups = {group.removeprefix("canarycore."): entries for group, entries in project["entry-points"].items()}
    info = folder / f"canarycore_acme-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [
        line
        for group in {**groups, **further}
        for line in (
            f"[canarycore.{group}]",
            *(f"{name} = {value}" for name, value in {**groups.get(group, {}), **further.get(group, {})}.items()),
        )
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    before = list(sys.path)
    sys.path[:0] = [str(folder), str(TEMPLATE)]
    try:
        yield
    finally:
        sys.path[:] = before
        for name in [name for name in sys.modules if name.partition(".")[0] in ("canarycore_acme", "acme_parts")]:
            del sys.modules[name]
