"""One rollout's cycles over the ports: each request of `canarycore.cycle` becomes calls of adapters.

    Observe   store, workload and router, at one moment
    Fetch     all questions at once, each in the lane of its namespace at its server
    Commit    the store, under the version that was loaded
    Apply     the port's method that the table EFFECTS names
    Publish   every notifier

Why stopping anywhere is safe: the status is durable before its first effect, effects state an end state, and notices
stay in the status until they are told. So a cycle may be dropped between any two calls; a write under way is carried
to its end first (`whole`), so that its outcome is known.

Answers take time, and nothing may be decided from a view that is older than its answers. So a cycle that has to wait
for an answer ends there, and the next one looks again: when the answers are in, it finds them as it asks the same. A
change of the world does not wait for a slow provider either: the next cycle looks at once, and finds its questions
still under way, or decides otherwise (an abort, another revision) and drops them.

A question that could not be put, as its lane did not come free or as its adapter said so, has no answer. The cycle
ends there as Unanswered, which is a trouble and no verdict, and the question is put again after a back-off.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from attrs import Factory, define, evolve, field, frozen

from canarycore import cycle
from canarycore.driver import Apply, Commit, CycleMemory, CycleResult, Fetch, Observe, Observed, Publish
from canarycore.effects import (
    Initialise,
    PauseScaler,
    Promote,
    Restore,
    RestorePrimary,
    ResumeScaler,
    ScaleDown,
    ScaleUp,
    SetRoutes,
)
from canarycore.errors import Unanswered, WorldError
from canarycore.questions import HookAnswer, HookQuestion, MetricAnswer, MetricQuestion, SourcesAnswer, SourcesQuestion
from canarycore_runtime._calls import Limits, call, call_detached, describe, whole
from canarycore_runtime.deliveries import Deliveries
from canarycore_runtime.observation import observe_rollout
from canarycore_runtime.ports import HOOK_RETRIES, HOOK_TIMEOUT, Addressed, Broadcaster

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable

    from canarycore import Rollout
    from canarycore.driver import Request
    from canarycore.effects import Effect
    from canarycore.notices import Notice
    from canarycore.questions import Answer, Question
    from canarycore_runtime._slots import Capacity
    from canarycore_runtime.ports import Adapters


class GoneError(Exception):
    """The store no longer has the rollout."""


class LookAgainError(Exception):
    """Time has passed over a question, nothing was decided: another cycle is due now."""


class UndeliveredError(WorldError):
    """A notifier did not take a notice. It is told again; the rollout goes on meanwhile."""


@define(eq=False)
class Driver:
    """Drives one rollout's cycles, one at a time. What it keeps between them only saves repeats.

    changed: set by who knows of a change. seen: what the last cycle saw. began: when it got its slot (seconds).
    """

    key: str
    parts: Adapters
    limits: Limits
    capacity: Capacity
    group: asyncio.TaskGroup
    memory: CycleMemory = Factory(CycleMemory)
    changed: asyncio.Event = Factory(asyncio.Event)
    seen: Observed | None = None
    began: float = 0.0
    _version: str = ""
    _asked: dict[Question, asyncio.Task[Answer | Unanswered]] = Factory(dict)
    _deliveries: dict[str, tuple[Deliveries, ...]] = Factory(dict)
    """By the key of a notice and the place of a notifier, for notices that some receiver lacks."""

    _tried_notices: set[str] = Factory(set)
    """The keys of the notices that this cycle published or tried to."""

    _failed_notifiers: set[int] = Factory(set)
    """The places of the notifiers that failed in this cycle."""

    _has_slot: bool = field(default=False, init=False)

    async def drive(self) -> CycleResult:
        """One cycle. The caller has taken no slot; one is held while anything but an answer is awaited.

        Raises WorldError when the rollout could not be observed, GoneError, and LookAgainError.
        """
        self.changed.clear()
        self._failed_notifiers, self._tried_notices = set(), set()
        try:
            await self._enter()
            self.began = self.parts.clock()
            rest = await self._answer_all(cycle(self.memory))
        finally:
            self._leave()
        self.drop_questions()
        if rest.decision is not None:
            missing = self._tried_notices - self.memory.published
            self._deliveries = {key: self._deliveries[key] for key in missing}
        return rest

    async def _answer_all(self, requests: Generator[Request, object, CycleResult]) -> CycleResult:
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
            rest: CycleResult = end.value
            return rest
        finally:
            requests.close()

    def drop_questions(self) -> None:
        """No decision waits for their answers any more."""
        for task in self._asked.values():
            task.cancel()
        self._asked.clear()

    # slots ------------------------------------------------------------------------------------------------------

    async def _enter(self) -> None:
        await self.capacity.cycles.acquire(self._namespace)
        self._has_slot = True

    def _leave(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self.capacity.cycles.release(self._namespace)

    # services, in a cycle's order -------------------------------------------------------------------------------

    async def observe(self, _: Observe) -> Observed:
        parts, seconds = self.parts, self.limits.call
        now = self.limits.now(parts.clock())
        stored = await call(seconds, parts.store.load, self.key)
        if stored is None:
            raise GoneError(self.key)
        world = await observe_rollout(parts, stored, now=now, call_limit=seconds)
        self._version = stored.version
        self.seen = Observed(stored.rollout, stored.status, world)
        return self.seen

    async def fetch(self, fetch: Fetch) -> dict[str, Answer]:
        """A question is told from others by what it asks: its key tells the poll too, which moves while one waits."""
        tasks = {}
        for question in fetch.questions:
            asked = evolve(question, key="")
            if asked not in self._asked:
                self._asked[asked] = self.group.create_task(self._ask(question))
            tasks[question.key] = self._asked[asked]
        if not all(task.done() for task in tasks.values()):
            self._leave()
            await self._answered_or_changed(tasks.values())
            raise LookAgainError(self.key)
        answers = {}
        for key, task in tasks.items():
            answer = task.result()
            if isinstance(answer, Unanswered):
                raise answer
            answers[key] = answer
        return answers

    async def _answered_or_changed(self, tasks: Iterable[asyncio.Task[Answer | Unanswered]]) -> None:
        answered = asyncio.ensure_future(asyncio.wait(tasks))
        changed = asyncio.ensure_future(self.changed.wait())
        try:
            await asyncio.wait({answered, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answered.cancel()
            changed.cancel()

    async def _ask(self, question: Question) -> Answer | Unanswered:
        """The provider's answer. Whatever goes wrong is an answer too, unless the question could not be put."""
        rollout, way = self._rollout, _QUESTION_ROUTES[type(question)]
        try:
            server = await way.server(self, rollout, question)
            async with self.capacity.questions.slot(rollout.namespace, server):
                answer = await way.put(self, rollout, question)
        except Unanswered as held:
            return held
        except WorldError as error:
            return way.failed(_text(error))
        except Exception as error:  # noqa: BLE001 - in a task of the group, it would end all rollouts
            return way.failed(f"the question could not be put: {describe(error)}")
        wrong = _wrong_in(answer, question.answer)
        return way.failed(f"its adapter answered with {wrong}") if wrong else cast("Answer", answer)

    async def commit(self, commit: Commit) -> None:
        await whole(call(self.limits.call, self.parts.store.commit, self.key, commit.status, self._version))

    async def apply(self, apply: Apply) -> None:
        for port, *given in EFFECTS[type(apply.effect)](self.parts, apply.effect):
            await whole(call(self.limits.call, port, self._rollout, *given))

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
        notifier, seconds = self.parts.notifiers[place], self.limits.tell
        name = type(notifier).__name__
        if place in self._failed_notifiers:
            return UndeliveredError(f"{name} failed a moment ago")
        try:
            async with self.capacity.notices.slot(self._namespace, f"{name} {place}"):
                if isinstance(notifier, Broadcaster):
                    await call_detached(seconds, notifier.broadcast, self._rollout, notice, deliveries)
                else:
                    await call_detached(seconds, notifier.publish, self._rollout, notice)
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
        assert self.seen is not None, "nothing is asked or done before the first look"
        return self.seen.rollout


