"""The contract of a Mesh: pure functions that read back the routes which they render, whatever the cluster has."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from canarycore import Routes
from canarycore.errors import CanaryError
from canarycore.manifest import Canary, parse, resolve
from canarycore.manifest.routing import PROVIDER_CAPABILITIES, InstalledProviders
from canarycore_runtime.mesh import PodSelectors, RenderContext
from canarycore_runtime.plugins import PluginDeclaration
from canarycore_runtime.testing.contracts._samples import OTHER_SHAPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from canarycore_runtime.mesh import Json, Mesh, Ref

WEIGHTS = (0, 1, 50, 99, 100)
"""The weights of the canary (percent)."""


class MeshBench(Protocol):
    """A mesh and a Canary that uses it."""

    mesh: Mesh

    provider: str
    """The name of the mesh in manifests."""

    spec: Mapping[str, Any]
    """Fields of a Canary's `spec` that the mesh needs besides the target, the service and the analysis."""

    objects: tuple[Json, ...]
    """The objects of the owner that the mesh reads, such as an Ingress; empty where it reads none."""


@pytest.mark.asyncio
class MeshContract:
    """A suite to derive from, with the fixture `bench`."""

    @pytest.fixture
    def bench(self) -> MeshBench:
        raise NotImplementedError("a subclass provides the bench")

    @pytest.mark.parametrize("weight", WEIGHTS)
    async def test_weights_that_were_rendered_are_read(self, bench: MeshBench, weight: int) -> None:
        context = _context(bench)
        objects = _rendered(bench, context, Routes(weight=weight))
        assert bench.mesh.routes(context, objects) == Routes(weight=weight)

    async def test_mirrored_requests_that_were_rendered_are_read(self, bench: MeshBench) -> None:
        if not _capabilities(bench).mirror:
            pytest.skip("the mesh declares no mirror")
        context = _context(bench, {"mirror": True})
        objects = _rendered(bench, context, Routes(mirrored=True))
        assert bench.mesh.routes(context, objects) == Routes(mirrored=True)

    async def test_a_match_beside_a_weight_that_was_rendered_is_read(self, bench: MeshBench) -> None:
        if not _capabilities(bench).match_beside_weight:
            pytest.skip("the mesh declares no match beside a weight")
        match = [{"headers": {"x-canary": {"exact": "insider"}}}]
        steps = [{"weight": 0, "match": match}, {"weight": 20, "match": match}, {"weight": 50}]
        context = _context(bench, {"steps": steps})
        for routes in (Routes(matched=True), Routes(weight=20, matched=True), Routes(weight=50), Routes()):
            objects = _rendered(bench, context, routes)
            assert bench.mesh.routes(context, objects) == routes

    async def test_a_mirror_beside_a_weight_that_was_rendered_is_read(self, bench: MeshBench) -> None:
        if not _capabilities(bench).mirror_beside_weight:
            pytest.skip("the mesh declares no mirror beside a weight")
        context = _context(bench, {"steps": [{"weight": 0, "mirror": 30}, {"weight": 20, "mirror": 5}, {"weight": 50}]})
        for routes in (Routes(mirrored=True), Routes(weight=20, mirrored=True), Routes(weight=50), Routes()):
            objects = _rendered(bench, context, routes)
            assert bench.mesh.routes(context, objects) == routes

    async def test_the_way_back_is_complete(self, bench: MeshBench) -> None:
        context = _context(bench)
        objects = _written(bench, context, Routes(), _rendered(bench, context, Routes(weight=50)))
        assert bench.mesh.routes(context, objects) == Routes()

    async def test_without_its_objects_there_are_no_routes(self, bench: MeshBench) -> None:
        assert bench.mesh.routes(_context(bench), {}) is None

    async def test_each_rendered_object_is_complete_and_among_its_references(self, bench: MeshBench) -> None:
        context = _context(bench)
        bodies = bench.mesh.render(context, Routes(weight=50), _owned(bench, context))
        assert bodies, "a mesh without objects routes nothing"
        for body in bodies:
            ref = _ref_of(bench, context, body)
            assert body["apiVersion"] == ref.kind.api_version

    async def test_rendering_is_pure(self, bench: MeshBench) -> None:
        """The same input gives the same objects, and the mesh leaves its input alone."""
        context = _context(bench)
        objects = _rendered(bench, context, Routes(weight=50))
        before = deepcopy(objects)
        first = deepcopy(bench.mesh.render(context, Routes(weight=1), objects))
        assert bench.mesh.render(context, Routes(weight=1), objects) == first
        assert objects == before

    async def test_objects_of_another_shape_are_no_routes_or_an_error_of_the_environment(
        self, bench: MeshBench
    ) -> None:
        context = _context(bench)
        objects = _rendered(bench, context, Routes(weight=50))
        for ref, body in objects.items():
            for other in _reshaped(body):
                try:
                    routes = bench.mesh.routes(context, {**objects, ref: other})
                except CanaryError:
                    continue
                assert routes is None or isinstance(routes, Routes)

    async def test_the_declared_rights_cover_the_objects(self, bench: MeshBench) -> None:
        declaration = getattr(type(bench.mesh), "declaration", None)
        if declaration is None:
            pytest.skip("the installation knows the rights of this mesh itself")
        assert isinstance(declaration, PluginDeclaration)
        context = _context(bench)
        for body in bench.mesh.render(context, Routes(), _owned(bench, context)):
            kind = _ref_of(bench, context, body).kind
            verbs = {
                verb
                for right in declaration.rights
                if (right.group, right.resource) == (kind.group, kind.plural)
                for verb in right.verbs
            }
            missing = {"list", "watch", "create", "patch", "delete"} - verbs
            assert not missing, f"the declaration lacks rights over {kind.plural}.{kind.group}: {sorted(missing)}"


