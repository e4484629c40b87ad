"""Defects to plant, one at a time: each must make a test fail.

    python tests/planted/planted.py [NAME…] [--json]

A defect is a text of the core and what stands in its place. The runner copies the tree, puts one in, and runs the fast
tests of the core and of conformance there: first the file that is known to catch it, then all. It prints a table and
exits with 1 when one survives; that is a claim which no test makes yet.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import asdict, frozen

ROOT = Path(__file__).parents[2]
PARTS = ("canarycore", "tests", "docs", "examples", "pyproject.toml")
SUITES = ("tests/core", "tests/conformance")
AT_ONCE = 2
"""Copies under test at the same time: one per core of a small machine."""

PATIENCE = 300.0
"""Seconds after which a run counts as failed: a defect may well make the core go round in circles."""


@frozen
class Defect:
    """`old`, found exactly once in `file`, becomes `new`. `caught_by`: the test file that fails first."""

    name: str
    file: str
    old: str
    new: str
    caught_by: str


@frozen(kw_only=True)
class Outcome:
    """caught: whether a test failed. test: the first that did."""

    name: str
    caught: bool
    test: str


def _core(name: str, file: str, old: str, new: str, caught_by: str) -> Defect:
    return Defect(name, f"canarycore/{file}", old, new, f"tests/core/{caught_by}")


DEFECTS: tuple[Defect, ...] = (
    # ---------------------------------------------------------------------------------- what is durable, and when
    _core("skip the commit", "_cycle.py", "            yield Commit(after)\n", "            pass\n", "test_ladder.py"),
    _core(
        "effects before the commit",
        "_cycle.py",
        "        try:\n            yield Commit(after)\n",
        "        yield from _apply(converge(goal(rollout, after), world).effects, suspended=False)\n"
        "        try:\n            yield Commit(after)\n",
        "test_ladder.py",
    ),
    _core(
        "go on after a conflict",
        "_cycle.py",
        "            return Rest(None, world.now, (), (conflict,))\n",
        "            del conflict\n",
        "test_world.py",
    ),
    _core(
        "notices are not committed",
        "_cycle.py",
        "decision.status.but(outbox=durable)",
        "decision.status",
        "test_notices.py",
    ),
    _core(
        "what was told is not remembered",
        "_cycle.py",
        "            memory.published.add(notice.key)\n",
        "            pass\n",
        "test_notices.py",
    ),
    _core(
        "effects go on after one that failed",
        "_cycle.py",
        "            return done, [trouble]\n",
        "            continue\n",
        "test_world.py",
    ),
    _core(
        "a suspended rollout still converges",
        "_cycle.py",
        "    if suspended:\n        return done, []\n",
        "    del suspended\n",
        "test_commands.py",
    ),
    # ------------------------------------------------------------------------------------------- what is promoted
    _core(
        "promote what the target carries now",
        "_goal.py",
        "        return False, Promote(goal.primary) if _carries(world.target, goal.primary) else None\n",
        "        return False, Promote(world.target.revision) if world.target is not None else None\n",
        "test_goal.py",
    ),
    _core(
        "a revision that arrives before the promotion is ignored",
        "_decide.py",
        "        elif target.revision != status.applied:\n            return withdraw(case)",
        "        elif not target.revision:\n            return withdraw(case)",
        "test_table.py",
    ),
    _core(
        "withdraw is not recognised",
        "_decide.py",
        "    if target.revision != status.applied:\n"
        "        return withdraw(case) if target.revision == status.promoted else restart(case)\n"
        "    if case.poll",
        "    if target.revision != status.applied:\n        return restart(case)\n    if case.poll",
        "test_defects.py",
    ),
    _core(
        "a revision is lost in Failed",
        "_decide.py",
        "        if status.phase is Phase.FAILED and target.revision == status.promoted:\n",
        "        if status.phase is Phase.FAILED:\n",
        "test_defects.py",
    ),
    _core(
        "the previous revision is forgotten",
        "_decide.py",
        "        previous=status.promoted,\n",
        "        previous=status.previous,\n",
        "test_goal.py",
    ),
    _core(
        "the promotion steps never end",
        "_decide.py",
        "    if ladder.step_back and rung.exposed:\n"
        "        case.tell(Tell.PRIMARY_WEIGHT, str(100 - weight))\n"
        "        if weight > 0:\n",
        "    if ladder.step_back:\n"
        "        case.tell(Tell.PRIMARY_WEIGHT, str(100 - weight))\n"
        "        if weight >= 0:\n",
        "test_defects.py",
    ),
    # ---------------------------------------------------------------------------------------------- what a pass is
    _core(
        "no data passes",
        "_analysis.py",
        "    if value is None:\n        return Judgement(check, Verdict.NO_DATA, answer)\n",
        "    if value is None:\n        return Judgement(check, Verdict.PASS, answer)\n",
        "test_analysis.py",
    ),
    _core(
        "not a number passes",
        "_analysis.py",
        "Verdict.NO_DATA if isnan(value) else Verdict.ERROR",
        "Verdict.PASS",
        "test_analysis.py",
    ),
    _core("few samples pass", "_analysis.py", "    if min_samples and (", "    if not check and (", "test_analysis.py"),
    _core("the upper bound itself fails", "_analysis.py", "value > high)", "value >= high)", "test_analysis.py"),
    _core(
        "failed checks are forgotten",
        "_climb.py",
        "    failed = case.status.failed_checks + 1\n",
        "    failed = 1\n",
        "test_analysis.py",
    ),
    _core(
        "failed checks count double",
        "_climb.py",
        "    failed = case.status.failed_checks + 1\n",
        "    failed = case.status.failed_checks + 2\n",
        "test_notices.py",
    ),
    _core(
        "the threshold is off by one",
        "_climb.py",
        "    if failed >= case.rollout.threshold:\n",
        "    if failed > case.rollout.threshold:\n",
        "test_notices.py",
    ),
    _core(
        "holding never ends",
        "_climb.py",
        "    if rollout.inconclusive_limit and holds >= rollout.inconclusive_limit:\n",
        "    if rollout.inconclusive_limit and holds > 2 * rollout.inconclusive_limit:\n",
        "test_analysis.py",
    ),
    _core(
        "gates are asked before metrics",
        "_climb.py",
        "    outcome = (yield from _checking_hooks(case, kind)) if",
        "    outcome = yield from _gates(case)\n    outcome = outcome or (yield from _checking_hooks(case, kind)) if",
        "test_notices.py",
    ),
    _core(
        "a failed hook lets the rung pass",
        "_climb.py",
        "            case.tell(failed, hook.name, answer.text)\n            return _halt(case)\n",
        "            case.tell(failed, hook.name, answer.text)\n            return None\n",
        "test_notices.py",
    ),
    # ------------------------------------------------------------------------------------------------ when, and how
    _core(
        "an analysis does not wait for the interval",
        "_decide.py",
        "        return case.wait(Rule.NOT_DUE, case.next_poll)\n    if rollout.skip_analysis:\n",
        "        pass\n    if rollout.skip_analysis:\n",
        "test_ladder.py",
    ),
    _core(
        "the progress deadline never comes",
        "_case.py",
        "        return self.world.now + EPSILON >= since + self.rollout.progress_deadline\n",
        "        return self.world.now < 0 < since\n",
        "test_defects.py",
    ),
    _core(
        "a pause is not kept",
        "_decide.py",
        "    if status.paused:\n        return case.wait(Rule.ON_HOLD, None)\n    if not case.poll:\n",
        "    if not case.poll:\n",
        "test_commands.py",
    ),
    _core(
        "a command is handled twice",
        "_commands.py",
        "paused=True, handled=command.id",
        "paused=True",
        "test_commands.py",
    ),
    _core(
        "an off-list weight jumps to 100",
        "_ladder.py",
        "next((weight for weight in self.steps if weight > rung.weight), None)",
        "next((b for a, b in zip((0, *self.steps), self.steps, strict=False) if a == rung.weight), "
        "None if rung.weight in {*self.steps[-1:], TOTAL} else TOTAL)",
        "test_ladder.py",
    ),
    _core(
        "rollback hooks are asked only when all is ready",
        "_decide.py",
        "    if case.poll and not status.paused and rollout.hooks_by_type[HookType.ROLLBACK]:\n",
        "    if case.poll and not status.paused and in_step(rollout, status, case.world):\n",
        "test_defects.py",
    ),
    _core(
        "post-rollout hooks are dropped",
        "_moves.py",
        "(Pending.HOOKS, Pending.SETTLE) if rollout.hooks_by_type[HookType.POST_ROLLOUT] else (Pending.SETTLE,)",
        "(Pending.SETTLE,) if rollout else ()",
        "test_notices.py",
    ),
    # ----------------------------------------------------------------------------------------- capacity and traffic
    _core(
        "scale down before the routes",
        "_goal.py",
        "    if routes is None or routes.exposed or world.now < goal.until or primary",
        "    if world.now < goal.until or primary",
        "test_goal.py",
    ),
    _core(
        "the drain is ignored",
        "_goal.py",
        "    if routes is None or routes.exposed or world.now < goal.until or primary",
        "    if routes is None or routes.exposed or primary",
        "test_goal.py",
    ),
    _core(
        "traffic goes to a canary that is not ready",
        "_goal.py",
        "    if wanted.exposed and not canary_runs:\n",
        "    if wanted.exposed and world.target is None:\n",
        "test_goal.py",
    ),
    _core(
        "roll back onto a primary that carries the rejected revision",
        "_goal.py",
        "        primary=status.promoted,\n        sound=",
        "        primary=status.promoted,\n        sound=False and ",
        "test_faults.py",
    ),
    _core(
        "traffic stays with a primary that is gone",
        "_goal.py",
        "        if not (canary_runs and goal.failover):\n",
        "        if goal.failover or not canary_runs:\n",
        "test_defects.py",
    ),
    _core(
        "an unready primary does not halt",
        "_decide.py",
        "    outcome = _side_unready(case, world.primary, rollout.primary_ready, is_primary=True) or _side_unready(\n"
        "        case, target, rollout.canary_ready, is_primary=False\n    )\n",
        "    outcome = _side_unready(case, target, rollout.canary_ready, is_primary=False)\n",
        "test_defects.py",
    ),
    _core(
        "idle is enforced",
        "_goal.py",
        "        canary=Scale.LEAVE if status.settled else Scale.DOWN,\n        until=status.drain_until,\n    )\n\n\n"
        "def _failed",
        "        canary=Scale.DOWN,\n        until=status.drain_until,\n    )\n\n\ndef _failed",
        "test_goal.py",
    ),
    _core(
        "the session cookie is never taken back",
        "_goal.py",
        "    return Routes(expired=status.applied)\n",
        "    return PRIMARY_ONLY\n",
        "test_goal.py",
    ),
    _core(
        "a deleted rollout does not wait for its target",
        "_goal.py",
        "        if (not target.has_capacity or unready(target, goal.ready)) and world.now < goal.until:\n",
        "        if world.now < 0:\n",
        "test_goal.py",
    ),
)


def plant(defect: Defect | None) -> Outcome:
    """Copy the tree, put the defect in, and see whether a test fails. None: as it is; then no test may fail."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        _copy(tree)
        if defect is not None:
            file = tree / defect.file
            file.write_text(changed(file.read_text(encoding="utf-8"), defect), encoding="utf-8")
        return _outcome(defect, tree)


