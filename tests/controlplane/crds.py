"""The kinds of ../shared/crds on an API server.

`appmesh-v1beta1` has other schemas for the same kinds as `appmesh`, `gateway-api-experimental` for those of
`gateway-api`: a test installs one in place of the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from canarycore_planes.control_plane.api import Api, Json, define_kinds

ROOT = Path(__file__).parents[2]
FOLDER = ROOT.parent / "shared" / "crds"

ALL = (
    "flagger", "istio", "appmesh", "gateway-api", "smi", "contour", "traefik", "gloo", "kuma", "apisix", "knative",
    "keda",
)  # fmt: skip


def install(api: Api, *names: str) -> None:
    """Create the kinds of these files; return when the server has established them."""
    define_kinds(api, all_definitions(names))


def all_definitions(names: Iterable[str]) -> Iterator[Json]:
    """Yield the CustomResourceDefinitions of these files."""
    for name in names:
        yield from definitions(name)


def definitions(name: str) -> Iterator[Json]:
    """Yield the CustomResourceDefinitions of one file."""
    path = FOLDER / f"{name}.yaml"
    if not path.exists():
        raise FileNotFoundError(f"found no {os.path.relpath(path, ROOT)}: expected the CRDs beside the checkout")
    with path.open(encoding="utf-8") as file:  # a parser in C: the others take seconds for these files
        yield from (body for body in yaml.load_all(file, yaml.CSafeLoader) if body)


def argos() -> Iterator[Json]:
    """Yield definitions of Argo's templates that take any fields: the real ones have 30,000 lines."""
    kinds = (
        ("AnalysisTemplate", "analysistemplates", "Namespaced"),
        ("ClusterAnalysisTemplate", "clusteranalysistemplates", "Cluster"),
    )
    spec = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    for kind, plural, scope in kinds:
        version = {
            "name": "v1alpha1",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
        }
        yield {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.argoproj.io"},
            "spec": {
                "group": "argoproj.io",
                "scope": scope,
                "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
                "versions": [version],
            },
        }
