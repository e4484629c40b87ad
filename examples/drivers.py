"""Three drivers of `cycle`: synchronous, asynchronous, and one turn a process. Replace `Platform` with yours.

`python examples/drivers.py` promotes a revision with each driver. `python examples/drivers.py FILE [REVISION]` runs one
turn, as cron or a request handler does; FILE is the platform of the example, and REVISION a deployment.
"""

import asyncio
import fcntl
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from canarycore import Check, CheckKind, Ladder, Observation, Rollout, Routes, Status, TargetRef, Workload, cycle
from canarycore.codec import from_json, to_json
from canarycore.driver import Apply, Commit, CycleMemory, CycleResult, Fetch, Observe, Observed, Publish, Request
from canarycore.effects import Initialise, Promote, ScaleDown, ScaleUp, SetRoutes
from canarycore.errors import WorldError
from canarycore.notices import Channel
from canarycore.questions import Answer, MetricAnswer, MetricQuestion, Question, SourcesAnswer

RATE = Check(name="success-rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0)
POLICY = Rollout(name="shop", target=TargetRef(name="shop"), ladder=Ladder(step=25, top=50), checks=(RATE,))

# ----------------------------------------------------------------------------------------------------------- drivers


def run_cycle(memory: CycleMemory, fulfil: Callable[[Request], object]) -> CycleResult:
    """Run one cycle. A WorldError of `fulfil` goes into the cycle, which returns it in its result."""
    requests = cycle(memory)
    try:
        request = next(requests)
        while True:
            try:
                reply = fulfil(request)
            except WorldError as error:
                request = requests.throw(error)
            else:
                request = requests.send(reply)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # a generator's result


async def run_cycle_async(memory: CycleMemory, fulfil: Callable[[Request], Awaitable[object]]) -> CycleResult:
    """Like `run_cycle`, for a platform with coroutines."""
    requests = cycle(memory)
    try:
        request = next(requests)
        while True:
            try:
                reply = await fulfil(request)
            except WorldError as error:
                request = requests.throw(error)
            else:
                request = requests.send(reply)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # a generator's result


def run_turn(path: Path, revision: str = "") -> CycleResult:
    """Run the turn of a process that ends with it. The memory of the last turn is beside the status."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one turn at a time, so no commit meets a conflict
        platform = Platform(path)
        platform.record["target"] = revision or platform.record["target"]
        memory = from_json(platform.record["memory"], CycleMemory)
        result = run_cycle(memory, platform.fulfil)
        platform.record["memory"] = to_json(memory)
        platform.record["now"] += POLICY.interval  # your platform has a clock: time.time()
        platform.save()
    return result


# ---------------------------------------------------------------------------------------------------------- platform


class Platform:
    """Stands for your platform: everything is in one record, and in a file if there is a path."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.record: dict[str, Any] = {
            "now": 0.0,
            "target": "v1",
            "replicas": 2,
            "primary": "",
            "routes": to_json(Routes()),
            "status": to_json(Status()),
            "memory": to_json(CycleMemory()),
        }
        if path is not None and path.exists():
            self.record = json.loads(path.read_text())

    def save(self) -> None:
        if self.path is not None:
            new = self.path.with_suffix(".new")
            new.write_text(json.dumps(self.record))
            new.replace(self.path)

    def fulfil(self, request: Request) -> object:
        record = self.record
        match request:
            case Observe():
                target, primary = observe(record["target"], record["replicas"]), observe(record["primary"], 2)
                routes = from_json(record["routes"], Routes)
                observation = Observation(now=record["now"], target=target, primary=primary, routes=routes)
                return Observed(POLICY, from_json(record["status"], Status), observation)
            case Fetch(questions):
                return {question.key: answer(question) for question in questions}
            case Commit(status):
                record["status"] = to_json(status)
            case Apply(SetRoutes(routes)):
                record["routes"] = to_json(routes)
            case Apply(Initialise(revision) | Promote(revision)):
                record["primary"] = revision
            case Apply(ScaleUp() | ScaleDown() as effect):
                record["replicas"] = 2 if isinstance(effect, ScaleUp) else 0
            case Publish(notice) if notice.channel is Channel.EVENT:
                print(f"{record['now']:4.0f}s  {notice.phase.value:<12}  {notice.text}")
        self.save()
        return None

    async def fulfil_async(self, request: Request) -> object:
        if not isinstance(request, Fetch):
            return self.fulfil(request)
        answers = await asyncio.gather(*(answer_async(question) for question in request.questions))
        return dict(zip([question.key for question in request.questions], answers, strict=True))


def observe(revision: str, count: int) -> Workload | None:
    pods = Workload(revision=revision, desired=count, updated=count, ready=count, total=count)
    return pods if revision else None


def answer(question: Question) -> Answer:
    return MetricAnswer(value=99.9) if isinstance(question, MetricQuestion) else SourcesAnswer()


async def answer_async(question: Question) -> Answer:
    await asyncio.sleep(0)  # a query of your metric provider
    return answer(question)


# ------------------------------------------------------------------------------------------------------------- lives

LIFE = ["v1"] * 5 + ["v2"] * 10
"""The deployed revision of each turn."""


def promote_sync() -> None:
    platform, memory = Platform(), CycleMemory()
    for turn, revision in enumerate(LIFE):
        platform.record |= {"now": turn * POLICY.interval, "target": revision}
        run_cycle(memory, platform.fulfil)


async def promote_async() -> None:
    platform, memory = Platform(), CycleMemory()
    for turn, revision in enumerate(LIFE):
        platform.record |= {"now": turn * POLICY.interval, "target": revision}
        await run_cycle_async(memory, platform.fulfil_async)


def promote_by_turns() -> None:
    with TemporaryDirectory() as folder:
        for revision in LIFE:
            run_turn(Path(folder, "shop.json"), revision)


if __name__ == "__main__":
    if sys.argv[1:]:
        run_turn(Path(sys.argv[1]), *sys.argv[2:])
    else:
        print("synchronous")
        promote_sync()
        print("asynchronous")
        asyncio.run(promote_async())
        print("one turn a process")
        promote_by_turns()
