"""A rehearsal through the library: Envoy, two versions of a service, real requests; a promotion and then a rollback.

The policy comes from a Canary manifest. All processes run on this machine and end with the program.
"""

import asyncio
import tempfile
from pathlib import Path

from canarycore import Phase, Rollout
from canarycore.manifest import load, resolve
from canarycore.notices import Channel, Notice
from canarycore_local.processes.faults import Faults
from canarycore_local.processes.versions import Version
from canarycore_local.rehearsal import Script, Stage, rehearse
from canarycore_local.requests.generator import TrafficPlan
from canarycore_runtime import Runner

CANARY = Path(__file__).parent / "manifests" / "eks-gitops-appmesh" / "canary.yaml"
V1 = Version(label="v1")
GOOD = Version(label="v2")
BAD = Version(label="v3", faults=Faults(errors=20))


class Printer:
    """A notifier that prints the events in Flagger's words."""

    async def publish(self, rollout: Rollout, notice: Notice) -> None:
        del rollout
        if notice.channel is Channel.EVENT:
            print(f"  {notice.phase.value:<12} {notice.text}")


async def roll_out(old: Version, new: Version) -> Phase:
    """Run one rollout from `old` to `new`; return its last phase."""
    rollout = resolve(load([(CANARY.name, CANARY.read_text())]).canaries[0])
    script = Script(rollout=rollout, versions=(old, new), traffic=TrafficPlan(rate=200), speed=10)
    with tempfile.TemporaryDirectory() as folder:
        async with rehearse(Path(folder), script, Stage(notifiers=(Printer(),))) as rehearsal:
            async with Runner(rehearsal.parts):
                status = await rehearsal.play()
            total = rehearsal.generator.total
            print(f"{total.requests} requests, {total.bad} bad; reason: {status.reason.value}")
            return status.phase


async def main() -> None:
    """Promote a good version, then roll a bad one back."""
    for old, new in ((V1, GOOD), (GOOD, BAD)):
        print(f"{old.label} to {new.label}, faults: {str(new.faults) or 'none'}")
        phase = await roll_out(old, new)
        print(f"outcome: {phase.value}")


if __name__ == "__main__":
    asyncio.run(main())
