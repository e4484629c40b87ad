"""A contract suite that no adapter can fail would prove nothing: each flaw here makes the named test fail."""

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import pytest

from canarycore import Rollout, Routes, Status
from canarycore.errors import Conflict, WorldError
from canarycore.questions import HookAnswer, MetricAnswer
from canarycore.simulation import ScalePrimary
from canarycore_runtime.testing.clusters import (
    SimulatedHooks,
    SimulatedMetrics,
    SimulatedNotifier,
    SimulatedRouter,
    SimulatedStore,
    SimulatedWorkload,
)
from canarycore_runtime.testing.contracts import (
    HookContract,
    HostileReply,
    MetricSourceContract,
    NotifierContract,
    Reply,
    RouterContract,
    StatusStoreContract,
    WorkloadContract,
)
from tests.adapters.runtime.contracts.test_contracts import (
    KEY,
    HookBench,
    MetricBench,
    NotifierBench,
    RouterBench,
    StoreBench,
    WorkloadBench,
)


class LastOneWins(SimulatedStore):
    async def commit(self, key, status, version):
        return await super().commit(key, status, (await self.load(key)).version)


class ChecksThenWrites(SimulatedStore):
    """With a gap in between, in which another one checks as well."""

    async def commit(self, key, status, version):
        if (await self.load(key)).version != version:
            raise Conflict("somebody was first")
        state = self._clusters.state(key)
        await asyncio.sleep(0)
        self._clusters.put(key, state.but(status=status, version=state.version + 1))
        return str(state.version + 1)


class ForgetsNotices(SimulatedStore):
    async def commit(self, key, status, version):
        return await super().commit(key, status.but(outbox=()), version)


class KeepsToItself(SimulatedStore):
    """Durable later, perhaps."""

    async def commit(self, key: str, status: Status, version: str) -> str:
        return f"{version}+"


class PromotesWhatIsThere(SimulatedWorkload):
    async def promote(self, rollout: Rollout, revision: str) -> None:
        target = (await self.observe(rollout)).target
        await super().promote(rollout, target.revision)


class DoublesThePrimary(SimulatedWorkload):
    async def scale_up(self, rollout: Rollout) -> None:
        await super().scale_up(rollout)
        primary = (await self.observe(rollout)).primary
        self._clusters.do(KEY, ScalePrimary(primary.desired + 1))


class LeavesMirrorsBehind(SimulatedRouter):
    async def set_routes(self, rollout, routes):
        before = await self.observe(rollout)
        mirrored = routes.mirrored or (before is not None and before.mirrored)
        await super().set_routes(rollout, Routes(weight=routes.weight, mirrored=mirrored, matched=routes.matched))


class AddsUpToLess(SimulatedRouter):
    async def set_routes(self, rollout, routes):
        await super().set_routes(rollout, Routes(weight=max(routes.weight - 1, 0)))


class TakesNothingForZero(SimulatedMetrics):
    async def query(self, rollout, question):
        answer = await super().query(rollout, question)
        return answer if answer.value is not None or answer.error else MetricAnswer(value=100.0)


class SwallowsErrors(SimulatedMetrics):
    async def query(self, rollout, question):
        return MetricAnswer(value=(await super().query(rollout, question)).value)


class Raises(SimulatedMetrics):
    async def query(self, rollout, question):
        answer = await super().query(rollout, question)
        if answer.error:
            raise WorldError(answer.error)
        return answer


class AsksCarelessly:
    """Asks over HTTP as one does without a thought for the server, with a short time-out."""

    def __init__(self, address):
        self.address = address

    async def query(self, rollout, question):
        try:
            timeout = aiohttp.ClientTimeout(total=2.0)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self.address) as response:
                return MetricAnswer(value=float(json.loads(await response.text())["value"]))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return MetricAnswer(error=str(error) or "failed")

    async def online(self, rollout):
        return ""


class CarelessBench(MetricBench):
    def __init__(self):
        super().__init__()
        self.ordinary = {}

    async def at(self, address):
        return AsksCarelessly(address)

    def body(self, number):
        return f'{{"value": {number}}}'


@pytest.mark.parametrize(
    ("test", "given"),
    [
        ("test_a_hostile_reply_ends_as_an_error_of_one_short_line", {"reply": HostileReply.DEEP_JSON}),
        ("test_no_reply_fills_the_memory", {"reply": HostileReply.GZIP_BOMB}),
        ("test_no_redirect_leads_to_another_origin", {"reply": HostileReply.FOREIGN_REDIRECT}),
        ("test_something_else_than_a_number_is_never_a_value", {"number": "true"}),
    ],
)
async def test_the_suite_catches_a_careless_client(test, given):
    with pytest.raises((AssertionError, RecursionError, LookupError)):
        await getattr(MetricSourceContract(), test)(CarelessBench(), **given)


class NeverRetries(SimulatedHooks):
    async def call(self, rollout, question):
        return await self._attempt(rollout, question)


class TakesAnythingForAPass(SimulatedHooks):
    async def call(self, rollout, question):
        await super().call(rollout, question)
        return HookAnswer(passed=True)


class SaysNothing(SimulatedHooks):
    async def call(self, rollout, question):
        return HookAnswer(passed=(await super().call(rollout, question)).passed)


class BelievesReceivers(SimulatedHooks):
    """Follows each redirect, reads each body to its end, and repeats all of it."""

    async def call(self, rollout, question):
        async with aiohttp.ClientSession() as session, session.post(question.hook.url, json={}) as response:
            return HookAnswer(passed=response.status <= 202, text=await response.text())


class BelievesRooms(SimulatedNotifier):
    """The same."""

    async def publish(self, rollout, notice):
        async with aiohttp.ClientSession() as session, session.post(self.url, json={}) as response:
            if response.status > 202:
                raise WorldError(await response.text())
            await response.text()


