"""canary convert: Argo's Rollouts as Deployments, Canaries and MetricTemplates, and back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from attrs import asdict

from canarycore.argo import convert_files, is_canary
from canarycore.manifest import load
from canarycore_cli.console import OK, TROUBLE, BadInput, count_of, err, print_json, print_problems
from canarycore_cli.manifests.read import read_texts
from canarycore_cli.manifests.write import write_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

    from canarycore.argo import ConvertedFiles


def convert(paths: Iterable[str], *, as_json: bool) -> int:
    """Print the converted documents on stdout, and on stderr all that has no equivalent. Return the exit code.

    Raises BadInput for files without a Rollout, and ManifestError for a file that is no YAML.
    """
    texts = read_texts(paths)
    converted = convert_files(texts)
    if not any(map(is_canary, converted.documents)):
        load(texts)  # raises the error of a file that cannot be read
        raise BadInput("found no Rollout, expected a document with apiVersion argoproj.io/v1alpha1, kind Rollout")
    _print(converted, as_json=as_json)
    return OK


def convert_back(paths: Iterable[str], *, as_json: bool) -> int:
    """Print the Rollouts of Canaries as `convert` prints Canaries. Return the exit code.

    Raises BadInput for files without a Canary, and ManifestError for a file or a Canary with an error.
    """
    texts = read_texts(paths)
    if not load(texts).canaries:
        raise BadInput("found no Canary, expected a document with apiVersion flagger.app/v1beta1, kind Canary")
    converted = convert_files(texts, to="argo")
    _print(converted, as_json=as_json)
    return TROUBLE if any(map(is_canary, converted.documents)) else OK


def _print(converted: ConvertedFiles, *, as_json: bool) -> None:
    if as_json:
        print_json({"documents": converted.documents, "gaps": [asdict(gap) for gap in converted.gaps]})
        return
    write_yaml(converted.documents, sys.stdout)
    sys.stdout.flush()
    console = err()
    print_problems(converted.gaps, console)
    parts = count_of(len(converted.gaps), "part has", "parts have")
    console.print(f"{parts} no equivalent", style="bold", markup=False)
