"""Tests of hooks with answers from this machine."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from canarycore import Hook, HookType, Phase, Rollout, TargetRef
from canarycore.errors import WorldError
from canarycore.questions import HookQuestion
from canarycore_local.hooks import LocalHooks, PassingHooks

ROLLOUT = Rollout(name="podinfo", target=TargetRef(name="podinfo"), skip_analysis=True)
GATES = (HookType.CONFIRM_ROLLOUT, HookType.CONFIRM_TRAFFIC_INCREASE, HookType.CONFIRM_PROMOTION)


class FakeGenerator:
    running = True


def question(kind, name="hook"):
    metadata = (("type", "bash"), ("cmd", "exit 1"))
    return HookQuestion(
        "key", Hook(name=name, type=kind, url="http://nowhere.test/", metadata=metadata), Phase.WAITING, "v2"
    )


def no_canary():
    raise WorldError("no process of the canary is ready")


def hooks(canary=no_canary, **gates):
    return LocalHooks(FakeGenerator(), canary, gates)


async def passed(hooks, kind, name="hook"):
    return (await hooks.call(ROLLOUT, question(kind, name))).passed


@pytest.mark.parametrize("running", [True, False])
async def test_a_load_test_passes_while_the_generator_runs(running):
    local = hooks()
    local._generator.running = running

    assert await passed(local, HookType.ROLLOUT) is running


@pytest.mark.parametrize(("status", "passes"), [(200, True), (302, True), (404, False), (500, False)])
async def test_an_acceptance_test_is_a_probe_of_the_canary(status, passes):
    async def respond(request):
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/", respond)
    async with TestServer(app) as server:
        answer = await hooks(lambda: str(server.make_url("/"))).call(ROLLOUT, question(HookType.PRE_ROLLOUT))

    assert answer.passed is passes
    assert answer.text == f"answered by GET / on the canary: status {status}"


async def test_an_acceptance_test_without_a_canary_does_not_pass():
    answer = await hooks().call(ROLLOUT, question(HookType.PRE_ROLLOUT))

    assert not answer.passed
    assert "no process of the canary is ready" in answer.text


@pytest.mark.parametrize("kind", GATES)
async def test_a_gate_is_open_unless_the_user_closes_it(kind):
    async def ask(question):
        return question.hook.name != "asked-and-denied"

    local = hooks(closed=False, asked=ask, **{"asked-and-denied": ask})

    assert await passed(local, kind, "default")
    assert await passed(local, kind, "asked")
    assert not await passed(local, kind, "closed")
    assert not await passed(local, kind, "asked-and-denied")


@pytest.mark.parametrize(("gates", "rolls_back"), [({}, False), ({"hook": True}, True)])
async def test_a_rollback_hook_requests_one_only_if_its_gate_says_so(gates, rolls_back):
    assert await passed(hooks(**gates), HookType.ROLLBACK) is rolls_back


@pytest.mark.parametrize("kind", HookType)
async def test_passing_hooks_pass_unless_that_would_roll_back(kind):
    assert await passed(PassingHooks(), kind) is (kind is not HookType.ROLLBACK)