class HidesFailures(SimulatedNotifier):
    async def publish(self, rollout, notice):
        try:
            await super().publish(rollout, notice)
        except WorldError:
            logging.getLogger(__name__).warning("could not tell %s", notice.key)


class LogsItsToken(SimulatedNotifier):
    async def publish(self, rollout, notice):
        logging.getLogger(__name__).debug("POST https://chat/hooks/t0ken")
        await super().publish(rollout, notice)


def bench(kind, adapter):
    """The bench, with its adapter flawed."""
    made = kind()
    if kind is StoreBench:
        made.handle = lambda: _done(adapter(made.clusters))
    elif kind is MetricBench:
        answering = made.answering
        made.answering = lambda reply: _flawed(answering(reply), adapter)
    else:
        made.adapter = adapter(made.clusters)
    if adapter is LogsItsToken:
        made.secret = "t0ken"
    if adapter is BelievesReceivers:
        made.is_http = True
    if adapter is BelievesRooms:
        made.adapter_at = partial(_believing, made)
    return made


@asynccontextmanager
async def _believing(made, url):
    made.adapter.url = url
    yield made.adapter


async def _done(value):
    return value


async def _flawed(making, adapter):
    return adapter((await making)._clusters)


FAILURES = (AssertionError, pytest.fail.Exception, WorldError, aiohttp.ClientError, ValueError, LookupError)
DELIVERED = "test_after_a_hostile_reply_a_notice_is_delivered"

FLAWS = [
    (StatusStoreContract, StoreBench, LastOneWins, "test_a_stale_commit_is_a_conflict_and_writes_nothing", {}),
    (StatusStoreContract, StoreBench, ChecksThenWrites, "test_exactly_one_of_simultaneous_commits_wins", {}),
    (StatusStoreContract, StoreBench, ForgetsNotices, "test_a_commit_is_seen_whole_by_another_process", {}),
    (StatusStoreContract, StoreBench, KeepsToItself, "test_a_commit_is_seen_whole_by_another_process", {}),
    (
        WorkloadContract,
        WorkloadBench,
        PromotesWhatIsThere,
        "test_promote_refuses_a_revision_that_the_target_does_not_carry",
        {},
    ),
    (
        WorkloadContract,
        WorkloadBench,
        DoublesThePrimary,
        "test_an_effect_repeated_does_nothing",
        {"effect": "scale_up"},
    ),
    (RouterContract, RouterBench, LeavesMirrorsBehind, "test_the_way_back_is_complete", {"name": "mirrored"}),
    (RouterContract, RouterBench, AddsUpToLess, "test_weights_are_as_set_and_add_up_to_100", {"name": "half"}),
    (
        MetricSourceContract,
        MetricBench,
        TakesNothingForZero,
        "test_each_reply_comes_to_its_verdict",
        {"reply": Reply.EMPTY},
    ),
    (
        MetricSourceContract,
        MetricBench,
        SwallowsErrors,
        "test_an_error_says_what_happened",
        {"reply": Reply.SERVER_ERROR},
    ),
    (MetricSourceContract, MetricBench, Raises, "test_each_reply_comes_to_its_verdict", {"reply": Reply.SERVER_ERROR}),
    (HookContract, HookBench, NeverRetries, "test_a_retry_that_passes_is_a_pass", {}),
    (HookContract, HookBench, TakesAnythingForAPass, "test_any_other_status_does_not_pass", {"status": 204}),
    (HookContract, HookBench, SaysNothing, "test_a_failure_has_the_receivers_words", {}),
    (NotifierContract, NotifierBench, HidesFailures, "test_a_notice_that_was_not_taken_is_an_error", {}),
    (NotifierContract, NotifierBench, LogsItsToken, "test_a_secret_is_in_no_error_log_or_repr", {}),
    *(
        (HookContract, HookBench, BelievesReceivers, *flaw)
        for flaw in (
            ("test_a_hostile_reply_ends_as_an_answer_of_one_short_line", {"reply": HostileReply.CONTROL_CHARACTERS}),
            ("test_a_hostile_reply_ends_as_an_answer_of_one_short_line", {"reply": HostileReply.UNKNOWN_CHARSET}),
            ("test_a_hostile_reply_ends_as_an_answer_of_one_short_line", {"reply": HostileReply.NOTHING}),
            ("test_no_reply_fills_the_memory", {"reply": HostileReply.GZIP_BOMB}),
            ("test_no_redirect_leads_to_another_origin", {"reply": HostileReply.FOREIGN_REDIRECT}),
            ("test_an_unusable_address_does_not_pass", {"url": "http://["}),
        )
    ),
    *(
        (NotifierContract, NotifierBench, BelievesRooms, *flaw)
        for flaw in (
            (f"{DELIVERED}_or_an_error_of_one_short_line", {"reply": HostileReply.CONTROL_CHARACTERS}),
            ("test_no_reply_fills_the_memory", {"reply": HostileReply.GZIP_BOMB}),
            ("test_no_redirect_leads_to_another_origin", {"reply": HostileReply.FOREIGN_REDIRECT_BY_GET}),
        )
    ),
]


@pytest.mark.parametrize(
    ("suite", "kind", "adapter", "test", "given"), FLAWS, ids=[f"{flaw[2].__name__}-{flaw[3]}" for flaw in FLAWS]
)
async def test_the_suite_catches(suite, kind, adapter, test, given, caplog):
    if "secret" in test:
        given = {**given, "caplog": caplog}
    with pytest.raises(
        (AssertionError, pytest.fail.Exception, WorldError, aiohttp.ClientError, ValueError, LookupError)
    ):
        await getattr(suite(), test)(bench(kind, adapter), **given)
    await asyncio.sleep(0)
