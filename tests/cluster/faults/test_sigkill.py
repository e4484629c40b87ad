"""A killed controller, right before or after any of its writes, has a successor that continues.

    a canary is initialised, or a revision is promoted, or one is rolled back; and for each write i of that
        kill -9 the controller before the API server gets write i      (then it never does)
        kill -9 the controller after the API server has carried it out (then nobody hears the answer)
        start another one, and let the rollout end

Controllers are real processes. Each rollout ends as one that nobody disturbed, and is watched version by version.

Writes are counted as a proxy sees them, from the first to the one that a rollout no longer has. Lanes do this beside
each other: lane k of n takes the writes k, k+n, k+2n and so on, one rollout after the other on the same canary; only an
initialisation takes a new canary each time. One test kills before the odd writes and after the even ones, which is each
write once; the other one, in the session `sweep`, does it the other way round.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from enum import StrEnum
from itertools import count, product
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from attrs import define, field, frozen

from canarycore_planes.control_plane.plane import Plane
from tests.cluster.rollouts import (
    BAD,
    FIRST,
    GOOD,
    Controllers,
    Measured,
    bring,
    controllers,
    create,
    ended,
    hastened,
    measured,
)
from tests.cluster.watcher import Watcher, looks, violations, watching
from tests.controlplane.proxy import WRITES, Fault, Harm, Passage, Proxy, proxied

LANES = 6
"""For each part; an even number, so that a lane's writes are all odd or all even."""

LEAST = 12
"""Writes that each part has at least."""

PATIENCE = 120.0


class Moment(StrEnum):
    """When the controller is killed."""

    BEFORE = "before it is carried out"
    AFTER = "before it is answered"


class Part(StrEnum):
    """The part of a rollout at the time of a kill."""

    INITIALISE = "initialise"
    PROMOTE = "promote"
    ROLL_BACK = "roll back"


@frozen(kw_only=True)
class Killed:
    """One kill, and how the rollout ended. write: what the controller was doing; empty where it had ended before."""

    part: Part
    moment: Moment
    number: int
    write: str
    state: Mapping[str, object]


@frozen(kw_only=True)
class Sweep:
    """The parts that all lanes share, and their results."""

    plane: Plane
    watcher: Watcher
    server: Measured
    controllers: Controllers
    killed: list[Killed] = field(factory=list)
    wrong: list[str] = field(factory=list)


# ---------------------------------------------------------------------------------------------------------- the lanes


@frozen(kw_only=True)
class Lane:
    """Which writes are killed at: the first, and every so many after it."""

    part: Part
    moment: Moment
    first: int
    step: int


async def drive(sweep: Sweep, lane: Lane) -> None:
    """Kill at the lane's writes, until a rollout has no such write."""
    canary: Canary | None = None
    for number in count(lane.first, lane.step):
        canary = canary or await Canary.begun(sweep, lane.part)
        killed = await canary.killed(lane.part, lane.moment, number)
        sweep.killed.append(killed)
        if lane.part is Part.INITIALISE or not killed.write:
            await canary.end()
            canary = None
        if not killed.write:
            return


