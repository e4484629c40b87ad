"""The runner reports: misuses at construction, each trouble once, and the error that ends it."""

import asyncio
import logging
import re
import threading
import time

import pytest
from attrs import evolve

from canarycore import Ladder, Phase
from canarycore.errors import Conflict
from canarycore.questions import HookAnswer
from canarycore.simulation import Deploy
from canarycore_runtime import InvalidAdapters, Limits, Runner
from canarycore_runtime.testing import simulated
from tests.adapters.runtime.simulated_rollouts import (
    KEY,
    SMOKE,
    answer_rubbish,
    deployed,
    instead,
    passes,
    refuse,
    release,
    rollout,
)

# ------------------------------------------------------------------------------------------------------ construction


class Sparse:
    async def observe(self, rollout): ...

    async def restore(self, rollout): ...


class Synchronous(Sparse):
    def set_routes(self, rollout, routes):
        return None


class Narrow(Sparse):
    async def set_routes(self, rollout): ...


class Quiet:
    async def changes(self): ...


class Notifier:
    async def publish(self, rollout, notice): ...


async def _tell_time():
    return 0.0


WRONG_ADAPTERS = {
    "a missing method": ({"router": Sparse()}, "router.set_routes: found no such method in an instance of Sparse"),
    "a plain method": ({"router": Synchronous()}, "router.set_routes: found a function without async"),
    "other parameters": ({"router": Narrow()}, "router.set_routes: found set_routes(rollout)"),
    "a class": (
        {"router": Narrow},
        "router: found the class Narrow, expected an instance, as Router. Write Narrow(…).",
    ),
    "nothing": ({"store": None}, "store.load: found no such method in None"),
    "a notifier": ({"notifiers": Notifier()}, "notifiers: found an instance of Notifier, expected a tuple of Notifier"),
    "a list of notifiers": ({"notifiers": [Notifier()]}, "notifiers: found an instance of list, expected a tuple"),
    "a class in a tuple": ({"notifiers": (Notifier,)}, "notifiers[0]: found the class Notifier, expected an instance"),
    "changes that yield nothing": ({"changes": (Quiet(),)}, "changes[0].changes: found a coroutine function"),
    "a time for a clock": ({"clock": time.time()}, "clock: found an instance of float, expected a function"),
    "a coroutine function for a clock": ({"clock": _tell_time}, "clock: found a coroutine function"),
}


@pytest.mark.parametrize("name", WRONG_ADAPTERS)
@simulated
async def test_a_wrong_adapter_is_one_error_at_construction(name):
    fields, text = WRONG_ADAPTERS[name]
    with pytest.raises(InvalidAdapters, match=re.escape(text)):
        Runner(evolve(deployed().parts(), **fields))


@simulated
async def test_the_error_lists_all_problems():
    with pytest.raises(InvalidAdapters) as error:
        Runner(evolve(deployed().parts(), router=Sparse(), notifiers=[]))
    assert [problem.path for problem in error.value.problems] == ["router.set_routes", "notifiers"]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"limits": {"cycles": 8}}, "limits: found an instance of dict, expected Limits"),
        ({"refuse": "never"}, "refuse: found 'never', expected 'error', 'warning' or None"),
        ({"on_cycle": _tell_time}, "on_cycle: found a coroutine function, expected a function without async"),
        ({"jitter": 0.5}, "jitter: found an instance of float, expected a function"),
    ],
)
@simulated
async def test_a_wrong_setting_is_an_error_at_construction(settings, text):
    with pytest.raises(InvalidAdapters, match=re.escape(text)):
        Runner(deployed().parts(), **settings)


@simulated
async def test_an_adapter_that_returns_awaitables_or_forwards_calls_is_right():
    inner = deployed().parts().router

    class Forwarding:
        def __getattr__(self, name):
            return getattr(inner, name)

        def set_routes(self, rollout, routes) -> asyncio.Future[None]:
            return asyncio.ensure_future(inner.set_routes(rollout, routes))

    Runner(evolve(deployed().parts(), router=Forwarding(), clock=time.time))


# ----------------------------------------------------------------------------------------------------------- misuses


async def raise_type_error(method, *args):
    return None + 1


async def raise_conflict(method, *args):
    raise Conflict("another version")


class Mute:
    async def changes(self):
        yield 7


def _fails(_):
    raise KeyError("a column of the dashboard")


