"""Manifests from files, folders and stdin.

A folder may be a whole repository. A YAML file of a folder counts if it names Flagger's or Argo's API group and is a
manifest as it stands: no patch of a kustomization, and no template of a chart.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.bounds import FILE
from canarycore.errors import ManifestError, Problem
from canarycore_cli.console import BadInput, count_of, err

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from canarycore import Rollout
    from canarycore.argo import AnalysisTemplate
    from canarycore.manifest import MetricTemplate

STDIN = "-"
_SUFFIXES = (".yaml", ".yml")
_READ = FILE.most + 1
"""The number of characters to read of a file: one more than the parser accepts, so that it reports a larger file."""


_ARGO = "argoproj.io/"
_GROUPS = ("flagger.app/", f"{_ARGO}v1alpha1")
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_PATCHES = {"patches", "patchesStrategicMerge", "patchesJson6902"}
"""The fields of a kustomization that list patches."""


@frozen(kw_only=True)
class ManifestFiles:
    """The manifests of some files and folders."""

    texts: tuple[tuple[str, str], ...]
    """The name and the text of each file."""
    problems: tuple[Problem, ...]
    """Files that cannot be read, and templates of charts."""


@frozen(kw_only=True)
class SelectedCanary:
    """One Canary of a manifest."""

    rollout: Rollout
    """The resolved Canary."""
    templates: tuple[MetricTemplate, ...]
    """The MetricTemplates of the manifest."""
    document: Mapping[str, Any]
    """The document of the Canary."""
    documents: tuple[Mapping[str, Any], ...]
    """All documents of the manifest."""


def read_files(paths: Iterable[str]) -> ManifestFiles:
    """Return the files, all manifests below the folders, and stdin for `-`.

    Raises BadInput for a path that is not there.
    """
    texts: list[tuple[str, str]] = []
    problems: list[Problem] = []
    for path in paths:
        if path == STDIN:
            texts.append(("stdin", sys.stdin.read(_READ)))
        elif os.path.isdir(path):  # noqa: PTH112 - a Path raises where the path is too long
            for piece in _read_folder(path):
                if isinstance(piece, Problem):
                    problems.append(piece)
                else:
                    texts.append(piece)
        else:
            file = Path(path)
            try:
                texts.append((str(file), _read(file)))
            except _UnreadableError as error:
                if not os.path.exists(path):  # noqa: PTH110 - the same
                    raise
                problems.append(error.problem)
    return ManifestFiles(texts=tuple(texts), problems=tuple(problems))


def read_texts(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Return (name, text) of each manifest, as `read_files` does. Raises BadInput for one that cannot be read."""
    files = read_files(paths)
    for problem in files.problems:
        if problem.severity == "error":
            raise BadInput(f"{problem.file}: found {problem.found}, expected {problem.expected}")
    return list(files.texts)


def convert_argo(texts: Iterable[tuple[str, str]]) -> tuple[tuple[tuple[str, str], ...], tuple[Problem, ...]]:
    """Return the texts with Argo's Rollouts as Canaries, and all parts of them without an equivalent."""
    pairs = tuple(texts)
    if not any(_ARGO in text for _, text in pairs):
        return pairs, ()
    from canarycore.argo import convert_files  # only here: Flagger's users do not wait for it

    converted = convert_files(pairs)
    return converted.texts, converted.gaps


def read_check_templates(texts: Iterable[tuple[str, str]]) -> tuple[AnalysisTemplate, ...]:
    """Return Argo's templates among the texts."""
    pairs = tuple(texts)
    if not any(_ARGO in text for _, text in pairs):
        return ()
    from canarycore.argo import read_template_files  # only here: Flagger's users do not wait for it

    return read_template_files(pairs)


def read_rollout(path: str, name: str = "") -> Rollout:
    """Return the Canary of a manifest, as `read_rollout_and_templates` does."""
    return read_rollout_and_templates(path, name)[0]


def read_rollout_and_templates(path: str, name: str = "") -> tuple[Rollout, tuple[MetricTemplate, ...]]:
    """Return the Canary of a manifest, resolved with the templates beside it, and the MetricTemplates among these.

    `name` (NAME or NAME.NAMESPACE) selects one of several Canaries. Raises ManifestError and BadInput, also for an
    AnalysisTemplate that is missing or cannot define its check: the policy would be another one without it.
    """
    selected = read_selected(path, name)
    return selected.rollout, selected.templates