@define
class Canary:
    """One canary, and its controllers, one after the other."""

    sweep: Sweep
    proxy: Proxy
    stack: ExitStack
    namespace: str
    process: BaseProcess
    revision: int = 1
    write: str = ""
    _at: int = 0
    _moment: Moment = Moment.BEFORE

    @classmethod
    async def begun(cls, sweep: Sweep, part: Part) -> Canary:
        """A canary that is ready for this part."""
        namespace, stack = f"killed-{uuid.uuid4().hex[:8]}", ExitStack()
        proxy = stack.enter_context(proxied(sweep.plane.api.access))
        canary = cls(sweep, proxy, stack, namespace, sweep.controllers.start(namespace, proxy))
        proxy.before_write = lambda passage: canary._sees(passage, Moment.BEFORE)
        proxy.after_write = lambda passage: canary._sees(passage, Moment.AFTER)
        if part is not Part.INITIALISE:
            await canary._initialised()
        return canary

    async def killed(self, part: Part, moment: Moment, number: int) -> Killed:
        """Do this part, and be killed at the write of this number."""
        self._at, self._moment, self.write = self.proxy.writes + number, moment, ""
        lost = Fault(Harm.LOSE, methods=tuple(WRITES), skip=number - 1)
        self.proxy.inject(*([lost] if moment is Moment.BEFORE else []))
        if part is Part.INITIALISE:
            await self._initialised()
        else:
            self.revision += 1
            self.sweep.server.values[self.namespace] = BAD if part is Part.ROLL_BACK else GOOD
            await asyncio.to_thread(bring, self.sweep.plane.api, self.namespace, f"podinfo:{self.revision}")
            await self._ended(f"podinfo:{self.revision}")
        self.proxy.inject()
        state = looks(self.sweep.watcher.stand(self.namespace))
        return Killed(part=part, moment=moment, number=number, write=self.write, state=state)

    async def end(self) -> None:
        """Nothing of it is left; what was wrong is noted."""
        self.process.kill()
        self.process.join()
        self.stack.close()
        answers = self.sweep.server.answers.get(self.namespace, ())
        found = violations(self.sweep.watcher.versions(self.namespace), answers)
        self.sweep.wrong.extend(f"{self.namespace}: {one}" for one in found)
        await asyncio.to_thread(self.sweep.plane.api.delete, f"/api/v1/namespaces/{self.namespace}")

    async def _initialised(self) -> None:
        await asyncio.to_thread(create, self.sweep.plane.api, self.namespace)
        await self._ended(FIRST)

    async def _ended(self, image: str) -> None:
        """The rollout has; whenever the controller has died, another one is started."""
        end = time.monotonic() + PATIENCE
        while not ended(image)(self.sweep.watcher.stand(self.namespace)):
            self.sweep.watcher.works()
            assert time.monotonic() < end, f"{self.namespace}: {self.write} was its last: {self._stands()}"
            if not self.process.is_alive():
                self.process = self.sweep.controllers.start(self.namespace, self.proxy)
            await asyncio.sleep(0.05)

    def _stands(self) -> str:
        stand = self.sweep.watcher.stand(self.namespace)
        return f"{stand.status}; told: {stand.times_told}"

    def _sees(self, passage: Passage, moment: Moment) -> None:
        """In the proxy's thread, while the controller waits for the answer to its write."""
        if passage.number == self._at and moment is self._moment:
            self.write = f"{passage.method} {passage.path}"
            self.process.kill()
            wait([self.process.sentinel])


# --------------------------------------------------------------------------------------------------------- the tests


def swept(plane: Plane, folder: Path, lanes: Iterable[Lane]) -> Sweep:
    """All lanes, beside each other."""

    async def run(sweep: Sweep) -> None:
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(drive(sweep, lane))

    with hastened(), ExitStack() as stack:
        watcher = stack.enter_context(watching(plane.api.access))
        server = stack.enter_context(measured())
        processes = stack.enter_context(controllers(plane, server.url, folder))
        sweep = Sweep(plane=plane, watcher=watcher, server=server, controllers=processes)
        asyncio.run(run(sweep))
    return sweep


@pytest.mark.parametrize("odd", [Moment.BEFORE, pytest.param(Moment.AFTER, marks=pytest.mark.sweep)])
def test_a_controller_may_be_killed_at_any_write_and_nothing_is_lost(odd: Moment, plane: Plane, tmp_path: Path):
    even = Moment.AFTER if odd is Moment.BEFORE else Moment.BEFORE
    lanes = [
        Lane(part=part, moment=odd if first % 2 else even, first=first, step=LANES)
        for part, first in product(Part, range(1, LANES + 1))
    ]
    sweep = swept(plane, tmp_path, lanes)
    undisturbed = {one.part: one.state for one in sweep.killed if not one.write}
    assert sweep.wrong == []
    assert [one for one in sweep.killed if one.state != undisturbed[one.part]] == []
    for part in Part:
        killed = {one.number for one in sweep.killed if one.part is part and one.write}
        assert killed >= set(range(1, LEAST + 1))
