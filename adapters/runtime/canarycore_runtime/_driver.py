"""The cycles of one rollout on the ports: each request of `canarycore.cycle` becomes calls of adapters.

    Observe   store, workload and router, at one moment
    Fetch     all questions at once, each in the lane of its namespace at its server
    Commit    the store, under the version that the cycle loaded
    Apply     the port's method that the table EFFECTS names
    Publish   every notifier

A cycle may stop between any two calls: the status is durable before its first effect, effects are end states, and
notices stay in the status until their delivery. A cancelled cycle finishes a write under way (`finish_write`), so that
its outcome is known.

Answers take time, and a decision must not rest on an observation that is older than its answers. So a cycle that has to
wait for an answer ends there, and another one observes again. It asks the same questions and finds their answers. A
change does not wait for a slow provider either: the next cycle begins at once, and finds its questions under way, or
decides without them (an abort, another revision) and drops them.

An effect that the cluster refuses for good is tried ever more rarely, and at once after a change. Until it succeeds,
the observation shows it as routes that are not in force: so it counts against the progress deadline, and the rollout
ends as its policy says.

A question without a free slot has no answer, and neither has one whose adapter raised an error or answered with another
type. The cycle ends there as Unanswered, a trouble and no verdict, and the runner asks again after a back-off. Only a
provider's own failure, which its adapter returns as an answer, is a failed check.

Each error of a port is a trouble in the log (`TroubleLog`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from attrs import Factory, define, evolve, field, frozen

from canarycore import Phase, RouteRefusal, cycle
from canarycore.driver import Apply, Commit, CycleMemory, CycleResult, Fetch, Observe, Observed, Publish
from canarycore.effects import (
    Initialise,
    PauseScaler,
    Promote,
    Resize,
    Restore,
    RestorePrimary,
    ResumeScaler,
    ScaleDown,
    ScaleUp,
    SetRoutes,
)
from canarycore.errors import Refused, Unanswered, WorldError
from canarycore.manifest import problems
from canarycore.phases import ACTIVE
from canarycore.questions import HookAnswer, HookQuestion, MetricAnswer, MetricQuestion, SourcesAnswer, SourcesQuestion
from canarycore.text import LONGEST_TEXT, enumerate_some
from canarycore_runtime._calls import (
    AdapterFault,
    Limits,
    call_port,
    call_port_detached,
    check_type,
    describe,
    finish_write,
)
from canarycore_runtime.deliveries import Deliveries
from canarycore_runtime.ports import (
    HOOK_RETRIES,
    HOOK_TIMEOUT,
    Addressed,
    Broadcaster,
    ResizableWorkload,
    StoredRollout,
    observe_rollout,
)
from canarycore_runtime.reporting.troubles import COMMIT, TroubleLog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable

    from canarycore import Observation, Rollout, Status
    from canarycore.driver import Request
    from canarycore.effects import Effect
    from canarycore.notices import Notice
    from canarycore.questions import Answer, Question
    from canarycore_runtime._slots import RunnerCapacity
    from canarycore_runtime.ports import Adapters


class GoneError(Exception):
    """The store no longer has the rollout."""


class LookAgainError(Exception):
    """Time passed while the cycle waited for an answer, so another cycle is due now."""


class UndeliveredError(WorldError):
    """A notifier did not take a notice. It gets another attempt, and the rollout goes on meanwhile."""


@define(eq=False)
class Driver:
    """The cycles of one rollout, one at a time. The memory between them only saves repeats."""

    key: str
    """The key of the rollout, `namespace/name`."""

    parts: Adapters
    limits: Limits
    capacity: RunnerCapacity
    """The slots of all rollouts of the runner."""

    group: asyncio.TaskGroup
    """The tasks of questions, which outlive a cycle."""

    refuse: Literal["error", "warning"] | None = None
    """The lowest severity of a finding that refuses the rollout; None refuses none."""

    troubles: TroubleLog = Factory(lambda self: TroubleLog(self.key), takes_self=True)
    memory: CycleMemory = Factory(CycleMemory)
    changed: asyncio.Event = Factory(asyncio.Event)
    """Set after a change, so that a cycle waits for no answer."""

    observed: Observed | None = None
    """The observation of the last cycle."""

    began: float = 0.0
    """When the last cycle got its slot (seconds since the epoch)."""

    _accepted: Rollout | None = None
    """The last rollout without a refused finding."""

    _version: str = ""
    """The version of the status that the last cycle loaded."""

    _question_tasks: dict[Question, asyncio.Task[Answer | Unanswered]] = Factory(dict)
    """By question, without the question's key: a poll has another key each time."""

    _deliveries: dict[str, tuple[Deliveries, ...]] = Factory(dict)
    """By the key of a notice and the place of a notifier, for notices that some receiver lacks."""

    _tried_notices: set[str] = Factory(set)
    """The keys of the notices that this cycle published or tried to."""

    _failed_notifiers: set[int] = Factory(set)
    """The places of the notifiers that failed in this cycle."""

    _refused: RefusedEffect | None = None
    """The effect that the cluster refused in the last cycle."""

    _is_refused_again: bool = False
    """Whether this cycle met that refusal, or another one."""

    _has_slot: bool = field(default=False, init=False)

    async def drive(self) -> CycleResult:
        """Run one cycle. It holds a slot of `capacity.cycles`, except while it waits for answers and notifiers.

        Raises WorldError when the rollout could not be observed, GoneError when the store lacks it, and LookAgainError
        after a wait for answers.
        """
        self.changed.clear()
        self._failed_notifiers, self._tried_notices = set(), set()
        self._is_refused_again = False
        try:
            await self._enter()
            self.began = self.parts.clock()
            result = await self._serve_requests(cycle(self.memory))
        finally:
            self._leave()
        self.drop_questions()
        if result.decision is not None:
            if self._refused is not None and not self._is_refused_again:
                self._refused = None
                self.changed.set()  # this cycle decided under a refusal that is over
            missing = self._tried_notices - self.memory.published
            self._deliveries = {key: self._deliveries[key] for key in missing}
        return result

    async def _serve_requests(self, requests: Generator[Request, object, CycleResult]) -> CycleResult:
        try:
            request = next(requests)
            while True:
                try:
                    answer = await _SERVICES[type(request)](self, request)
                except WorldError as trouble:
                    request = requests.throw(trouble)
                else:
                    request = requests.send(answer)
        except StopIteration as end:
            result: CycleResult = end.value
            return result
        finally:
            requests.close()

    def retry_refused(self) -> None:
        """Try a refused effect again in the next cycle: something has changed."""
        if self._refused is not None:
            self._refused = evolve(self._refused, retry_at=0.0)

    def drop_questions(self) -> None:
        """Cancel the questions under way: no decision needs their answers."""
        for task in self._question_tasks.values():
            task.cancel()
        self._question_tasks.clear()

    # slots ------------------------------------------------------------------------------------------------------

    async def _enter(self) -> None:
        await self.capacity.cycles.acquire(self._namespace)
        self._has_slot = True

    def _leave(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self.capacity.cycles.release(self._namespace)

    # requests, in the order of a cycle --------------------------------------------------------------------------

    async def observe(self, _: Observe) -> Observed:
        parts, seconds = self.parts, self.limits.call
        now = self.limits.now(parts.clock())
        watch = self.troubles.watch
        with watch("store.load"):
            stored = await call_port(seconds, parts.store.load, self.key)
            check_type("store.load", stored, StoredRollout, type(None))
        if stored is None:
            raise GoneError(self.key)
        self.troubles.begin_revision(stored.status.applied)
        world = await observe_rollout(parts, stored, now=now, call_limit=seconds, watch=watch)
        if not world.is_deleted:
            with watch("policy"):
                self._check_policy(stored.rollout)
        self._version = stored.version
        if self._refused is not None:
            world = self._refused.show(stored.status, world)
        self.observed = Observed(stored.rollout, stored.status, world)
        return self.observed

    def _check_policy(self, rollout: Rollout) -> None:
        """Raise Refused for a rollout that the router cannot route, or with a finding of the refused severity."""
        if rollout.ladder.tenths and not getattr(self.parts.router, "takes_tenths", False):
            raise Refused(
                "Rollout.ladder.tenths: found True, expected False: the router takes whole percent. Remove tenths, "
                "or use a router with takes_tenths (canarycore_runtime.FineRouter)."
            )
        if rollout.ladder.sizes and not isinstance(self.parts.workload, ResizableWorkload):
            raise Refused(
                "Rollout.ladder.steps: found a size, expected none: the workload port scales the canary to its owner's "
                "number only. Remove size, or use a port with resize (canarycore_runtime.ResizableWorkload)."
            )
        if self.refuse is None or rollout == self._accepted:
            return
        severities = {"error"} if self.refuse == "error" else {"error", "warning"}
        refused = [str(problem) for problem in problems(rollout) if problem.severity in severities]
        if refused:
            raise Refused(f"the runner refuses the rollout: {enumerate_some(refused, '; ', longest=LONGEST_TEXT)}")
        self._accepted = rollout

    async def fetch(self, fetch: Fetch) -> dict[str, Answer]:
        """Return the answers. Raises LookAgainError after a wait for them, Unanswered for a held question."""
        tasks = {}
        for question in fetch.questions:
            keyless = evolve(question, key="")  # a poll of a slow hook has another key each time
            if keyless not in self._question_tasks:
                self._question_tasks[keyless] = self.group.create_task(self._ask(question))
            tasks[question.key] = self._question_tasks[keyless]
        if not all(task.done() for task in tasks.values()):
            self._leave()
            await self._wait_for_answers_or_change(tasks.values())
            raise LookAgainError(self.key)
        answers = {}
        for key, task in tasks.items():
            answer = task.result()
            if isinstance(answer, Unanswered):
                raise answer
            answers[key] = answer
        return answers

    async def _wait_for_answers_or_change(self, tasks: Iterable[asyncio.Task[Answer | Unanswered]]) -> None:
        answers = asyncio.ensure_future(asyncio.wait(tasks))
        change = asyncio.ensure_future(self.changed.wait())
        try:
            await asyncio.wait({answers, change}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answers.cancel()
            change.cancel()

    async def _ask(self, question: Question) -> Answer | Unanswered:
        """Return the provider's answer, a failure of the provider included, or Unanswered where there is none."""
        rollout, route = self._rollout, _QUESTION_ROUTES[type(question)]
        try:
            with self.troubles.watch(route.port):
                server = await route.find_server(self, rollout, question)
                async with self.capacity.questions.slot(rollout.namespace, server):
                    answer = await route.ask(self, rollout, question)
                _check_answer(route.port, answer, question.answer)
        except Unanswered as unanswered:
            return unanswered
        except Exception as error:  # noqa: BLE001 - an error of the task would end the group, and all rollouts
            held = Unanswered(describe(error))
            held.__cause__ = error
            return held
        return cast("Answer", answer)

    async def commit(self, commit: Commit) -> None:
        with self.troubles.watch(COMMIT):
            write = call_port(self.limits.call, self.parts.store.commit, self.key, commit.status, self._version)
            await finish_write(write)

    async def apply(self, apply: Apply) -> None:
        effect, before, now = apply.effect, self._refused, self.parts.clock()
        if before is not None and before.effect != effect:
            before = None
        if before is not None and now < before.retry_at:
            self._is_refused_again = True
            raise before.error.with_traceback(None)
        try:
            for port, method, *arguments in EFFECTS[type(effect)](effect):
                with self.troubles.watch(f"{port}.{method}"):
                    write = getattr(getattr(self.parts, port), method)
                    await finish_write(call_port(self.limits.call, write, self._rollout, *arguments))
        except Refused as error:
            attempts = 1 if before is None else before.attempts + 1
            since = now if before is None else before.since
            retry_at = now + self.limits.refusal_delay(attempts)
            self._refused = RefusedEffect(effect, error, since=since, attempts=attempts, retry_at=retry_at)
            self._is_refused_again = True
            raise

    async def publish(self, publish: Publish) -> None:
        """Publish a notice by each notifier that has not completed it. Raises UndeliveredError when one fails."""
        notice = publish.notice
        self._tried_notices.add(notice.key)
        if notice.key not in self._deliveries:
            self._deliveries[notice.key] = tuple(Deliveries() for _ in self.parts.notifiers)
        deliveries = self._deliveries[notice.key]
        missing = [place for place, delivery in enumerate(deliveries) if not delivery.is_complete]
        self._leave()
        errors = await asyncio.gather(*(self._deliver(place, notice, deliveries[place]) for place in missing))
        await self._enter()
        if any(errors):
            raise UndeliveredError("; ".join(str(error) for error in errors if error is not None))

    async def _deliver(self, place: int, notice: Notice, deliveries: Deliveries) -> WorldError | None:
        """Publish a notice by one notifier; one that failed in this cycle waits for the next."""
        notifier, seconds = self.parts.notifiers[place], self.limits.publish
        name = type(notifier).__name__
        if place in self._failed_notifiers:
            return UndeliveredError(f"{name} failed a moment ago")
        try:
            if isinstance(notifier, Broadcaster):
                send = partial(call_port_detached, seconds, notifier.broadcast, self._rollout, notice, deliveries)
            else:
                send = partial(call_port_detached, seconds, notifier.publish, self._rollout, notice)
            async with self.capacity.notices.slot(self._namespace, f"{name} {place}"):
                with self.troubles.watch(f"notifiers[{place}]"):
                    await send()
        except WorldError as error:
            self._failed_notifiers.add(place)
            return error
        deliveries.is_complete = True
        return None

    @property
    def _namespace(self) -> str:
        return self.key.partition("/")[0]

    @property
    def _rollout(self) -> Rollout:
        assert self.observed is not None, "a cycle begins with an observation"
        return self.observed.rollout


@frozen
class RefusedEffect:
    """An effect that the cluster refuses, and will refuse until somebody changes it."""

    effect: Effect
    error: Refused

    since: float = field(kw_only=True)
    """When it was refused first (seconds since the epoch)."""

    attempts: int = field(kw_only=True)
    """The refused attempts."""

    retry_at: float = field(kw_only=True)
    """When to try again, unless something changes before (seconds since the epoch)."""

    def show(self, status: Status, observation: Observation) -> Observation:
        """Return the observation with the refusal in it, in the phases where it counts against the deadline."""
        is_counted = status.phase in ACTIVE or (status.phase in _ROUTED and isinstance(self.effect, SetRoutes))
        if observation.refusal is not None or not is_counted:
            return observation
        refusal = RouteRefusal(str(self.error), since=self.since, routes=observation.routes)
        return evolve(observation, routes=None, refusal=refusal)


_ROUTED = frozenset({Phase.INITIALIZING, Phase.PROMOTING})
"""Phases that report refused routes, beside those of an analysis."""


_SERVICES: dict[type[Request], Callable[[Driver, Any], Awaitable[object]]] = {
    Observe: Driver.observe,
    Fetch: Driver.fetch,
    Commit: Driver.commit,
    Apply: Driver.apply,
    Publish: Driver.publish,
}


# --------------------------------------------------------------------------------------------------------- questions


def _check_answer(port: str, answer: object, expected: type[Answer]) -> None:
    """Raise AdapterFault if a part of an adapter's answer has another type than expected."""
    check_type(port, answer, expected)
    for name, (is_sound, expectation) in _FIELDS.items():
        if hasattr(answer, name) and not is_sound(value := getattr(answer, name)):
            found = f"{expected.__name__}.{name} of type {type(value).__name__}"
            raise AdapterFault(f"{port} answered with {found}, expected {expectation}")


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_str(value: object) -> bool:
    return isinstance(value, str)


def _is_number_or_none(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):  # a bool is an int in Python
        return value is None
    try:
        float(value)
    except OverflowError:
        return False
    return True


_FIELDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "passed": (_is_bool, "a bool"),
    "text": (_is_str, "a str"),
    "value": (_is_number_or_none, "a float or None"),
    "samples": (_is_number_or_none, "a float or None"),
    "error": (_is_str, "a str"),
}
"""The check of each field of an answer, and the name of the expected type in messages."""


@frozen
class _QuestionRoute:
    """The way to ask one kind of question."""

    find_server: Callable[[Driver, Rollout, Any], Awaitable[str]]
    """Return the name of the server, whose lane the question waits in."""

    ask: Callable[[Driver, Rollout, Any], Awaitable[object]]
    """Ask the adapter."""

    port: str
    """The name of the port's method."""


async def _metric_server(driver: Driver, rollout: Rollout, question: MetricQuestion) -> str:
    source, check = driver.parts.metrics, question.check
    if isinstance(source, Addressed):
        return f"metrics of {await call_port_detached(driver.limits.call, source.server, rollout, check)}"
    if check.template is not None:
        reference = check.template
        kind = f"{reference.kind} " if reference.kind else ""
        return f"metrics of {kind}{reference.namespace or rollout.namespace}/{reference.name}"
    return f"metrics of {rollout.provider}"


async def _hook_server(_: Driver, __: Rollout, question: HookQuestion) -> str:
    return f"hooks of {_authority(question.hook.url)}"


async def _sources_server(_: Driver, rollout: Rollout, __: SourcesQuestion) -> str:
    """Return the lane of the namespace: the sources of a rollout may be several servers."""
    return f"metric sources of namespace {rollout.namespace}"


def _authority(url: str) -> str:
    """Return the host and port of a URL, without its user and password, which are secret."""
    return url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2].lower()


