"""Routing objects that anybody may have written: whatever stands in them, a mesh reads routes or knows of none."""

import copy

import pytest

from canarycore import Routes
from canarycore.errors import Refused, WorldError
from canarycore.manifest import parse, resolve
from canarycore_runtime.mesh import GuardedMesh, Mesh, RenderContext
from tests.adapters.mesh import meshes

WRONG = (None, True, -1, 1.5, 101, "text", "9" * 5000, [], {}, [None], [[]], {"": None}, ["a"], [{}], [{"name": []}])
ROUTES = (Routes(), Routes(weight=40), Routes(matched=True), Routes(weight=20, cookie="abc", expired="old"))
STICKY = {"sessionAffinity": {"cookieName": "user", "primaryCookieName": "primary-user"}}


def written(provider, analysis):
    """Return our own objects for each kind of routes: (asked, found)."""
    mesh, asked = meshes.mesh_of(provider), meshes.asked(provider, analysis=analysis)
    places = {(ref.kind.kind, ref.name): ref for ref in mesh.refs(asked)}
    for routes in ROUTES:
        found = {places[body["kind"], body["metadata"]["name"]]: body for body in meshes.sources(provider)}
        try:
            rendered = mesh.render(asked, routes, found)
        except Refused:
            continue
        yield asked, found | {places[body["kind"], body["metadata"]["name"]]: body for body in rendered}


def with_one_wrong(body):
    """Copies of an object in each of which one value is of another type, or is not there."""
    for path in paths(body):
        for value in WRONG:
            changed = copy.deepcopy(body)
            place = inner(changed, path[:-1])
            place[path[-1]] = copy.deepcopy(value)
            yield changed
        changed = copy.deepcopy(body)
        del inner(changed, path[:-1])[path[-1]]
        yield changed


def paths(value, at=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*at, key)
        yield from paths(item, (*at, key))


def inner(value, path):
    for key in path:
        value = value[key]
    return value


@pytest.mark.parametrize("analysis", [{}, meshes.AB, STICKY], ids=["weights", "match", "cookies"])
@pytest.mark.parametrize("provider", meshes.ENTRIES)
def test_an_object_of_unknown_form_has_unknown_routes_and_stops_nobody(provider, analysis):
    mesh = meshes.mesh_of(provider)
    for asked, found in list(written(provider, analysis))[:2]:
        for ref in found:
            for body in with_one_wrong(found[ref]):
                changed = found | {ref: body}
                assert isinstance(mesh.routes(asked, changed), Routes | None)
                assert all(isinstance(text, str) for text in mesh.query_variables(asked, changed).values())
                assert rendered(mesh, asked, changed)


def rendered(mesh, asked: RenderContext, found):
    try:
        return isinstance(mesh.render(asked, Routes(weight=30), found), tuple)
    except Refused as refused:
        return "podinfo" in str(refused)


class Faulty(Mesh):
    queries = {}  # noqa: RUF012 - nobody changes it

    def refs(self, asked):
        return meshes.mesh_of("istio").refs(asked)

    def routes(self, asked, found):
        raise KeyError("spec\x1b[2J")

    render = query_variables = routes


@pytest.mark.parametrize("method", ["routes", "query_variables"])
def test_a_fault_of_a_mesh_names_the_objects_and_is_trouble_of_one_rollout(method):
    asked = meshes.asked("istio")
    found = {meshes.mesh_of("istio").refs(asked)[-1]: {}}
    with pytest.raises(WorldError, match=r"VirtualService podinfo\.test") as told:
        getattr(GuardedMesh(Faulty()), method)(asked, found)
    assert "\x1b" not in str(told.value)


NEEDS_A_PORT = ("appmesh", "appmesh:v1beta2", "contour", "gatewayapi:v1", "gloo", "kuma", "traefik")


@pytest.mark.parametrize("provider", NEEDS_A_PORT)
def test_a_canary_without_a_service_section_is_refused_with_the_path(provider):
    manifest = meshes.manifest(provider)
    del manifest["spec"]["service"]
    mesh, canary = meshes.mesh_of(provider), parse(manifest)
    asked = RenderContext(canary=canary, rollout=resolve(canary), pods=("app", "podinfo"))
    with pytest.raises(Refused, match=r"^canary podinfo\.test, spec\.service"):
        mesh.render(asked, Routes(), {})


@pytest.mark.parametrize("weight", [None, "text", -1, 101, True, 1.5, [], {}, "9" * 5000], ids=repr)
def test_a_weight_that_is_none_is_unknown_and_not_zero(weight):
    mesh, asked = meshes.mesh_of("istio"), meshes.asked("istio")
    *_, service = mesh.render(asked, Routes(weight=40), {})
    service["spec"]["http"][0]["route"][1]["weight"] = weight
    ref = mesh.refs(asked)[-1]
    absent = weight is None  # proto3 leaves a weight of 0 out
    assert mesh.routes(asked, {ref: service}) == (Routes() if absent else None)
