"""A rollout of a feature flag by OpenFeature's flagd: 0.1 % of the users, 20 %, everybody, or nobody.

flagd reads flags from a JSON file. The flag's `fractional` rule gives each user a variant by a hash of the user's key,
so a user who has the candidate keeps it while its share grows. This program writes the weights of that rule. A
promotion makes the candidate the default variant: no copy of anything starts.

    python examples/feature_flag.py FLAGS.json FLAG ADDRESS

FLAGS.json is the file that flagd reads, FLAG the key of the flag, and ADDRESS flagd's address for its remote evaluation
protocol (OFREP), such as http://127.0.0.1:8016. The flag's owner names the candidate in the flag's metadata:
`"metadata": {"candidate": "blue"}`. The program ends when the rollout of this candidate has ended.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from in_memory import MemoryStore, NoHooks, Printer

from canarycore import Check, CheckKind, Ladder, Phase, Rollout, Routes, TargetRef
from canarycore.errors import Refused, WorldError
from canarycore.notices import NoticeKind
from canarycore.questions import MetricAnswer, MetricQuestion
from canarycore_runtime import Adapters, InstantWorkload, Runner

TEXTS = {
    NoticeKind.INITIALIZED: "The flag {name} has its first variant",
    NoticeKind.NEW_REVISION: "The flag {name} has a candidate",
    NoticeKind.ADVANCED_WEIGHT: "{0} % of the users get the candidate",
    NoticeKind.COPYING: "The candidate becomes the default",
    NoticeKind.SUCCEEDED: "All users keep the candidate",
    NoticeKind.FAILED: "All users are back at the default",
}


def policy(flag: str) -> Rollout:
    """Return the policy of a flag: 0.1 %, 20 %, and then all users, an interval of a second each."""
    return Rollout(
        name=flag,
        target=TargetRef(kind="Flag", name=flag),
        provider="flagd",
        ladder=Ladder(steps=(1, 200), tenths=True, in_place=True),
        checks=(Check(name="evaluations", kind=CheckKind.SUCCESS_RATE, minimum=100.0),),
        interval=1.0,
        drain=0.0,
        texts=TEXTS,
    )


class FlagFile:
    """The JSON file of flagd. Others may edit the other flags: each write begins with a read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, flag: str) -> dict[str, Any]:
        """Return a flag. Raises WorldError if the file or the flag is missing or broken."""
        try:
            found = json.loads(self.path.read_text())["flags"][flag]
        except (OSError, ValueError, KeyError) as error:
            raise WorldError(f"{self.path.name}: found no flag {flag} ({error!r}), expected flagd's JSON") from error
        return dict(found)

    def write(self, flag: str, changes: dict[str, Any]) -> None:
        """Change fields of a flag. flagd sees the old file or the new one, and never a part."""
        content = json.loads(self.path.read_text())
        content["flags"][flag] |= changes
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(content, indent=2))
        draft.replace(self.path)


class Variants(InstantWorkload):
    """The variants of a flag: the default one is stable, and the metadata names the candidate."""

    def __init__(self, file: FlagFile) -> None:
        super().__init__()
        self.file, self.observed = file, ""

    async def candidate(self, rollout: Rollout) -> str:
        flag = self.file.read(rollout.name)
        named = flag.get("metadata", {}).get("candidate", "")
        if named and named not in flag["variants"]:
            raise WorldError(
                f"the flag {rollout.name} has no variant {named}, expected one of {list(flag['variants'])}"
            )
        self.observed = named or flag["defaultVariant"]
        return self.observed

    async def stable(self, rollout: Rollout) -> str:
        return str(self.file.read(rollout.name)["defaultVariant"])

    async def set_stable(self, rollout: Rollout, revision: str) -> None:
        self.file.write(rollout.name, {"defaultVariant": revision})

    async def restorable(self, rollout: Rollout) -> tuple[str, ...]:
        return tuple(self.file.read(rollout.name)["variants"])  # flagd keeps all of them


class FractionRouter:
    """The port Router: the weights of the flag's `fractional` rule, in tenths of a percent."""

    takes_tenths = True

    def __init__(self, variants: Variants) -> None:
        self.variants, self.file = variants, variants.file

    async def observe(self, rollout: Rollout) -> Routes:
        rule = self.file.read(rollout.name).get("targeting", {}).get("fractional")
        return Routes(weight=int(rule[0][1]), tenths=True) if rule else Routes()

    async def set_routes(self, rollout: Rollout, routes: Routes) -> None:
        """Set the share. The candidate is the observed one: no user gets a newer one by its analysis."""
        if routes.mirrored or routes.matched:
            raise Refused(f"found {routes}, expected weights only: a flag has no mirror")
        stable = await self.variants.stable(rollout)
        shares = [[self.variants.observed, routes.permille], [stable, 1000 - routes.permille]]
        self.file.write(rollout.name, {"targeting": {"fractional": shares} if routes.weight else {}})

    async def restore(self, rollout: Rollout) -> None:
        await self.set_routes(rollout, Routes())


class Evaluations:
    """The port MetricSource: whether flagd evaluates the flag. Yours asks for the errors of the candidate's users."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def query(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        del question
        try:
            answers = [await asyncio.to_thread(evaluate, self.address, rollout.name, f"probe-{n}") for n in range(20)]
        except OSError as error:
            return MetricAnswer(error=str(error))
        return MetricAnswer(value=100.0 * sum(map(bool, answers)) / len(answers), samples=len(answers))

    async def online(self, rollout: Rollout) -> str:
        del rollout
        return ""


def evaluate(address: str, flag: str, user: str) -> str:
    """Return the variant of a user, by OFREP; empty if flagd refuses to evaluate the flag."""
    body = json.dumps({"context": {"targetingKey": user}}).encode()
    request = Request(f"{address}/ofrep/v1/evaluate/flags/{flag}", body, {"Content-Type": "application/json"})  # noqa: S310 - the owner's address
    try:
        with urlopen(request, timeout=5) as answer:  # noqa: S310
            return str(json.load(answer)["variant"])
    except HTTPError:
        return ""


async def main(path: Path, flag: str, address: str) -> Phase:
    """Run the rollout of the flag's candidate to its end; return its phase."""
    rollout, file = policy(flag), FlagFile(path)
    store, variants = MemoryStore(rollout), Variants(file)
    parts = Adapters(
        store=store,
        workload=variants,
        router=FractionRouter(variants),
        metrics=Evaluations(address),
        hooks=NoHooks(),
        notifiers=(Printer(),),
        clock=time.time,
    )
    async with Runner(parts):
        while True:
            (status,) = (record.status for record in store.records.values())
            is_over = status.phase in (Phase.INITIALIZED, Phase.SUCCEEDED, Phase.FAILED) and status.is_settled
            if is_over and status.applied == await variants.candidate(rollout):
                print(f"outcome: {status.phase.value}, {await variants.stable(rollout)} is the default")
                return status.phase
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: feature_flag.py FLAGS.json FLAG ADDRESS")
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
