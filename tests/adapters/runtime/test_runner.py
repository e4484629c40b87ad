"""The runner on simulated time: the moments of cycles, and the isolation of rollouts."""

import asyncio
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise

import pytest
from attrs import evolve

from canarycore import CommandKind, Ladder, Phase, Reference, Routes
from canarycore.effects import ScaleDown, SetRoutes
from canarycore.errors import Unanswered
from canarycore.questions import HookAnswer, HookQuestion, MetricAnswer
from canarycore.simulation import AnswerHook, ByRevision, Delete, Deploy, Recreate, SendCommand, SetMetrics
from canarycore_runtime import Limits, Runner
from canarycore_runtime.testing import simulated
from tests.adapters.runtime.simulated_rollouts import (
    GATE,
    KEY,
    RATE,
    SMOKE,
    answer_rubbish,
    break_off,
    break_off_without_words,
    cancel_itself,
    deployed,
    hang,
    instead,
    named,
    passes,
    refuse,
    release,
    rollout,
    slowly,
)

STEADY = {"jitter": lambda: 1.0}
"""Back-off without chance: the whole of it."""


# ------------------------------------------------------------------------------------------------------- one rollout


@simulated
async def test_a_healthy_revision_is_promoted_an_interval_a_rung():
    clusters = deployed(rollout())
    async with Runner(clusters.parts()):
        await release(clusters)
        await passes(120)
    assert clusters.story(KEY)[3:] == [
        (30, "Progressing weight 0"),
        (40, "Progressing weight 30"),
        (50, "Progressing weight 60"),
        (60, "Promoting weight 60"),
        (70, "Finalising weight 0"),
        (80, "Succeeded weight 0"),
        (80, "Succeeded weight 0"),
    ]


@pytest.mark.parametrize(
    ("refuse", "ladder", "is_refused"),
    [
        ("error", Ladder(step=50, top=10), True),
        ("error", Ladder(step=30, top=50), False),
        ("warning", Ladder(step=30, top=50), True),
        (None, Ladder(step=50, top=10), False),
    ],
)
@simulated
async def test_a_rollout_with_a_finding_is_refused_by_severity(refuse, ladder, is_refused):
    clusters, reports = deployed(rollout(ladder=ladder)), []
    async with Runner(clusters.parts(), refuse=refuse, on_cycle=reports.append):
        await passes(60)
    errors = [str(error) for report in reports for error in report.result.errors]
    assert any("the runner refuses the rollout: ladder.top: found" in error for error in errors) is is_refused
    assert (clusters.state(KEY).status.phase is Phase.INITIALIZING) is is_refused


@simulated
async def test_a_sick_revision_is_rolled_back():
    clusters = deployed(rollout())
    clusters.do(KEY, SetMetrics(ByRevision(("v2",))))
    async with Runner(clusters.parts()):
        await release(clusters)
        await passes(120)
    state = clusters.state(KEY)
    assert (state.status.phase, state.routes, state.target.desired) == (Phase.FAILED, Routes(), 0)
    assert state.primary.revision == "v1"


@simulated
async def test_no_cycle_begins_early_when_the_event_loop_runs_ahead_of_the_clock():
    clusters = deployed(rollout())
    loop = asyncio.get_running_loop()
    reports = []
    parts = evolve(clusters.parts(), clock=lambda: 0.9 * loop.time(), changes=())
    async with Runner(parts, on_cycle=reports.append) as runner:
        await release(clusters)
        runner.wake(KEY)
        await passes(150)
    assert clusters.phase(KEY) is Phase.SUCCEEDED
    for report, after in pairwise(reports):
        assert report.result.wake is None or after.observed.observation.now >= report.result.wake - 1e-6


@simulated
async def test_a_change_wakes_a_resting_rollout_at_once():
    clusters = deployed(rollout())
    async with Runner(clusters.parts()):
        await passes(33.25)
        clusters.do(KEY, Deploy("v2"))
        await passes(0.001)
    assert clusters.story(KEY)[-1] == (33.25, "Progressing weight 0")


@simulated
async def test_wake_replaces_a_source_of_changes():
    clusters = deployed(rollout())
    async with Runner(evolve(clusters.parts(), changes=())) as runner:
        await passes(33.25)
        clusters.do(KEY, Deploy("v2"))
        runner.wake(KEY)
        await passes(0.001)
    assert clusters.story(KEY)[-1] == (33.25, "Progressing weight 0")


@simulated
async def test_a_resync_finds_a_change_that_no_source_reported():
    clusters = deployed(rollout())
    async with Runner(evolve(clusters.parts(), changes=()), Limits(resync=20)):
        await passes(33.25)
        clusters.do(KEY, Deploy("v2"))
        await passes(20)
    assert "Progressing weight 0" in clusters.steps(KEY)