def _capabilities(bench: MeshBench) -> Any:
    declaration = getattr(type(bench.mesh), "declaration", PluginDeclaration())
    return PROVIDER_CAPABILITIES.get(bench.provider, declaration.capabilities)


def _context(bench: MeshBench, analysis: Mapping[str, Any] | None = None) -> RenderContext:
    canary = parse(
        {
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "metadata": {"name": "podinfo", "namespace": "default"},
            "spec": {
                "provider": bench.provider,
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
                "service": {"port": 9898},
                "analysis": {"interval": "30s", "threshold": 3, "stepWeight": 20, "maxWeight": 60, **(analysis or {})},
                **bench.spec,
            },
        }
    )
    assert isinstance(canary, Canary)
    installed = InstalledProviders(meshes={bench.provider: _capabilities(bench)})
    rollout = resolve(canary, installed=installed)
    return RenderContext(canary=canary, rollout=rollout, pods=PodSelectors.by_label("app", "podinfo"))


def _rendered(bench: MeshBench, context: RenderContext, routes: Routes) -> dict[Ref, Json]:
    """Return the objects after these routes were set."""
    return _written(bench, context, routes, _owned(bench, context))


def _written(bench: MeshBench, context: RenderContext, routes: Routes, before: Mapping[Ref, Json]) -> dict[Ref, Json]:
    """Return the objects after another write. A shared object keeps the fields that the mesh does not render."""
    objects = dict(before)
    for body in bench.mesh.render(context, routes, before):
        ref = _ref_of(bench, context, body)
        objects[ref] = _overlay(objects.get(ref), body) if ref.kind in bench.mesh.shared else body
    return objects


def _overlay(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{name: _overlay(below.get(name), value) for name, value in above.items()}}


def _owned(bench: MeshBench, context: RenderContext) -> dict[Ref, Json]:
    return {_ref_of(bench, context, body): body for body in bench.objects}


def _ref_of(bench: MeshBench, context: RenderContext, body: Json) -> Ref:
    """Return the mesh's reference to an object."""
    metadata = body["metadata"]
    place = body["kind"], metadata.get("namespace", ""), metadata["name"]
    refs = {(ref.kind.kind, ref.namespace, ref.name): ref for ref in bench.mesh.refs(context)}
    assert place in refs, f"found the object {place}, expected one of the mesh's refs: {sorted(refs)}"
    return refs[place]


def _reshaped(value: Any) -> Iterator[Any]:
    """Yield an object with another shape in the place of each value below its spec."""
    for shape in OTHER_SHAPES:
        yield {**value, "spec": shape}
    for spec in _variants(value.get("spec")):
        yield {**value, "spec": spec}


def _variants(value: Any) -> Iterator[Any]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        for other in (*OTHER_SHAPES, *_variants(item)):
            copy = deepcopy(value)
            copy[key] = other
            yield copy
