"""Tests of routes in a real Envoy: the port's contract, and the requests of users."""

import asyncio

import aiohttp
import pytest
from attrs import evolve

from canarycore import Routes
from canarycore.errors import WorldError
from canarycore.traffic import Affinity, Match, StringMatch
from canarycore_local.envoy.proxy import EnvoySide
from canarycore_runtime.testing.contracts import RouterContract
from tests.adapters.local.conftest import V1, V2, wait_for_requests
from tests.chance import is_share

pytestmark = pytest.mark.e2e

AFFINITY = Affinity(cookie_name="flagger", max_age=60, path="/", http_only=True, same_site="Lax")


class Bench:
    """The contract's data plane."""

    can = frozenset({"mirrored", "matched", "matched beside a weight"})

    def __init__(self, plane):
        self.plane, self.adapter = plane, plane.router

    async def written(self):
        routes = await self.plane.envoy.routes()
        clusters = next(route for route in routes if route["name"] == "default")["route"]["weighted_clusters"][
            "clusters"
        ]
        weights = {cluster["name"]: cluster.get("weight", 0) for cluster in clusters}
        return weights["primary"], weights["canary"]

    async def snapshot(self):
        return (await self.plane.envoy.ask("/config_dump?resource=dynamic_route_configs"))["configs"]

    async def meddle(self):
        pytest.skip("no other process writes these routes")

    async def meddled(self):
        return True


class TestTheRouterContract(RouterContract):
    @pytest.fixture
    async def bench(self, plane):
        return Bench(plane)


@pytest.fixture
async def both(plane):
    """A plane where the primary answers as v1 and the canary as v2."""
    await plane.initialise(V1)
    await plane.workload.deploy(V2)
    await plane.settle()
    return plane


async def ask(plane, path="/", cookie="", **headers):
    """Return the side that answered a request, and the cookie of its answer."""
    request_headers = {name.replace("_", "-"): value for name, value in headers.items()} | (
        {"cookie": cookie} if cookie else {}
    )
    jar = aiohttp.DummyCookieJar()
    async with (
        aiohttp.ClientSession(cookie_jar=jar) as session,
        session.get(plane.envoy.address + path, headers=request_headers) as response,
    ):
        return response.headers["x-canary-version"], response.headers.get("set-cookie")


@pytest.mark.parametrize("weight", [5, 50, 100])
async def test_the_split_is_the_weight_from_the_moment_set_routes_returns(both, weight):
    async with both.traffic(rate=400) as generator:
        await wait_for_requests(generator, 50)
        await both.router.set_routes(both.rollout, Routes(weight=weight))
        generator.open_window("measured")
        await wait_for_requests(generator, 800)

    window = generator.window
    assert is_share(window.side("canary").requests, window.requests, weight)
    assert generator.total.bad == 0
    assert set(window.revisions()) == ({V1.revision, V2.revision} if weight < 100 else {V2.revision})


@pytest.mark.parametrize(
    ("kind", "value", "matching", "others"),
    [
        ("exact", "insider", ["insider"], ["insiders", ""]),
        ("prefix", "in", ["insider", "in"], ["outsider"]),
        ("suffix", "der", ["insider"], ["insiders"]),
        ("regex", "^(.*?;)?(canary=on)(;.*)?$", ["canary=on", "a=b;canary=on;c=d"], ["canary=off"]),
    ],
)
async def test_requests_that_match_go_to_the_canary_and_no_others(both, kind, value, matching, others):
    match = Match(headers=(("x-who", StringMatch(kind=kind, value=value)),))
    rollout = evolve(both.rollout, match=(match,))
    await both.router.set_routes(rollout, Routes(matched=True))

    assert {(await ask(both, x_who=value))[0] for value in matching} == {"canary"}
    assert {(await ask(both, x_who=value))[0] for value in others} == {"primary"}
    assert (await ask(both))[0] == "primary"


async def test_a_request_must_meet_all_conditions_of_one_alternative(both):
    exact = lambda value: StringMatch(kind="exact", value=value)  # noqa: E731 - the table below reads better
    rollout = evolve(
        both.rollout,
        match=(
            Match(headers=(("x-a", exact("1")), ("x-b", exact("2")))),
            Match(headers=(("x-c", exact("3")),), without=(("x-no", exact("1")),)),
            Match(uri=StringMatch(kind="prefix", value="/delay/")),
        ),
    )
    await both.router.set_routes(rollout, Routes(matched=True))

    table = {
        "canary": [{"x_a": "1", "x_b": "2"}, {"x_c": "3"}, {"x_c": "3", "x_no": "2"}, {"path": "/delay/0?x=1"}],
        "primary": [{"x_a": "1"}, {"x_b": "2"}, {"x_c": "3", "x_no": "1"}, {"path": "/version"}],
    }
    for side, requests in table.items():
        assert [(await ask(both, **request))[0] for request in requests] == [side] * len(requests), side