@simulated
async def test_a_new_rollout_begins_when_a_source_reports_it():
    clusters = deployed()
    async with Runner(clusters.parts()):
        await passes(5)
        clusters.do(clusters.add(rollout()), Deploy("v1"))
        await passes(0.001)
    assert clusters.phase(KEY) is Phase.INITIALIZED


@simulated
async def test_a_closed_gate_is_asked_once_an_interval():
    clusters = deployed(rollout(hooks=(GATE,)))
    clusters.do(KEY, AnswerHook("gate", (False, False, False, True)))
    async with Runner(clusters.parts()):
        await release(clusters)
        await passes(120)
    times = [time for time, _ in clusters.of_key(KEY, HookQuestion)]
    assert [after - before for before, after in pairwise(times)] == [10, 10, 10]
    assert clusters.phase(KEY) is Phase.SUCCEEDED


@simulated
async def test_a_rollout_never_runs_two_cycles_at_once_and_a_change_in_a_cycle_makes_another_right_after():
    clusters = deployed(rollout())
    inside, most, looks = 0, 0, []

    async def observed(method, *args):
        nonlocal inside, most
        inside, most = inside + 1, max(most, inside + 1)
        looks.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1)
        inside -= 1
        return await method(*args)

    parts = instead(evolve(clusters.parts(), changes=()), "workload", KEY, observed, only="observe")
    async with Runner(parts) as runner:
        await passes(30)
        before = len(looks)
        for _ in range(20):
            runner.wake(KEY)
            await passes(0.01)
        await passes(10)
    assert most == 1
    assert [time - 30 for time in looks[before:]] == [0, 1]


# ------------------------------------------------------------------------------------------------------ slow answers


@simulated
async def test_an_abort_does_not_wait_for_a_hook_that_hangs():
    clusters = deployed(rollout(hooks=(SMOKE,)))
    clusters.hanging.add("smoke")
    async with Runner(clusters.parts()):
        await release(clusters)
        await passes(60)
        clusters.do(KEY, SendCommand(CommandKind.ABORT))
        await passes(0.001)
    assert clusters.phase(KEY) is Phase.FAILED


@simulated
async def test_a_slow_hook_is_called_once_however_often_the_world_changes_meanwhile():
    """Six intervals pass, so the poll that its key tells moves."""
    clusters = deployed(rollout(hooks=(SMOKE,)))
    parts = instead(clusters.parts(), "hooks", KEY, slowly(65))
    async with Runner(parts) as runner:
        await release(clusters)
        for _ in range(70):
            await passes(1)
            runner.wake(KEY)
        await passes(60)
    assert len(clusters.of_key(KEY, HookQuestion)) == 1
    assert clusters.phase(KEY) is Phase.SUCCEEDED


@simulated
async def test_a_rollback_decided_by_a_slow_answer_still_drains_before_it_scales_down():
    clusters = deployed(rollout(threshold=1, drain=3))
    clusters.do(KEY, SetMetrics(ByRevision(("v2",))))
    async with Runner(instead(clusters.parts(), "metrics", KEY, slowly(8), only="query")):
        await release(clusters)
        await passes(60)
    back = max(time for time, effect in clusters.effects(KEY) if effect == SetRoutes(Routes()))
    down = max(time for time, effect in clusters.effects(KEY) if effect == ScaleDown())
    assert down - back == 3


@pytest.mark.parametrize("told", [True, False])
@simulated
async def test_a_revision_that_arrives_during_a_slow_query_is_sent_no_traffic_for_it(told):
    clusters = deployed(rollout())
    parts = instead(clusters.parts(), "metrics", KEY, slowly(8), only="query")
    async with Runner(parts if told else evolve(parts, changes=())) as runner:
        await passes(30)
        clusters.do(KEY, Deploy("v2"))
        runner.wake(KEY)
        await passes(23)
        assert clusters.state(KEY).routes == Routes(weight=30)
        clusters.do(KEY, Deploy("v3"))
        await passes(10)
        assert clusters.state(KEY).routes == Routes()
    assert max(effect.routes.weight for _, effect in clusters.effects(KEY) if isinstance(effect, SetRoutes)) == 30


@simulated
async def test_an_answer_of_the_wrong_kind_holds_the_rollout_and_is_no_busy_loop():
    clusters, reports = deployed(rollout(threshold=1)), []
    parts = instead(clusters.parts(), "metrics", KEY, answer_rubbish, only="query")
    async with Runner(parts, on_cycle=reports.append):
        await release(clusters)
        await passes(60)
    status = clusters.state(KEY).status
    assert (status.phase, status.failed_checks) == (Phase.PROGRESSING, 0)
    assert len(reports) < 30
    assert any("expected MetricAnswer" in str(error) for report in reports for error in report.result.errors)