_SERVICES: dict[type[Request], Callable[[Driver, Any], Awaitable[object]]] = {
    Observe: Driver.observe,
    Fetch: Driver.fetch,
    Commit: Driver.commit,
    Apply: Driver.apply,
    Publish: Driver.publish,
}


# --------------------------------------------------------------------------------------------------------- questions


def _text(error: WorldError) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - whatever an adapter's error raises
        return type(error).__name__


def _wrong_in(answer: object, expected: type[Answer]) -> str:
    """Say which part of an adapter's answer is not of its type, and which type is expected; empty when all are."""
    if not isinstance(answer, expected):
        return f"{type(answer).__name__}, expected {expected.__name__}"
    for name, (is_sound, expectation) in _FIELDS.items():
        if hasattr(answer, name) and not is_sound(value := getattr(answer, name)):
            return f"{expected.__name__}.{name} of type {type(value).__name__}, expected {expectation}"
    return ""


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_str(value: object) -> bool:
    return isinstance(value, str)


def _is_number_or_none(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):  # Python takes a bool for a number
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
"""Whether a field of an answer is as it must be, and how a message calls that."""


@frozen
class _QuestionRoute:
    """How a kind of question is put: at which server, to whom, and what stands for a failure."""

    server: Callable[[Driver, Rollout, Any], Awaitable[str]]
    put: Callable[[Driver, Rollout, Any], Awaitable[object]]
    failed: Callable[[str], Answer]