@pytest.mark.parametrize("mirror_weight", [100, 25])
async def test_a_mirrored_request_is_answered_by_the_primary_and_copied_to_the_canary(both, mirror_weight):
    rollout = evolve(both.rollout, mirror_weight=mirror_weight)
    await both.router.set_routes(rollout, Routes(mirrored=True))

    async with both.traffic(rate=400) as generator:
        await wait_for_requests(generator, 600)
    await asyncio.sleep(0.5)  # copies may still be under way
    counters = await both.envoy.ask(r"/stats?format=json&filter=^cluster\.canary\.upstream_rq_completed$")

    assert set(generator.total.tallies) == {
        responder for responder in generator.total.tallies if responder.side == "primary"
    }
    assert is_share(counters["stats"][0]["value"], generator.total.requests, mirror_weight)


async def test_a_cookie_keeps_a_user_on_the_canary(both):
    rollout = evolve(both.rollout, affinity=AFFINITY)
    await both.router.set_routes(rollout, Routes(weight=50, cookie="abc"))

    answers = [await ask(both) for _ in range(40)]
    with_cookie = [await ask(both, cookie="other=1; flagger=abc; more=2") for _ in range(20)]

    canary, primary = "flagger=abc; Max-Age=60; HttpOnly; Path=/; SameSite=Lax", None
    assert set(answers) == {("canary", canary), ("primary", primary)}
    assert {side for side, _ in with_cookie} == {"canary"}


@pytest.mark.parametrize("cookie", ["flagger=abcd", "xflagger=abc", "flagger=xabc", "flagger.=abc"])
async def test_a_similar_cookie_keeps_no_user_on_the_canary(both, cookie):
    rollout = evolve(both.rollout, affinity=AFFINITY)
    await both.router.set_routes(rollout, Routes(weight=1, cookie="abc"))

    sides = [(await ask(both, cookie=cookie))[0] for _ in range(20)]

    assert "primary" in sides


async def test_a_primary_cookie_keeps_a_user_on_the_primary_for_an_interval(both):
    rollout = evolve(both.rollout, affinity=evolve(AFFINITY, primary_cookie_name="stay"), interval=10)
    await both.router.set_routes(rollout, Routes(weight=50, cookie="abc"))

    cookies = dict([await ask(both) for _ in range(40)])
    sides = {(await ask(both, cookie="stay=abc"))[0] for _ in range(20)}

    assert cookies["primary"].startswith("stay=abc; Max-Age=10;")
    assert sides == {"primary"}


async def test_the_answer_expires_the_cookie_of_an_ended_rollout(both):
    rollout = evolve(both.rollout, affinity=AFFINITY)
    await both.router.set_routes(rollout, Routes(expired="abc"))

    assert await ask(both, cookie="flagger=abc") == ("primary", "flagger=abc; Max-Age=-1")
    assert await ask(both, cookie="flagger=def") == ("primary", None)


@pytest.mark.parametrize(
    "routes", [Routes(weight=30, cookie="abc"), Routes(weight=0, expired="n"), Routes(weight=30, cookie="on")]
)
async def test_observe_returns_the_cookies_of_set_routes(plane, routes):
    rollout = evolve(plane.rollout, affinity=AFFINITY)

    await plane.router.set_routes(rollout, routes)

    assert await plane.router.observe(rollout) == routes


async def test_routes_that_envoy_rejects_raise_an_error_and_the_old_ones_stay(plane):
    await plane.router.set_routes(plane.rollout, Routes(weight=30))
    broken = evolve(plane.rollout, match=(Match(headers=(("x", StringMatch(kind="regex", value="(")),)),))

    with pytest.raises(WorldError, match=r"Envoy rejected the routes: .*missing \)"):
        await plane.router.set_routes(broken, Routes(matched=True))

    assert await plane.router.observe(plane.rollout) == Routes(weight=30)


async def test_after_restore_the_target_gets_all_requests(both):
    await both.router.set_routes(both.rollout, Routes())
    await both.router.restore(both.rollout)

    assert (await ask(both))[0] == EnvoySide.CANARY.value


async def test_observe_returns_none_before_the_first_routes(plane):
    assert await plane.router.observe(plane.rollout) is None
