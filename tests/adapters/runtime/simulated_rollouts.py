"""Parts of the runner's tests: rollouts, simulated clusters with a diary, adapters that fail for one rollout."""

import asyncio

from attrs import evolve

from canarycore import Check, CheckKind, Hook, HookType, Ladder, Rollout, Status, TargetRef
from canarycore.effects import Effect
from canarycore.errors import WorldError
from canarycore.notices import Notice
from canarycore.questions import HookQuestion
from canarycore.simulation import Deploy
from canarycore_runtime import Adapters
from canarycore_runtime.testing import SimulatedClusters, key_of

RATE = Check(name="rate", kind=CheckKind.SUCCESS_RATE, minimum=99)
GATE = Hook(name="gate", type=HookType.CONFIRM_PROMOTION, url="http://gates/promotion")
SMOKE = Hook(name="smoke", type=HookType.PRE_ROLLOUT, url="http://tests/smoke", timeout=600)

KEY = "default/podinfo"


def rollout(name: str = "podinfo", **fields) -> Rollout:
    """Return a rollout with an interval of ten seconds, two rungs and one check."""
    settings = {"ladder": Ladder(step=30, top=60), "interval": 10, "threshold": 2, "checks": (RATE,), **fields}
    return Rollout(name=name, target=TargetRef(name=name), **settings)


class Diary(SimulatedClusters):
    """Simulated clusters that record the time of each write."""

    def __init__(self, *args, **kwargs) -> None:
        self.entries: list[tuple[float, str, object]] = []
        super().__init__(*args, **kwargs)
        self.log = _TimedLog(self.entries, self._loop.time)

    def of_key(self, key: str, kind: type | tuple[type, ...] = object) -> list[tuple[float, object]]:
        return [(time, write) for time, owner, write in self.entries if owner == key and isinstance(write, kind)]

    def story(self, key: str) -> list[tuple[float, str]]:
        """Return the time (seconds), phase and rung of each commit."""
        return [(time, f"{status.phase.value} {status.rung}") for time, status in self.of_key(key, Status)]

    def steps(self, key: str) -> list[str]:
        """Return the phase and rung of each commit."""
        return [step for _, step in self.story(key)]

    def effects(self, key: str) -> list[tuple[float, Effect]]:
        return [entry for entry in self.of_key(key) if not isinstance(entry[1], Status | Notice | HookQuestion)]

    def told(self, key: str) -> list[str]:
        return [notice.key for _, notice in self.of_key(key, Notice)]


class _TimedLog(list):
    def __init__(self, entries, clock) -> None:
        super().__init__()
        self._entries, self._clock = entries, clock

    def append(self, entry) -> None:
        super().append(entry)
        self._entries.append((self._clock(), *entry))


def named(count: int, **fields) -> list[Rollout]:
    return [rollout(f"app-{number}", **fields) for number in range(count)]


def deployed(*rollouts: Rollout) -> Diary:
    """Return clusters whose targets have v1."""
    return Diary(rollouts, do=[Deploy("v1")])


async def passes(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def release(clusters: SimulatedClusters, revision: str = "v2") -> None:
    """Wait until all rollouts are initialised, and deploy a new revision to each."""
    await passes(30)
    for key in clusters.keys:
        clusters.do(key, Deploy(revision))


class Instead:
    """An adapter whose calls for one rollout go to a replacement."""

    def __init__(self, inner, key, instead, only: str = "") -> None:
        self._inner, self._key, self._instead, self._only = inner, key, instead, only

    def __getattr__(self, name):
        method = getattr(self._inner, name)

        async def call(*args):
            about = bool(args) and self._key in (args[0], key_of(args[0]) if isinstance(args[0], Rollout) else None)
            if about and self._only in ("", name):
                return await self._instead(method, *args)
            return await method(*args)

        return call


def instead(parts: Adapters, port: str, key: str, what, only: str = "") -> Adapters:
    """Return the adapters, with calls of one port for the rollout `key` replaced by `what(method, *args)`."""
    if port == "notifiers":
        return evolve(parts, notifiers=tuple(Instead(one, key, what, only) for one in parts.notifiers))
    return evolve(parts, **{port: Instead(getattr(parts, port), key, what, only)})


async def hang(method, *args):
    await asyncio.Event().wait()


class _WordlessError(Exception):
    def __str__(self):
        raise ValueError("no text")


async def break_off_without_words(method, *args):
    raise _WordlessError


async def break_off(method, *args):
    raise RuntimeError("it broke")


async def refuse(method, *args):
    raise WorldError("status 500")


async def cancel_itself(method, *args):
    raise asyncio.CancelledError


async def answer_rubbish(method, *args):
    return "rubbish"


def slowly(seconds: float):
    async def wait(method, *args):
        await asyncio.sleep(seconds)
        return await method(*args)

    return wait
