"""Manifests from files, folders and stdin."""

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
"""The number of characters to read of a file: one more than the parser accepts, so that it reports a larger file."""


def read_texts(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Return (name, text) of each file, of all YAML files below each folder, and of stdin for `-`. Raises BadInput."""
    return [(name, text) for path in paths for name, text in _read_texts(path)]


def read_rollout(path: str, name: str = "") -> Rollout:
    """Return the Canary of a manifest, resolved with the MetricTemplates beside it.

    `name` (NAME or NAME.NAMESPACE) selects one of several Canaries. Raises ManifestError and BadInput.
    """
    from canarycore.manifest import load, resolve
    from canarycore_runtime.registry import find_proxy_delay

    report = load(read_texts([path]))
    canaries = {f"{canary.name}.{canary.namespace}": canary for canary in report.canaries}
    matching = [canary for full_name, canary in canaries.items() if name in ("", full_name, canary.name)]
    if len(matching) == 1:
        try:
            return resolve(matching[0], templates=report.templates, proxy_delay=find_proxy_delay)
        except ManifestError as error:
            piece = next(piece for piece in report.documents if piece.resource is matching[0])
            raise ManifestError(tuple(map(piece.locate, error.problems))) from None
    if not canaries:
        raise BadInput(f"{path}: found no Canary, expected a manifest with apiVersion flagger.app/v1beta1, kind Canary")
    names = ", ".join(canaries)
    if not matching:
        raise BadInput(f"--canary {name}: found no Canary of that name, expected one of {names}")
    raise BadInput(f"{path}: found {len(matching)} Canaries, expected one: select it by --canary ({names})")


def _read_texts(path: str) -> Iterator[tuple[str, str]]:
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