@pytest.mark.parametrize("value", ["high", True, [1], 1j, 10**400, Fraction(1, 3)])
@simulated
async def test_a_value_that_is_no_number_holds_the_rollout_and_its_type_is_reported(value):
    async def answer_wrongly(method, *args):
        return MetricAnswer(value=value)

    clusters, reports = deployed(rollout(threshold=1)), []
    parts = instead(clusters.parts(), "metrics", KEY, answer_wrongly, only="query")
    async with Runner(parts, on_cycle=reports.append):
        await release(clusters)
        await passes(60)
    status = clusters.state(KEY).status
    assert (status.phase, status.failed_checks) == (Phase.PROGRESSING, 0)
    expected = f"MetricAnswer.value of type {type(value).__name__}, expected a float or None"
    assert any(expected in str(error) for report in reports for error in report.result.errors)


@pytest.mark.parametrize(("passed", "text"), [("no", ""), (None, ""), (1, ""), (True, None), (False, b"no")])
@simulated
async def test_a_hooks_answer_of_wrong_types_holds_the_rollout(passed, text):
    async def answer_wrongly(method, *args):
        return HookAnswer(passed=passed, text=text)

    clusters = deployed(rollout(threshold=1, hooks=(SMOKE,)))
    async with Runner(instead(clusters.parts(), "hooks", KEY, answer_wrongly)):
        await release(clusters)
        await passes(60)
    status = clusters.state(KEY).status
    assert (status.phase, status.failed_checks) == (Phase.PROGRESSING, 0)


# --------------------------------------------------------------------------------------------------------- isolation

PORTS = ("store", "workload", "router", "metrics", "hooks", "notifiers")
MISBEHAVIOUR = (hang, break_off, break_off_without_words, refuse, cancel_itself, answer_rubbish)


@pytest.mark.parametrize("what", MISBEHAVIOUR)
@pytest.mark.parametrize("port", PORTS)
@simulated
async def test_the_adapters_of_one_rollout_delay_no_other_rollout(port, what):
    stories = []
    for misbehaves in (False, True):
        clusters = deployed(*named(6, hooks=(SMOKE,)))
        start = asyncio.get_running_loop().time()
        parts = clusters.parts()
        if misbehaves:
            parts = instead(parts, port, "default/app-3", what)
        async with Runner(parts, Limits(cycles=2, lane=2)):
            await release(clusters)
            await passes(120)
        others = [key for key in clusters.keys if key != "default/app-3"]
        assert {clusters.phase(key) for key in others} == {Phase.SUCCEEDED}
        stories.append([[(time - start, step) for time, step in clusters.story(key)] for key in others])
    assert stories[0] == stories[1]


@pytest.mark.parametrize("port", ["metrics", "hooks", "notifiers"])
@simulated
async def test_the_runner_abandons_an_adapter_that_ignores_its_cancellation(port):
    has_ended = asyncio.Event()

    async def ignore_its_cancellation(method, *args):
        while not has_ended.is_set():
            with suppress(asyncio.CancelledError):
                await has_ended.wait()

    clusters = deployed(*named(3, hooks=(evolve(SMOKE, timeout=5),)))
    parts = instead(clusters.parts(), port, "default/app-1", ignore_its_cancellation)
    async with Runner(parts, Limits(cycles=2, lane=1, call=5.0)) as runner:
        await release(clusters)
        await passes(200)
        others = {clusters.phase(key) for key in clusters.keys if key != "default/app-1"}
        before = asyncio.get_running_loop().time()
        await runner.stop()
    has_ended.set()
    assert others == {Phase.SUCCEEDED}
    assert asyncio.get_running_loop().time() - before < 30


@simulated
async def test_two_hundred_rollouts_advance_beside_every_kind_of_trouble_at_once():
    clusters = deployed(*named(200))
    parts = clusters.parts()
    troubled = {f"default/app-{number}" for number in (3, 50, 90, 120, 199)}
    for key, port, what in zip(sorted(troubled), PORTS, MISBEHAVIOUR, strict=False):
        parts = instead(parts, port, key, what)
    async with Runner(parts, Limits(cycles=8, lane=4)) as runner:
        await release(clusters)
        await passes(120)
        stats = runner.stats()
    good = [key for key in clusters.keys if key not in troubled]
    assert {tuple(clusters.story(key)) for key in good} == {tuple(clusters.story("default/app-0"))}
    assert clusters.phase("default/app-0") is Phase.SUCCEEDED
    assert stats.rollouts == 200
    assert stats.troubled > 0