def read_selected(path: str, name: str = "", *, provider: str = "istio") -> SelectedCanary:
    """Return the Canary of a manifest with all documents, as `read_rollout_and_templates` does.

    provider: that of a Canary without one.
    """
    from canarycore.manifest import load, require_definitions, resolve
    from canarycore_runtime.plugins import find_installed_providers
    from canarycore_runtime.registry import find_proxy_delay

    texts, gaps = convert_argo(read_texts([path]))
    if gaps:
        parts = count_of(len(gaps), "part")
        err().print(f"{parts} without an equivalent here: canary convert {path} lists them", markup=False)
    report, check_templates = load(texts), read_check_templates(texts)
    canaries = {f"{canary.name}.{canary.namespace}": canary for canary in report.canaries}
    matching = [canary for full_name, canary in canaries.items() if name in ("", full_name, canary.name)]
    if len(matching) == 1:
        piece = next(piece for piece in report.documents if piece.resource is matching[0])
        try:
            require_definitions(matching[0], check_templates)
            rollout = resolve(
                matching[0],
                provider=provider,
                templates=(*report.templates, *check_templates),
                proxy_delay=find_proxy_delay,
                installed=find_installed_providers(),
            )
        except ManifestError as error:
            raise ManifestError(tuple(map(piece.locate, error.problems))) from None
        return SelectedCanary(
            rollout=rollout,
            templates=report.templates,
            document=piece.document.content,
            documents=tuple(piece.document.content for piece in report.documents),
        )
    if not canaries:
        raise BadInput(f"{path}: found no Canary, expected a manifest with apiVersion flagger.app/v1beta1, kind Canary")
    names = ", ".join(canaries)
    if not matching:
        raise BadInput(f"--canary {name}: found no Canary of that name, expected one of {names}")
    raise BadInput(f"{path}: found {len(matching)} Canaries, expected one: select it by --canary ({names})")


class _UnreadableError(BadInput):
    """A file cannot be read."""

    def __init__(self, file: Path, fault: str, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(
            path="the file",
            found=fault,
            expected="a readable file of UTF-8 text",
            remedy="Correct the file or its rights, or leave it out.",
            rule="unreadable-file",
            file=str(file),
        )


def _read(file: Path) -> str:
    """Return the text of a file. Raises _UnreadableError."""
    try:
        with file.open(encoding="utf-8") as stream:
            return stream.read(_READ)
    except OSError as error:
        fault = error.strerror or str(error)
        raise _UnreadableError(file, fault, f"{file}: {fault}, expected a readable file or folder") from None
    except UnicodeDecodeError:
        fault = "bytes that are not UTF-8"
        raise _UnreadableError(file, fault, f"{file}: found {fault}, expected YAML text") from None


def _read_folder(path: str) -> Iterator[tuple[str, str] | Problem]:
    """Yield the manifests below a folder, and problems of its files."""
    files, patches = _list_folder(path)
    for file in files:
        try:
            text = _read(file)
        except _UnreadableError as error:
            yield error.problem
            continue
        if (
            any(group in text for group in _GROUPS)
            and file.name not in _KUSTOMIZATIONS
            and file.resolve() not in patches
        ):
            yield _template_of_a_chart(file, text) or (str(file), text)


def _list_folder(path: str) -> tuple[list[Path], frozenset[Path]]:
    """Return the YAML files below a folder, and the files that kustomizations there list as patches.

    A patch is a part of a manifest only.
    """
    relevant = (file for file in Path(path).rglob("*") if file.suffix in _SUFFIXES or file.name in _KUSTOMIZATIONS)
    listed = sorted(file for file in relevant if file.is_file())
    files = [file for file in listed if file.suffix in _SUFFIXES]
    if not files:
        raise BadInput(f"{path}: found no file that ends in .yaml or .yml, expected manifests")
    kustomizations = (file for file in listed if file.name in _KUSTOMIZATIONS)
    return files, frozenset(patch for file in kustomizations for patch in _patches_of(file))


def _patches_of(kustomization: Path) -> Iterator[Path]:
    with suppress(_UnreadableError):
        section = ""
        for line in _read(kustomization).splitlines():
            if line[:1].isalpha():
                section = line.partition(":")[0]
            words = (word.strip("\"'[]{},") for word in line.partition("#")[0].split())
            if section in _PATCHES:
                yield from ((kustomization.parent / word).resolve() for word in words if word.endswith(_SUFFIXES))


def _template_of_a_chart(file: Path, text: str) -> Problem | None:
    """Return the warning about a chart's template, which becomes a manifest only when helm renders it."""
    if "{{" not in text or not any((folder / "Chart.yaml").is_file() for folder in file.parents):
        return None
    return Problem(
        path="the file",
        found="a template of a Helm chart",
        expected="a manifest",
        remedy="Render the chart (helm template), and check the result.",
        rule="unrendered-chart",
        severity="warning",
        file=str(file),
    )
