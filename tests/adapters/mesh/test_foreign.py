"""Routing objects that others wrote: a mesh reads routes from any content, or none, and never fails."""

import copy

import pytest

from canarycore import Routes
from canarycore.errors import ManifestError, Refused, WorldError
from canarycore.manifest import parse, resolve
from canarycore_runtime.mesh import GuardedMesh, Mesh, PodSelectors, RenderContext
from tests.adapters.mesh import meshes

WRONG = (None, True, -1, 1.5, 101, "text", "9" * 5000, [], {}, [None], [[]], {"": None}, ["a"], [{}], [{"name": []}])
ROUTES = (Routes(), Routes(weight=40), Routes(matched=True), Routes(weight=20, cookie="abc", expired="old"))
STICKY = {"sessionAffinity": {"cookieName": "user", "primaryCookieName": "primary-user"}}


def rendered_objects(provider, analysis):
    """Yield the context and our own objects for each kind of routes."""
    mesh = meshes.mesh_of(provider)
    try:
        context = meshes.render_context(provider, analysis=analysis)
    except ManifestError:  # the provider cannot do it, and the manifest is refused
        return
    places = {(ref.kind.kind, ref.name): ref for ref in mesh.refs(context)}
    for routes in ROUTES:
        objects = {places[body["kind"], body["metadata"]["name"]]: body for body in meshes.sources(provider)}
        try:
            rendered = mesh.render(context, routes, objects)
        except Refused:
            continue
        yield context, objects | {places[body["kind"], body["metadata"]["name"]]: body for body in rendered}


def with_one_wrong_value(body):
    """Yield copies of an object, each with one value of another type, or without it."""
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
def test_an_object_of_unknown_form_has_no_routes_and_raises_no_error(provider, analysis):
    mesh = meshes.mesh_of(provider)
    for context, objects in list(rendered_objects(provider, analysis))[:2]:
        for ref in objects:
            for body in with_one_wrong_value(objects[ref]):
                changed = objects | {ref: body}
                assert isinstance(mesh.routes(context, changed), Routes | None)
                assert all(isinstance(text, str) for text in mesh.query_variables(context, changed).values())
                assert renders_or_refuses(mesh, context, changed)


def renders_or_refuses(mesh, context: RenderContext, objects):
    try:
        return isinstance(mesh.render(context, Routes(weight=30), objects), tuple)
    except Refused as refused:
        return "podinfo" in str(refused)


class Faulty(Mesh):
    queries = {}  # noqa: RUF012 - no code changes it

    def refs(self, context):
        return meshes.mesh_of("istio").refs(context)

    def routes(self, context, objects):
        raise KeyError("spec\x1b[2J")

    render = query_variables = routes


@pytest.mark.parametrize("method", ["routes", "query_variables"])
def test_a_fault_of_a_mesh_names_the_objects_and_stops_only_its_rollout(method):
    context = meshes.render_context("istio")
    objects = {meshes.mesh_of("istio").refs(context)[-1]: {}}
    with pytest.raises(WorldError, match=r"VirtualService podinfo\.test") as failure:
        getattr(GuardedMesh(Faulty()), method)(context, objects)
    assert "\x1b" not in str(failure.value)


NEEDS_A_PORT = ("appmesh", "appmesh:v1beta2", "contour", "gatewayapi:v1", "gloo", "kuma", "traefik")


@pytest.mark.parametrize("provider", NEEDS_A_PORT)
def test_a_canary_without_a_service_section_is_refused_with_the_path(provider):
    manifest = meshes.manifest(provider)
    del manifest["spec"]["service"]
    mesh, canary = meshes.mesh_of(provider), parse(manifest)
    context = RenderContext(canary=canary, rollout=resolve(canary), pods=PodSelectors.by_label("app", "podinfo"))
    with pytest.raises(Refused, match=r"^canary podinfo\.test, spec\.service"):
        mesh.render(context, Routes(), {})


@pytest.mark.parametrize("weight", [None, "text", -1, 101, True, 1.5, [], {}, "9" * 5000], ids=repr)
def test_an_invalid_weight_is_unknown_and_not_zero(weight):
    mesh, context = meshes.mesh_of("istio"), meshes.render_context("istio")
    *_, service = mesh.render(context, Routes(weight=40), {})
    service["spec"]["http"][0]["route"][1]["weight"] = weight
    ref = mesh.refs(context)[-1]
    is_absent = weight is None  # proto3 leaves a weight of 0 out
    assert mesh.routes(context, {ref: service}) == (Routes() if is_absent else None)
