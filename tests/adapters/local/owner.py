"""A process that rehearses, for tests that kill it: `python owner.py FOLDER`. It writes notices to notices.jsonl."""

import asyncio
import json
import sys
from pathlib import Path

from canarycore import Check, CheckKind, Ladder, Rollout, TargetRef
from canarycore_local.processes.versions import Version
from canarycore_local.rehearsal import Script, Stage, rehearse
from canarycore_local.requests.generator import TrafficPlan
from canarycore_runtime import Runner

ROLLOUT = Rollout(
    name="podinfo",
    target=TargetRef(name="podinfo"),
    ladder=Ladder(step=20, top=60),
    interval=10.0,
    threshold=10,
    checks=(Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0, window=10.0),),
)
SCRIPT = Script(
    rollout=ROLLOUT,
    versions=(Version(label="v1"), Version(label="v2")),
    traffic=TrafficPlan(rate=50),
    speed=20,
)


class NoticeLog:
    """A notifier that appends to a file."""

    def __init__(self, folder):
        self.path = folder / "notices.jsonl"

    async def publish(self, rollout, notice):
        with self.path.open("a") as file:
            file.write(json.dumps([notice.kind.name, notice.key]) + "\n")


def stage(folder):
    return Stage(notifiers=(NoticeLog(folder),))


async def main(folder):
    async with rehearse(folder, SCRIPT, stage(folder)) as rehearsal, Runner(rehearsal.parts):
        await rehearsal.play()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