async def _metric_server(driver: Driver, rollout: Rollout, question: MetricQuestion) -> str:
    source, check = driver.parts.metrics, question.check
    if isinstance(source, Addressed):
        return f"metrics of {await call_detached(driver.limits.call, source.server, rollout, check)}"
    if check.template is not None:
        return f"metrics of {check.template.namespace or rollout.namespace}/{check.template.name}"
    return f"metrics of {rollout.provider}"


async def _hook_server(_: Driver, __: Rollout, question: HookQuestion) -> str:
    return f"hooks of {_authority(question.hook.url)}"


async def _every_server(_: Driver, rollout: Rollout, __: SourcesQuestion) -> str:
    """The sources of a rollout may be several servers: the lane is that of its namespace."""
    return f"metric sources of namespace {rollout.namespace}"


def _authority(url: str) -> str:
    """The host and port of a URL, without a user's name or a password, which are nobody's business."""
    return url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2].lower()


def _query(driver: Driver, rollout: Rollout, question: MetricQuestion) -> Awaitable[MetricAnswer]:
    return call_detached(driver.limits.call, driver.parts.metrics.query, rollout, question)


def _call_hook(driver: Driver, rollout: Rollout, question: HookQuestion) -> Awaitable[HookAnswer]:
    hook = question.hook
    attempts = min(hook.timeout, HOOK_TIMEOUT) * (1 + min(hook.retries, HOOK_RETRIES))
    return call_detached(attempts + driver.limits.call, driver.parts.hooks.call, rollout, question)


async def _ask_sources(driver: Driver, rollout: Rollout, _: SourcesQuestion) -> SourcesAnswer:
    return SourcesAnswer(error=await call_detached(driver.limits.call, driver.parts.metrics.online, rollout))


_QUESTION_ROUTES: dict[type[Question], _QuestionRoute] = {
    MetricQuestion: _QuestionRoute(_metric_server, _query, lambda text: MetricAnswer(error=text)),
    HookQuestion: _QuestionRoute(_hook_server, _call_hook, lambda text: HookAnswer(passed=False, text=text)),
    SourcesQuestion: _QuestionRoute(_every_server, _ask_sources, lambda text: SourcesAnswer(error=text)),
}


# ----------------------------------------------------------------------------------------------------------- effects


EFFECTS: dict[type[Effect], Callable[[Adapters, Any], tuple[tuple[Any, ...], ...]]] = {
    Initialise: lambda parts, effect: ((parts.workload.initialise, effect.revision),),
    SetRoutes: lambda parts, effect: ((parts.router.set_routes, effect.routes),),
    ScaleUp: lambda parts, _: ((parts.workload.scale_up,),),
    ScaleDown: lambda parts, _: ((parts.workload.scale_down,),),
    PauseScaler: lambda parts, _: ((parts.workload.pause_scaler,),),
    ResumeScaler: lambda parts, _: ((parts.workload.resume_scaler,),),
    Promote: lambda parts, effect: ((parts.workload.promote, effect.revision),),
    RestorePrimary: lambda parts, effect: ((parts.workload.restore_primary, effect.revision),),
    # routes first: while they are given back, the primary still serves
    Restore: lambda parts, _: ((parts.router.restore,), (parts.workload.restore,)),
}
"""Which calls carry an effect out, in order: the port's method, and what it is given after the rollout."""
