"""The kinds of ../shared/crds on an API server.

`appmesh-v1beta1` has other schemas for the same kinds as `appmesh`, `gateway-api-experimental` for those of
`gateway-api`: a test installs one in place of the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.controlplane.api import Api, Json

ROOT = Path(__file__).parents[2]
FOLDER = ROOT.parent / "shared" / "crds"

ALL = (
    "flagger", "istio", "appmesh", "gateway-api", "smi", "contour", "traefik", "gloo", "kuma", "apisix", "knative",
    "keda",
)  # fmt: skip

_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def install(api: Api, *names: str) -> None:
    """Create the kinds of these files; return when the server has established them."""
    define(api, *(body for name in names for body in definitions(name)))


def define(api: Api, *bodies: Json) -> None:
    """Create these definitions; return when the server has established them."""
    for body in [api.apply(body) for body in bodies]:
        api.eventually(f"{_PATH}/{body['metadata']['name']}", _established)


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


def _established(body: Json) -> bool:
    conditions = (body.get("status") or {}).get("conditions") or []
    return any(found["type"] == "Established" and found["status"] == "True" for found in conditions)