MISUSES = {
    "load raises": ("store", raise_type_error, "load", r"store\.load: .*failed: TypeError: unsupported operand"),
    "load answers with a text": ("store", answer_rubbish, "load", r"store\.load: answered with str, expected Stored"),
    "no commit succeeds": ("store", raise_conflict, "commit", r"store\.commit: another version"),
    "workload answers with a text": ("workload", answer_rubbish, "observe", r"workload\.observe: answered with str"),
    "router raises": ("router", raise_type_error, "observe", r"router\.observe: .* TypeError: .*The rollout is held"),
    "an effect raises": ("workload", raise_type_error, "initialise", r"workload\.initialise: .* TypeError: .*is held"),
    "an effect is refused": ("router", refuse, "set_routes", r"router\.set_routes: status 500"),
    "query raises": ("metrics", raise_type_error, "query", r"metrics\.query: .*failed: TypeError: .*is held"),
    "query answers with a text": ("metrics", answer_rubbish, "query", r"metrics\.query: answered with str"),
    "online raises": ("metrics", raise_type_error, "online", r"metrics\.online: .*failed: TypeError: .*is held"),
    "a hook answers with a text": ("hooks", answer_rubbish, "call", r"hooks\.call: answered with str, expected HookA"),
    "a notifier raises": ("notifiers", raise_type_error, "publish", r"notifiers\[0\]: .* TypeError: [^.]*$"),
}


@pytest.mark.parametrize("name", MISUSES)
@simulated
async def test_a_misuse_is_one_warning_with_its_cause_and_repeats_at_debug(name, caplog):
    caplog.set_level(logging.DEBUG, "canarycore.runner")
    port, misuse, method, text = MISUSES[name]
    clusters = deployed(rollout(hooks=(SMOKE,), threshold=1))
    async with Runner(instead(clusters.parts(), port, KEY, misuse, only=method), Limits(max_backoff=5)):
        await release(clusters)
        await passes(200)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    (warning,) = warnings
    assert re.search(text, warning.getMessage())
    assert warning.getMessage().startswith(f"{KEY}: ")
    assert warning.exc_info is not None
    assert len([record for record in caplog.records if record.levelno == logging.DEBUG]) > 2
    assert clusters.state(KEY).status.failed_checks == 0
    if method not in ("publish", "online"):  # a new revision takes over the held initialisation
        assert clusters.phase(KEY) in {Phase.INITIALIZING, Phase.PROGRESSING}


RUNNER_MISUSES = {
    "a key that is no text": ({"changes": (Mute(),)}, {}, r"changes\[0\]: Mute stopped .*found 7, expected the key"),
    "an observer that raises": ({}, {"on_cycle": _fails}, r"on_cycle: KeyError: 'a column of the dashboard'"),
}


@pytest.mark.parametrize("name", RUNNER_MISUSES)
@simulated
async def test_a_misuse_that_concerns_no_rollout_is_one_warning_too(name, caplog):
    parts, settings, text = RUNNER_MISUSES[name]
    clusters = deployed(rollout())
    async with Runner(evolve(clusters.parts(), **parts), **settings):
        await passes(200)
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert re.search(text, warning.getMessage())
    assert clusters.phase(KEY) is Phase.INITIALIZED


async def do_nothing(method, *args):
    return "a version"


@pytest.mark.parametrize(
    ("port", "method", "text"),
    [
        ("store", "commit", "the status is the same after each commit. Does store.load return the committed status?"),
        ("workload", "initialise", "the observation is the same after each Initialise. Do workload.observe and"),
    ],
)
@simulated
async def test_a_method_that_does_nothing_is_reported(port, method, text, caplog):
    clusters = deployed(rollout())
    async with Runner(instead(clusters.parts(), port, KEY, do_nothing, only=method)):
        await passes(500)
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert f"{KEY}: repeats: {text}" in warning.getMessage()


@simulated
async def test_a_key_that_the_store_lists_and_does_not_load_is_reported(caplog):
    clusters = deployed(rollout())
    store = clusters.parts().store

    class Store:
        load, commit = store.load, store.commit

        async def keys(self):
            return ("podinfo",)

    async with Runner(evolve(clusters.parts(), store=Store()), Limits(resync=10)):
        await passes(100)
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "store.load: the store lists the key podinfo, but returns None for it each time" in warning.getMessage()


@simulated
async def test_a_refused_rollout_is_reported(caplog):
    async with Runner(deployed(rollout(ladder=Ladder(step=50, top=10))).parts()):
        await passes(100)
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert f"{KEY}: policy: the runner refuses the rollout: ladder.top" in warning.getMessage()


@simulated
async def test_a_trouble_that_ended_is_reported_anew_for_another_revision(caplog):
    is_broken = [True]

    async def raise_or_query(method, *args):
        return await (raise_type_error if is_broken[0] else method)(*args)

    clusters = deployed(rollout())
    async with Runner(instead(clusters.parts(), "metrics", KEY, raise_or_query, only="query")):
        await release(clusters)
        for revision, is_broken[0], warnings in (("v3", True, 1), ("v4", False, 1), ("v5", True, 2)):
            await passes(100)
            clusters.do(KEY, Deploy(revision))
            await passes(100)
            assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == warnings


@simulated
async def test_an_adapters_error_is_not_reported_as_the_metric_providers():
    clusters = deployed(rollout(threshold=1, hooks=(SMOKE,)))
    async with Runner(instead(clusters.parts(), "metrics", KEY, refuse)):
        await release(clusters)
        await passes(60)
    assert not [key for key in clusters.told(KEY) if "SOURCES_OFFLINE" in key or "CHECK_FAILED" in key]