@simulated
async def test_a_provider_that_hangs_for_many_delays_no_question_of_another():
    elsewhere = evolve(RATE, name="elsewhere", template=Reference(name="elsewhere"))
    slow, quick = named(20, checks=(elsewhere,)), [rollout("quick")]
    clusters = deployed(*slow, *quick)
    clusters.hanging.add("elsewhere")
    async with Runner(clusters.parts(), Limits(lane=1, cycles=2)):
        await release(clusters)
        await passes(120)
    assert clusters.phase("default/quick") is Phase.SUCCEEDED
    assert clusters.story("default/quick")[-1][0] == 80


@simulated
async def test_a_provider_has_no_more_questions_before_it_than_its_lane_is_wide():
    clusters = deployed(*named(20))
    inside = most = 0

    async def counted(method, *args):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.5)
        inside -= 1
        return await method(*args)

    parts = clusters.parts()
    for key in clusters.keys:
        parts = instead(parts, "metrics", key, counted, only="query")
    async with Runner(parts, Limits(lane=3)):
        await release(clusters)
        await passes(30)
    assert most == 3


STUCK = evolve(SMOKE, name="stuck")
"""At the same server as SMOKE."""


@pytest.mark.parametrize("what", [{"hooks": (STUCK,)}, {"checks": (evolve(RATE, name="stuck"),)}])
@simulated
async def test_questions_that_hang_in_one_namespace_delay_no_other(what):
    stories = []
    for count in (0, 300):
        clusters = deployed(rollout("good", namespace="good", hooks=(SMOKE,)), *named(count, namespace="evil", **what))
        clusters.hanging.add("stuck")
        start = asyncio.get_running_loop().time()
        async with Runner(clusters.parts(), Limits(cycles=4, lane=8, server=16, namespace=16, questions=32)):
            await release(clusters)
            await passes(120)
        stories.append([(time - start, step) for time, step in clusters.story("good/good")])
    assert stories[0] == stories[1]
    assert stories[0][-1] == (80, "Succeeded weight 0")


@simulated
async def test_slow_cycles_in_one_namespace_make_no_cycle_of_another_late():
    """A server that takes ten seconds for each object of one team takes half a second for those of the other."""
    clusters = deployed(*named(20, namespace="good"), *named(100, namespace="evil"))
    good = {key for key in clusters.keys if key.startswith("good/")}
    parts, reports = clusters.parts(), []
    for key in clusters.keys:
        parts = instead(parts, "router", key, slowly(0.5 if key in good else 10), only="set_routes")
    async with Runner(parts, Limits(), on_cycle=reports.append):
        await release(clusters)
        await passes(120)
    assert {clusters.phase(key) for key in good} == {Phase.SUCCEEDED}
    assert max(report.lateness for report in reports if report.key in good) < 1


@simulated
async def test_a_notifier_that_hangs_in_one_namespace_keeps_no_other_waiting():
    clusters = deployed(rollout("good", namespace="good"), *named(100, namespace="evil"))
    parts, notifier = clusters.parts(), RecordingNotifier()

    class Shared:
        async def publish(self, rollout, notice):
            if rollout.namespace == "evil":
                await asyncio.Event().wait()
            await notifier.publish(rollout, notice)

    async with Runner(evolve(parts, notifiers=(Shared(),)), Limits(lane=2, server=4, publish=5)):
        await release(clusters)
        await passes(52)
    assert clusters.story("good/good")[-1] == (80, "Succeeded weight 0")
    assert any("SUCCEEDED" in key for key in notifier.received)


@pytest.mark.parametrize("kind", ["checks", "hooks"])
@simulated
async def test_a_question_without_a_slot_waits_and_counts_as_no_failure(kind):
    slow = {"checks": (evolve(RATE, name="stuck"),), "hooks": (STUCK,)}
    own = {"checks": (RATE,), "hooks": (SMOKE,)}
    clusters = deployed(rollout("slow", **{kind: slow[kind]}), rollout("held", threshold=1, **{kind: own[kind]}))
    clusters.hanging.add("stuck")
    clusters.timeout, reports = 600, []
    async with Runner(clusters.parts(), Limits(lane=1, slot_wait=5, call=600), on_cycle=reports.append):
        await passes(30)
        clusters.do("default/slow", Deploy("v2"))
        await passes(15)
        clusters.do("default/held", Deploy("v2"))
        await passes(100)
        troubles = [str(trouble) for report in reports for trouble in report.result.errors]
        held = clusters.state("default/held").status
        clusters.do("default/slow", SendCommand(CommandKind.ABORT))
        await passes(120)
    assert (held.phase, held.failed_checks) == (Phase.PROGRESSING, 0)
    assert any("not asked yet, because no slot came free within 5 s" in text for text in troubles)
    assert clusters.phase("default/held") is Phase.SUCCEEDED


