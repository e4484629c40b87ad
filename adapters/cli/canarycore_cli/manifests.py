"""Files and folders to rollouts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from canarycore.bounds import FILE
from canarycore.errors import ManifestError
from canarycore_cli.console import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from canarycore import Rollout

STDIN = "-"
_SUFFIXES = (".yaml", ".yml")
_READ = FILE.most + 1
"""Characters that are read of a file: one more than is accepted, so that a larger one is told as such."""


def texts(paths: Iterable[str]) -> list[tuple[str, str]]:
    """(name, text) of each file; of a folder all YAML files below it; `-` is stdin. Raises BadInput."""
    return [(name, text) for path in paths for name, text in _texts(path)]


def rollout(path: str, name: str = "") -> Rollout:
    """The Canary of a manifest, resolved with the MetricTemplates beside it.

    `name` (with or without `.namespace`) chooses among several. Raises ManifestError and BadInput.
    """
    from canarycore.manifest import load, resolve

    report = load(texts([path]))
    found = {f"{canary.name}.{canary.namespace}": canary for canary in report.canaries}
    chosen = [canary for full, canary in found.items() if name in ("", full, canary.name)]
    if len(chosen) == 1:
        try:
            return resolve(chosen[0], templates=report.templates)
        except ManifestError as error:
            place = next(piece for piece in report.found if piece.resource is chosen[0])
            raise ManifestError(tuple(map(place.locate, error.problems))) from None
    if not found:
        raise BadInput(f"{path}: found no Canary, expected a manifest with apiVersion flagger.app/v1beta1, kind Canary")
    names = ", ".join(found)
    if not chosen:
        raise BadInput(f"--canary {name}: found no Canary of that name, expected one of {names}")
    raise BadInput(f"{path}: found {len(chosen)} Canaries, expected one: choose it by --canary ({names})")


def _texts(path: str) -> Iterator[tuple[str, str]]:
    if path == STDIN:
        yield "stdin", sys.stdin.read(_READ)
        return
    start = Path(path)
    if os.path.isdir(path):  # noqa: PTH112 - a Path raises where the path is too long
        files = sorted(file for file in start.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
        if not files:
            raise BadInput(f"{path}: found no file that ends in .yaml or .yml, expected manifests")
    else:
        files = [start]
    for file in files:
        try:
            with file.open(encoding="utf-8") as text:
                yield str(file), text.read(_READ)
        except OSError as error:
            raise BadInput(f"{file}: {error.strerror or error}, expected a readable file or folder") from None
        except UnicodeDecodeError:
            raise BadInput(f"{file}: found bytes that are not UTF-8, expected YAML text") from None
