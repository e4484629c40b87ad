"""The suite of meshes catches meshes with a bug of one line, and the template's mesh passes it."""

from __future__ import annotations

import inspect

import pytest
from attrs import evolve

from canarycore import Routes
from canarycore_runtime.plugins import AccessRight
from canarycore_runtime.testing.contracts import MeshContract
from tests.adapters.runtime.plugins.acme import installed_acme


def meshes():
    """Return the template's mesh by an empty name, and faulty ones by the test that catches them."""
    from canarycore_acme.mesh import AcmeMesh  # the template is importable inside its fixture only

    class Sound(AcmeMesh):
        pass

    class RoundsWeights(AcmeMesh):
        def render(self, context, routes, objects):
            return super().render(context, evolve(routes, weight=routes.weight // 5 * 5), objects)

    class BelievesItsObjects(AcmeMesh):
        def routes(self, context, objects):
            (share,) = objects.values() or ({"spec": {"percent": 0, "mirror": False}},)
            return Routes(weight=share["spec"]["percent"], mirrored=share["spec"]["mirror"])

    class SeesRoutesWithoutObjects(AcmeMesh):
        def routes(self, context, objects):
            return super().routes(context, objects) or Routes()

    class ForgetsARight(AcmeMesh):
        declaration = evolve(AcmeMesh.declaration, rights=(AccessRight("acme.example", "trafficshares", ("list",)),))

    class RendersAnotherName(AcmeMesh):
        def render(self, context, routes, objects):
            (body,) = super().render(context, routes, objects)
            return ({**body, "metadata": {**body["metadata"], "name": "share"}},)

    class ChangesItsInput(AcmeMesh):
        def render(self, context, routes, objects):
            for body in objects.values():
                body["spec"]["seen"] = True
            return super().render(context, routes, objects)

    return {
        "": Sound(),
        "test_weights_that_were_rendered_are_read": RoundsWeights(),
        "test_objects_of_another_shape_are_no_routes_or_an_error_of_the_environment": BelievesItsObjects(),
        "test_without_its_objects_there_are_no_routes": SeesRoutesWithoutObjects(),
        "test_the_declared_rights_cover_the_objects": ForgetsARight(),
        "test_each_rendered_object_is_complete_and_among_its_references": RendersAnotherName(),
        "test_rendering_is_pure": ChangesItsInput(),
    }


class Bench:
    provider, spec, objects = "acme", {}, ()

    def __init__(self, mesh):
        self.mesh = mesh


async def failures(mesh):
    """Return the tests of the suite that fail for a mesh."""
    failed = set()
    for name, test in inspect.getmembers(MeshContract, inspect.isfunction):
        if name.startswith("test_"):
            marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
            cases = [{mark.args[0]: value} for mark in marks for value in mark.args[1]] or [{}]
            for case in cases:
                try:
                    await getattr(MeshContract(), name)(Bench(mesh), **case)
                except Exception:  # noqa: BLE001 - a test may fail in any way
                    failed.add(name)
    return failed


async def test_the_suite_catches_each_faulty_mesh_and_no_sound_one(tmp_path):
    with installed_acme(tmp_path):
        for test, mesh in meshes().items():
            failed = await failures(mesh)
            assert (test in failed) if test else not failed, (type(mesh).__name__, failed)


async def test_a_missing_right_names_the_kind_and_the_verbs(tmp_path):
    with installed_acme(tmp_path):
        mesh = meshes()["test_the_declared_rights_cover_the_objects"]
        with pytest.raises(AssertionError, match=r"lacks rights over trafficshares.acme.example: \['create'"):
            await MeshContract().test_the_declared_rights_cover_the_objects(Bench(mesh))