def changed(text: str, defect: Defect) -> str:
    """The text with the defect; ValueError when it no longer stands where it was."""
    found = text.count(defect.old)
    if found != 1:
        raise ValueError(
            f"{defect.name!r}: {defect.file} holds its text {found} times, expected once; put the list right"
        )
    return text.replace(defect.old, defect.new)


def _copy(tree: Path) -> None:
    tree.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, tree / part, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
        elif source.exists():
            shutil.copy2(source, tree / part)
    if (ROOT.parent / "shared").exists():
        (tree.parent / "shared").symlink_to(ROOT.parent / "shared")


def _outcome(defect: Defect | None, tree: Path) -> Outcome:
    name, first = ("nothing", []) if defect is None else (defect.name, [defect.caught_by])
    env = {**os.environ, "PYTHONPATH": str(tree), "HYPOTHESIS_PROFILE": "dev", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider"]
    for suite in [*first, *SUITES]:
        try:
            run = subprocess.run(
                [*command, suite], cwd=tree, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            return Outcome(name=name, caught=True, test=f"{suite} (it never ended)")
        if run.returncode not in {_PASSED, _NOTHING_COLLECTED}:
            return Outcome(name=name, caught=True, test=_first_failure(run.stdout) or suite)
    return Outcome(name=name, caught=False, test="")


_PASSED, _NOTHING_COLLECTED = 0, 5
"""Exit codes of pytest."""


def _first_failure(output: str) -> str:
    failed = (line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR ")))
    return next(failed, "").partition(" ")[2].partition(" - ")[0]


def main() -> int:
    """Plant all, or those that are named."""
    parser = argparse.ArgumentParser(description="Plant one defect at a time; each must make a test fail.")
    parser.add_argument("name", nargs="*", help="plant only these")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    wanted = parser.parse_args()
    defects = [defect for defect in DEFECTS if not wanted.name or defect.name in wanted.name]
    sound = plant(None)
    if sound.caught:
        sys.exit(f"without any defect {sound.test} fails already: put that right first")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        survived = 0
        for outcome in pool.map(plant, defects):
            survived += not outcome.caught
            sys.stdout.write((json.dumps(asdict(outcome)) if wanted.json else _row(outcome)) + "\n")
            sys.stdout.flush()
    return 1 if survived else 0


def _row(outcome: Outcome) -> str:
    return f"{'caught' if outcome.caught else 'SURVIVED':9}{outcome.name:62}{outcome.test}"


if __name__ == "__main__":
    sys.exit(main())