@simulated
async def test_a_provider_that_answers_badly_still_fails_the_check():
    async def fail(method, *args):
        return HookAnswer(passed=False, text="503")

    clusters = deployed(rollout(threshold=1, hooks=(SMOKE,)))
    async with Runner(instead(clusters.parts(), "hooks", KEY, fail)):
        await release(clusters)
        await passes(60)
    assert clusters.phase(KEY) is Phase.FAILED


@simulated
async def test_a_conflict_or_two_are_no_trouble(caplog):
    conflicts = []

    async def conflict_twice(method, *args):
        conflicts.append(args)
        if len(conflicts) in (1, 2, 4):
            raise Conflict("another version")
        return await method(*args)

    clusters = deployed(rollout())
    async with Runner(instead(clusters.parts(), "store", KEY, conflict_twice, only="commit")):
        await release(clusters)
        await passes(100)
    assert clusters.phase(KEY) is Phase.SUCCEEDED
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# ------------------------------------------------------------------------------------------------------------- death


class BrokenClockError(Exception):
    pass


@pytest.mark.parametrize("good", [0, 1, 40])
@simulated
async def test_a_clock_that_raises_ends_the_runner_with_its_own_error(good, caplog):
    clusters = deployed(rollout())
    loop, readings = asyncio.get_running_loop(), []

    def clock():
        readings.append(1)
        if len(readings) > good:
            raise BrokenClockError("no time left")
        return loop.time()

    with pytest.raises(BrokenClockError, match="no time left"):
        async with Runner(evolve(clusters.parts(), clock=clock)):
            await passes(500)
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == "the runner ends: BrokenClockError: no time left"


@pytest.mark.parametrize("now", [None, "noon", float("nan"), True])
@simulated
async def test_a_clock_without_a_number_ends_the_runner_with_a_clear_error(now):
    with pytest.raises(TypeError, match=r"the clock returned .*, expected a finite number of seconds"):
        async with Runner(evolve(deployed(rollout()).parts(), clock=lambda: now)):
            await passes(500)


@pytest.mark.parametrize("keys", ["default/podinfo", None, 5, (5,), (None,), (("default", "podinfo"),)])
@simulated
async def test_malformed_keys_end_the_runner_with_a_clear_error(keys, caplog):
    clusters = deployed(rollout())
    store = clusters.parts().store

    class Store:
        load, commit = store.load, store.commit

        async def keys(self):
            return keys

    with pytest.raises(TypeError, match=r"store\.keys answered with"):
        async with Runner(evolve(clusters.parts(), store=Store())):
            await passes(500)
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage().startswith("the runner ends: TypeError: store.keys answered with")


@simulated
async def test_a_dying_runner_finishes_its_write():
    clusters = deployed(rollout())
    finished, broken = [], []

    async def commit_slowly(method, *args):
        broken.append(True)
        await asyncio.sleep(5)
        await method(*args)
        finished.append(args)

    def clock():
        if broken:
            raise BrokenClockError
        return asyncio.get_running_loop().time()

    parts = evolve(instead(clusters.parts(), "store", KEY, commit_slowly, only="commit"), clock=clock)
    with pytest.raises(BrokenClockError):
        async with Runner(parts, Limits(resync=1)):
            await passes(500)
    assert finished


# ----------------------------------------------------------------------------------------------------------- threads


@simulated
async def test_another_thread_wakes_a_rollout():
    clusters = deployed(rollout())
    async with Runner(evolve(clusters.parts(), changes=())) as runner:
        await passes(30.5)
        clusters.do(KEY, Deploy("v2"))
        thread = threading.Thread(target=runner.wake_threadsafe, args=(KEY,))
        thread.start()
        thread.join()
        await passes(0.001)
        assert clusters.phase(KEY) is Phase.PROGRESSING
    runner.wake_threadsafe(KEY)


@simulated
async def test_a_wake_from_another_thread_names_the_remedy():
    errors = []

    def wake():
        try:
            runner.wake(KEY)
        except RuntimeError as error:
            errors.append(str(error))

    async with Runner(deployed(rollout()).parts()) as runner:
        thread = threading.Thread(target=wake)
        thread.start()
        thread.join()
    assert errors == [f"the runner cannot wake {KEY} from another thread: use wake_threadsafe"]


@simulated
async def test_a_runner_outside_of_its_context_says_so():
    runner = Runner(deployed(rollout()).parts())
    for wake in (runner.wake, runner.wake_threadsafe):
        with pytest.raises(RuntimeError, match="outside of its context"):
            wake(KEY)
    async with runner:
        with pytest.raises(TypeError, match="expected the key of a rollout"):
            runner.wake(7)
    with pytest.raises(RuntimeError, match="each runs once"):
        await runner.__aenter__()
