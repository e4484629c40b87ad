"""The kinds of ../shared/crds on an API server.

`appmesh-v1beta1` has other schemas for the same kinds as `appmesh`, `gateway-api-experimental` for those of
`gateway-api`: a test installs one in place of the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from canarycore_planes.control_plane.api import Api, Json

ROOT = Path(__file__).parents[2]
FOLDER = ROOT.parent / "shared" / "crds"

ALL = (
    "flagger", "istio", "appmesh", "gateway-api", "smi", "contour", "traefik", "gloo", "kuma", "apisix", "knative",
    "keda",
)  # fmt: skip

_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def install(api: Api, *names: str) -> None:
    """Create the kinds of these files; return when the server has established them."""
    made = [api.apply(body) for name in names for body in definitions(name)]
    for body in made:
        api.eventually(f"{_PATH}/{body['metadata']['name']}", _established)


def definitions(name: str) -> Iterator[Json]:
    """Yield the CustomResourceDefinitions of one file."""
    path = FOLDER / f"{name}.yaml"
    if not path.exists():
        raise FileNotFoundError(f"found no {os.path.relpath(path, ROOT)}: expected the CRDs beside the checkout")
    with path.open(encoding="utf-8") as file:  # a parser in C: the others take seconds for these files
        yield from (body for body in yaml.load_all(file, yaml.CSafeLoader) if body)


def _established(body: Json) -> bool:
    conditions = (body.get("status") or {}).get("conditions") or []
    return any(found["type"] == "Established" and found["status"] == "True" for found in conditions)