@simulated
async def test_a_question_that_its_adapter_did_not_ask_waits_and_counts_as_no_failure():
    clusters = deployed(rollout(threshold=1))
    asked = []

    async def later(method, *args):
        asked.append(args)
        if len(asked) < 4:
            raise Unanswered("no thread came free")
        return await method(*args)

    async with Runner(instead(clusters.parts(), "metrics", KEY, later, only="query")):
        await release(clusters)
        await passes(120)
    assert clusters.phase(KEY) is Phase.SUCCEEDED


@simulated
async def test_a_source_that_knows_its_servers_has_a_lane_for_each():
    """Both checks are the mesh's own: without knowing more they would wait in one lane."""
    clusters = deployed(rollout("slow"), rollout("quick"))

    class Servers:
        def __init__(self, inner):
            self._inner = inner

        async def server(self, rollout, check):
            return rollout.name

        async def query(self, rollout, question):
            if rollout.name == "slow":
                await asyncio.Event().wait()
            return await self._inner.query(rollout, question)

        async def online(self, rollout):
            return ""

    parts = clusters.parts()
    async with Runner(evolve(parts, metrics=Servers(parts.metrics)), Limits(lane=1)):
        await release(clusters)
        await passes(52)
    assert clusters.story("default/quick")[-1] == (80, "Succeeded weight 0")


@simulated
async def test_a_trouble_says_which_adapter_did_what():
    clusters = deployed(rollout())
    reports = []

    class Router:
        observe = clusters.parts().router.observe
        restore = clusters.parts().router.restore

        async def set_routes(self, rollout, routes):
            raise OSError("no space left")

    async with Runner(evolve(clusters.parts(), router=Router()), on_cycle=reports.append):
        await passes(5)
    (trouble, *_) = (trouble for report in reports for trouble in report.result.errors)
    assert str(trouble).endswith("Router.set_routes failed: OSError: no space left")


@simulated
async def test_an_observer_that_raises_disturbs_no_rollout():
    clusters = deployed(rollout())

    def watch(turn):
        raise RuntimeError("a bug in somebody's dashboard")

    async with Runner(clusters.parts(), on_cycle=watch):
        await release(clusters)
        await passes(120)
    assert clusters.phase(KEY) is Phase.SUCCEEDED


@pytest.mark.parametrize("error", [OSError("the watch ended"), asyncio.CancelledError()])
@simulated
async def test_the_runner_listens_again_to_a_source_that_failed(error):
    clusters = deployed(rollout())

    class Flaky:
        failed = False

        async def changes(self):
            if not self.failed:
                self.failed = True
                raise error
            async for key in clusters.changes():
                yield key

    async with Runner(evolve(clusters.parts(), changes=(Flaky(),))):
        await passes(33.25)
        clusters.do(KEY, Deploy("v2"))
        await passes(0.001)
    assert clusters.story(KEY)[-1] == (33.25, "Progressing weight 0")


@simulated
async def test_a_store_that_cannot_be_listed_at_first_is_listed_later():
    clusters = deployed(rollout())
    parts = clusters.parts()
    attempts = []

    class Flaky:
        def __getattr__(self, name):
            return getattr(parts.store, name)

        async def keys(self):
            attempts.append(asyncio.get_running_loop().time())
            if len(attempts) < 4:
                raise OSError("no connection")
            return await parts.store.keys()

    async with Runner(evolve(parts, store=Flaky(), changes=()), Limits(backoff=1), **STEADY):
        await passes(20)
    assert attempts == [0, 1, 3, 7]
    assert clusters.phase(KEY) is Phase.INITIALIZED


# ---------------------------------------------------------------------------------------------------------- back-off


def failing(times: list[float], *, until: int):
    """Fails until so many attempts were made, noting their times."""

    async def attempt(method, *args):
        times.append(asyncio.get_running_loop().time())
        if len(times) < until:
            raise OSError("no connection")
        return await method(*args)

    return attempt


@simulated
async def test_the_wait_after_failures_doubles_up_to_its_limit():
    clusters = deployed(rollout(interval=1000))
    times = []
    parts = instead(evolve(clusters.parts(), changes=()), "router", KEY, failing(times, until=9), only="set_routes")
    async with Runner(parts, Limits(backoff=1, max_backoff=8, resync=1000), **STEADY):
        await passes(200)
    assert [after - before for before, after in pairwise(times)][:5] == [1, 2, 4, 8, 8]


@simulated
async def test_after_a_success_the_wait_begins_small_again():
    clusters = deployed(rollout(interval=1000))
    first, second = [], []
    parts = instead(evolve(clusters.parts(), changes=()), "router", KEY, failing(first, until=4), only="set_routes")
    parts = instead(parts, "workload", KEY, failing(second, until=3), only="scale_down")
    async with Runner(parts, Limits(backoff=1, resync=1000), **STEADY):
        await passes(100)
    assert [after - before for before, after in pairwise(first)] == [1, 2, 4]
    assert [after - before for before, after in pairwise(second)] == [1, 2]


