"""Rows that leave out looks of Flagger's which we do not take at all.

The scripted answers that were used up in them are taken out of the scripts before ours starts (`without_answers`).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from attrs import evolve

from tests.conformance.drivers.scripts import as_list
from tests.conformance.rows.case import Case, acted_between, asks_for_rollback, last_phase, route_patches, tells
from tests.conformance.story import Acted, Called, Checked, Stand, Story, Tick
from tests.conformance.trace import Trace


def threshold_in_the_same_cycle(case: Case) -> Case:
    """The look at which a threshold that was reached before is acted on: we roll back when it is reached."""
    ticks = [list(tick) for tick in case.expected.ticks]
    for place, tick in enumerate(ticks):
        if not tells(tick, r"Rolling back .* failed checks threshold reached"):
            continue
        reached = next(
            (at for at in range(place - 1, -1, -1) if any(isinstance(step, Stand) for step in ticks[at])), None
        )
        if reached is None or acted_between(ticks, reached, place):
            continue
        ticks[reached] = [step for step in ticks[reached] if not isinstance(step, Stand)]
        ticks[place] = [step for step in tick if not asks_for_rollback(case, step)]
    return evolve(case, expected=case.expected.with_steps(ticks))


def no_step_back_at_a_gate(case: Case) -> Case:
    """While a promotion gate is closed Flagger goes back an iteration, and every second look walks it again."""
    kept: list[Tick] = []
    phase = ""
    for tick in case.expected.ticks:
        again = tells(tick, r"Advance .* canary iteration") or tells(tick, r"Starting canary analysis")
        failed = tells(tick, r"Halt ")
        if not (phase == "WaitingPromotion" and again and not failed):
            kept.append(tick)
        phase = last_phase(tick, phase)
    return evolve(case, expected=_fewer(case, kept))


def weights_set_by_hand(case: Case) -> Case:
    """After somebody's change of the routes Flagger climbs again from there; we repair and go on."""
    kept: list[Tick] = []
    weight = disturbed = 0
    by_hand = route_patches(case.trace)
    for tick in case.expected.ticks:
        acted = next((step.number for step in tick if isinstance(step, Acted)), None)
        disturbed = weight if acted in by_hand else disturbed
        stand = next((step for step in tick if isinstance(step, Stand)), None)
        climbs_again = disturbed and stand is not None and stand.phase == "Progressing" and stand.weight <= disturbed
        if stand is not None and not climbs_again:
            disturbed = 0
        weight = stand.weight if stand is not None else weight
        if not (climbs_again and tells(tick, r"Advance .* canary weight")):
            kept.append(tick)
    return evolve(case, expected=_fewer(case, kept))


def _fewer(case: Case, kept: list[Tick]) -> Story:
    """With fewer looks ours gets further where a trace ends after a number of them."""
    shorter = len(kept) < len(case.expected.ticks)
    last = case.trace.actions[-1].get("wait", {}) if case.trace.actions else {}
    open_end = case.expected.open_end or (shorter and "ticks" in last)
    return evolve(case.expected.with_steps(kept), open_end=open_end)


def without_answers(trace: Trace, recorded: Story, kept: Story) -> Trace:
    """The trace's scripts without the answers that were used up in looks which are not in `kept`."""
    remaining = {id(step) for step in kept.steps}
    used: Counter[tuple[int, str]] = Counter()
    gone: dict[tuple[int, str], list[int]] = {}
    script = {"hook": -1, "prom": -1}  # the number of the action that set it last
    for step in recorded.steps:
        if isinstance(step, Acted):
            action = trace.actions[step.number]
            script["prom"] = step.number if "prom" in action else script["prom"]
        if isinstance(step, Called | Checked):
            key = (
                (script["prom"], step.rule)
                if isinstance(step, Checked)
                else (_hook_script(trace, recorded, step), step.hook)
            )
            if id(step) not in remaining:
                gone.setdefault(key, []).append(used[key])
            used[key] += 1
    actions = tuple(_trimmed(action, number, gone) for number, action in enumerate(trace.actions))
    start = _trimmed({"prom": trace.prom, "hooks": trace.hooks}, -1, gone)
    return evolve(trace, actions=actions, prom=tuple(start["prom"]), hooks=start["hooks"])


def _hook_script(trace: Trace, recorded: Story, call: Called) -> int:
    """The number of the action that gave this hook its answers last, before it was called."""
    number = -1
    for step in recorded.steps:
        if step is call:
            break
        if isinstance(step, Acted) and call.hook in trace.actions[step.number].get("hooks", {}):
            number = step.number
    return number


def _trimmed(holder: Any, number: int, gone: dict[tuple[int, str], list[int]]) -> Any:
    after = dict(holder)
    if "hooks" in holder:
        after["hooks"] = {
            name: _less(answers, gone.get((number, name), [])) for name, answers in holder["hooks"].items()
        }
    if "prom" in holder:
        after["prom"] = [
            {**rule, "answers": _less(rule["answers"], gone.get((number, rule["match"]), []))}
            for rule in holder["prom"]
        ]
    return after


def _less(answers: Any, places: list[int]) -> list[Any]:
    """The last answer stays, as it is repeated."""
    given = as_list(answers)
    return [answer for place, answer in enumerate(given) if place not in places or place == len(given) - 1]