def _query(driver: Driver, rollout: Rollout, question: MetricQuestion) -> Awaitable[MetricAnswer]:
    return call_port_detached(driver.limits.call, driver.parts.metrics.query, rollout, question)


def _call_hook(driver: Driver, rollout: Rollout, question: HookQuestion) -> Awaitable[HookAnswer]:
    hook = question.hook
    attempts = min(hook.timeout, HOOK_TIMEOUT) * (1 + min(hook.retries, HOOK_RETRIES))
    return call_port_detached(attempts + driver.limits.call, driver.parts.hooks.call, rollout, question)


async def _ask_sources(driver: Driver, rollout: Rollout, _: SourcesQuestion) -> SourcesAnswer:
    return SourcesAnswer(error=await call_port_detached(driver.limits.call, driver.parts.metrics.online, rollout))


_QUESTION_ROUTES: dict[type[Question], _QuestionRoute] = {
    MetricQuestion: _QuestionRoute(_metric_server, _query, "metrics.query"),
    HookQuestion: _QuestionRoute(_hook_server, _call_hook, "hooks.call"),
    SourcesQuestion: _QuestionRoute(_sources_server, _ask_sources, "metrics.online"),
}


# ----------------------------------------------------------------------------------------------------------- effects


EFFECTS: dict[type[Effect], Callable[[Any], tuple[tuple[Any, ...], ...]]] = {
    Initialise: lambda effect: (("workload", "initialise", effect.revision),),
    SetRoutes: lambda effect: (("router", "set_routes", effect.routes),),
    ScaleUp: lambda _: (("workload", "scale_up"),),
    Resize: lambda effect: (("workload", "resize", effect.replicas),),
    ScaleDown: lambda _: (("workload", "scale_down"),),
    PauseScaler: lambda _: (("workload", "pause_scaler"),),
    ResumeScaler: lambda _: (("workload", "resume_scaler"),),
    Promote: lambda effect: (("workload", "promote", effect.revision),),
    RestorePrimary: lambda effect: (("workload", "restore_primary", effect.revision),),
    # routes first: the primary still serves while the router restores them
    Restore: lambda _: (("router", "restore"), ("workload", "restore")),
}
"""The calls that apply an effect, in order: the port, its method, and the arguments after the rollout."""