@simulated
async def test_jitter_shortens_a_wait_to_no_less_than_half():
    clusters = deployed(rollout(interval=1000))
    times = []
    parts = instead(evolve(clusters.parts(), changes=()), "router", KEY, failing(times, until=4), only="set_routes")
    async with Runner(parts, Limits(backoff=1, resync=1000), jitter=lambda: 0.0):
        await passes(100)
    assert [after - before for before, after in pairwise(times)] == [0.5, 1, 2]


@simulated
async def test_a_world_that_does_not_follow_is_not_written_to_in_a_loop():
    """Clusters that report each write as a change, as a watch does."""
    clusters = deployed(rollout())

    async def swallow(method, *args):
        clusters.log.append((KEY, SetRoutes(args[1])))
        clusters.put(KEY, clusters.state(KEY))

    async with Runner(instead(clusters.parts(), "router", KEY, swallow, only="set_routes"), Limits(patience=1)):
        await passes(60)
    assert 3 < len(clusters.effects(KEY)) < 70


@simulated
async def test_a_command_waits_no_longer_than_the_patience_while_effects_fail():
    clusters = deployed(rollout())
    times = []
    async with Runner(clusters.parts(), Limits(backoff=30, patience=1), **STEADY) as runner:
        await release(clusters)
        await passes(5)
        runner._parts = runner._rollouts[KEY].driver.parts = instead(
            clusters.parts(), "router", KEY, failing(times, until=99), only="set_routes"
        )
        await passes(6)
        clusters.do(KEY, SendCommand(CommandKind.ABORT))
        await passes(1)
    assert times
    assert clusters.phase(KEY) is Phase.FAILED


@simulated
async def test_a_conflict_is_followed_by_a_fresh_look():
    clusters = deployed(rollout())
    met = []

    async def somebody_else_first(method, key, status, version):
        if not met:
            met.append(version)
            clusters.put(key, evolve(clusters.state(key), version=clusters.state(key).version + 1))
        return await method(key, status, version)

    async with Runner(instead(clusters.parts(), "store", KEY, somebody_else_first, only="commit")):
        await release(clusters)
        await passes(120)
    assert met
    assert clusters.phase(KEY) is Phase.SUCCEEDED


# ----------------------------------------------------------------------------------------------------------- notices


class RecordingNotifier:
    """A notifier that fails for a time (seconds), and then records the keys of notices."""

    def __init__(self, *, failing_for: float = 0.0) -> None:
        self.received: list[str] = []
        self._failing_for = failing_for

    async def publish(self, rollout, notice) -> None:
        if asyncio.get_running_loop().time() < self._failing_for:
            raise OSError("status 500")
        self.received.append(notice.key)


@simulated
async def test_a_notifier_that_fails_delays_neither_other_notifiers_nor_the_rollout():
    clusters = deployed(rollout())
    good, bad = RecordingNotifier(), RecordingNotifier(failing_for=1000)
    async with Runner(evolve(clusters.parts(), notifiers=(bad, good))):
        await release(clusters)
        await passes(120)
    assert clusters.story(KEY)[-1] == (80, "Succeeded weight 0")
    assert any("SUCCEEDED" in key for key in good.received)
    assert len(good.received) == len(set(good.received))


@simulated
async def test_a_notifier_that_recovers_gets_all_durable_notices():
    clusters = deployed(rollout())
    bad, good = RecordingNotifier(failing_for=200), RecordingNotifier()
    async with Runner(evolve(clusters.parts(), notifiers=(bad, good)), **STEADY):
        await release(clusters)
        await passes(300)
    assert [key for key in good.received if "#" not in key] == bad.received


@simulated
async def test_a_notice_that_was_undelivered_before_a_crash_follows_under_the_same_key():
    clusters = deployed(rollout())
    before, after = RecordingNotifier(failing_for=1000), RecordingNotifier()
    async with Runner(evolve(clusters.parts(), notifiers=(before, RecordingNotifier()))):
        await release(clusters)
        await passes(0.001)
    outbox = [notice.key for notice in clusters.state(KEY).status.outbox]
    assert outbox
    async with Runner(evolve(clusters.parts(), notifiers=(after,))):
        await passes(0.001)
    assert after.received == outbox


class BroadcastRecorder:
    """A notifier with two receivers, the first of which fails for a time (seconds)."""

    def __init__(self, *, failing_for: float) -> None:
        self.received: list[tuple[str, str]] = []
        self._failing_for = failing_for

    async def publish(self, rollout, notice) -> None:
        raise AssertionError("the runner uses broadcast")

    async def broadcast(self, rollout, notice, deliveries) -> None:
        async def send(receiver: str) -> str:
            if receiver == "first" and asyncio.get_running_loop().time() < self._failing_for:
                return "status 500"
            self.received.append((receiver, notice.key))
            return ""

        await deliveries.send_to_missing(("first", "second"), send, lambda *_: None)


