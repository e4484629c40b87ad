"""Our meshes pass the suite that plug-ins pass."""

from __future__ import annotations

import pytest

from canarycore_runtime.testing.contracts import MeshContract
from tests.adapters.mesh.meshes import ENTRIES, REFERENCES, VARIANTS, manifest, mesh_of, sources

SPLITTING = sorted((set(ENTRIES) - {"kubernetes", "knative", "replicas"}) | VARIANTS.keys() | REFERENCES.keys())
"""The meshes with routing objects of their own."""


class Bench:
    def __init__(self, provider):
        self.mesh, self.provider = mesh_of(provider), provider
        self.objects = tuple(sources(provider, "default"))
        spec = manifest(provider)["spec"]
        self.spec = {name: value for name, value in spec.items() if name != "analysis"}


class TestEachMesh(MeshContract):
    @pytest.fixture(params=SPLITTING)
    def bench(self, request):
        return Bench(request.param)