@simulated
async def test_each_receiver_of_a_notifier_gets_a_durable_notice_once():
    clusters = deployed(rollout())
    notifier = BroadcastRecorder(failing_for=200)
    async with Runner(evolve(clusters.parts(), notifiers=(notifier,)), **STEADY):
        await release(clusters)
        await passes(300)
    first, second = (
        [key for receiver, key in notifier.received if receiver == name and "#" not in key]
        for name in ("first", "second")
    )
    assert sorted(first) == sorted(second)
    assert len(set(second)) == len(second) > 1


@simulated
async def test_a_notifier_that_hangs_costs_each_cycle_its_time_once():
    clusters = deployed(rollout())
    parts = instead(clusters.parts(), "notifiers", KEY, hang)
    async with Runner(parts, Limits(publish=2)):
        await passes(30)
        clusters.do(KEY, Deploy("v2"))
        await passes(5)
        clusters.do(KEY, SendCommand(CommandKind.ABORT))
        await passes(2.001)
    assert clusters.phase(KEY) is Phase.FAILED


# ------------------------------------------------------------------------------------------------- coming and going


@simulated
async def test_a_rollout_that_is_gone_from_the_store_is_forgotten():
    clusters = deployed(rollout())
    async with Runner(clusters.parts()) as runner:
        await passes(5)
        assert runner.stats().rollouts == 1
        clusters.remove(KEY)
        await passes(0.001)
        assert runner.stats().rollouts == 0


@simulated
async def test_a_rollout_that_is_gone_unseen_is_forgotten_within_a_resync():
    clusters = deployed(rollout())
    async with Runner(evolve(clusters.parts(), changes=()), Limits(resync=20)) as runner:
        await passes(5)
        clusters.remove(KEY)
        await passes(20)
        assert runner.stats().rollouts == 0


@simulated
async def test_a_terminated_rollout_is_left_alone():
    clusters = deployed(rollout())
    reports = []
    async with Runner(clusters.parts(), on_cycle=reports.append):
        await passes(5)
        clusters.do(KEY, Delete())
        await passes(5)
        assert clusters.phase(KEY) is Phase.TERMINATED
        before = len(reports)
        await passes(1000)
    assert len(reports) == before


@simulated
async def test_a_terminated_rollout_that_is_gone_unseen_is_forgotten_within_a_resync():
    clusters = deployed(rollout())
    async with Runner(evolve(clusters.parts(), changes=()), Limits(resync=20)) as runner:
        await passes(5)
        clusters.do(KEY, Delete())
        await passes(20)
        assert clusters.phase(KEY) is Phase.TERMINATED
        clusters.remove(KEY)
        await passes(20)
        assert runner.stats().rollouts == 0


@simulated
async def test_a_rollout_that_comes_back_after_its_end_analyses_a_new_revision_beside_its_primary():
    clusters = deployed(rollout())
    async with Runner(clusters.parts()):
        await passes(5)
        clusters.do(KEY, Delete())
        await passes(5)
        clusters.do(KEY, Recreate(), Deploy("v2"))
        await passes(30)
        assert clusters.phase(KEY) is Phase.PROGRESSING
        await passes(120)
    assert clusters.phase(KEY) is Phase.SUCCEEDED


# ------------------------------------------------------------------------------------------------------- being watched


@simulated
async def test_an_observer_gets_the_report_of_each_cycle_with_its_reason():
    clusters = deployed(rollout())
    reports = []
    async with Runner(clusters.parts(), on_cycle=reports.append) as runner:
        await release(clusters)
        await passes(120)
        assert runner.stats().cycles == len(reports)
    reasons = [str(report.result.decision.explanation) for report in reports]
    assert "Progressing → Promoting: every rung passed; rate 99: pass" in reasons
    assert {report.key for report in reports} == {KEY}


@simulated
async def test_lateness_is_the_wait_for_a_place():
    clusters = deployed(*named(3))
    parts = clusters.parts()
    for key in clusters.keys:
        parts = instead(parts, "workload", key, slowly(1), only="observe")
    reports = []
    async with Runner(parts, Limits(cycles=1), on_cycle=reports.append) as runner:
        await passes(3.5)
        stats = runner.stats()
    assert [report.lateness for report in reports] == [0, 1, 2]
    assert (stats.late_worst, stats.late_mean) == (2, 1)


@simulated
async def test_the_lateness_of_an_analysis_counts_though_it_has_to_wait_for_answers():
    clusters = deployed(rollout())
    parts = evolve(instead(clusters.parts(), "metrics", KEY, slowly(3), only="query"), changes=())
    reports = []
    async with Runner(parts, Limits(cycles=1), on_cycle=reports.append) as runner:
        await passes(30)
        clusters.do(KEY, Deploy("v2"))
        runner.wake(KEY)
        await passes(15)
        async with runner._capacity.cycles.slot("default"):
            await passes(7)
        await passes(10)
    assert max(report.lateness for report in reports) == 2


@simulated
async def test_first_looks_are_spread_by_the_rollouts_key():
    spreads = []
    for _ in range(2):
        clusters = deployed(*named(50))
        start = asyncio.get_running_loop().time()
        async with Runner(evolve(clusters.parts(), changes=()), Limits(spread=10)):
            await passes(10)
        spreads.append({key: clusters.story(key)[0][0] - start for key in clusters.keys})
    times = sorted(spreads[0].values())
    assert spreads[0] == pytest.approx(spreads[1])
    assert times[0] < 2
    assert times[-1] > 8
    assert len(set(times)) == 50


@simulated
async def test_cycles_due_within_a_step_begin_together_and_intervals_stay_exact():
    """The answers take time; without steps each interval would begin that much later than the one before."""
    clusters = deployed(*named(3))
    parts = instead(clusters.parts(), "metrics", clusters.keys[1], slowly(0.1))
    reports = []
    async with Runner(parts, Limits(step=0.25), on_cycle=reports.append):
        await passes(30.1)
        for number, key in enumerate(clusters.keys):
            await passes(0.03 * number)
            clusters.do(key, Deploy("v2"))
        await passes(35)
    analyses = [report for report in reports if report.result.decision.explanation.judgements]
    moments = [report.observed.observation.now for report in analyses]
    assert moments == [50.0] * 3 + [60.0] * 3
    assert all(report.lateness == pytest.approx(0, abs=1e-6) for report in analyses)


@simulated
async def test_in_steps_a_change_is_looked_at_at_once():
    clusters = deployed(rollout())
    async with Runner(clusters.parts(), Limits(step=5)):
        await passes(33.25)
        clusters.do(KEY, Deploy("v2"))
        await passes(0.001)
    assert clusters.story(KEY)[-1] == (33.25, "Progressing weight 0")


@simulated
async def test_few_rollouts_are_first_looked_at_without_delay_however_wide_the_spread():
    clusters = deployed(*named(5))
    start = asyncio.get_running_loop().time()
    async with Runner(evolve(clusters.parts(), changes=()), Limits(spread=10, pace=100)):
        await passes(10)
    assert max(clusters.story(key)[0][0] for key in clusters.keys) - start < 0.05


# ---------------------------------------------------------------------------------------------------------- stopping


@simulated
async def test_a_commit_under_way_is_finished_and_its_cycle_too():
    clusters = deployed(rollout())
    async with Runner(instead(clusters.parts(), "store", KEY, slowly(3), only="commit")) as runner:
        await passes(1)
        await runner.stop()
        now = asyncio.get_running_loop().time()
    assert now == 3
    assert clusters.steps(KEY) == ["Initializing weight 0"]
    assert [type(effect).__name__ for _, effect in clusters.effects(KEY)] == ["Initialise"]


@simulated
async def test_after_stop_nothing_is_begun():
    clusters = deployed(rollout())
    async with Runner(clusters.parts()) as runner:
        await passes(5)
        await runner.stop()
        written = len(clusters.entries)
        clusters.do(KEY, Deploy("v2"))
        runner.wake(KEY)
        await passes(100)
    assert len(clusters.entries) == written


@simulated
async def test_stop_does_not_wait_for_answers():
    clusters = deployed(rollout(hooks=(SMOKE,)))
    clusters.hanging.add("smoke")
    async with Runner(clusters.parts()) as runner:
        await release(clusters)
        await passes(20)
        await runner.stop()
        assert asyncio.get_running_loop().time() == 50


@simulated
async def test_past_the_grace_a_cycle_is_cancelled_before_its_next_write():
    clusters = deployed(rollout())
    async with Runner(instead(clusters.parts(), "store", KEY, slowly(20), only="commit"), Limits(grace=2)) as runner:
        await passes(1)
        await runner.stop()
    assert asyncio.get_running_loop().time() == 20
    assert clusters.steps(KEY) == ["Initializing weight 0"]
    assert clusters.effects(KEY) == []


@simulated
async def test_the_body_of_the_context_may_raise():
    clusters = deployed(rollout())

    async def run():
        async with Runner(clusters.parts()):
            await passes(5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@simulated
async def test_nothing_is_left_running_after_the_context():
    clusters = deployed(rollout(hooks=(SMOKE, GATE)))
    clusters.hanging.add("smoke")
    async with Runner(clusters.parts()):
        await release(clusters)
        await passes(20)
    assert asyncio.all_tasks() == {asyncio.current_task()}
