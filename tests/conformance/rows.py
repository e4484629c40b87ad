"""The differences from Flagger, each tied to a row of docs/differences.md by its id.

A row rewrites what was recorded into what we promise instead, or takes out what only we say; then both stories must be
the same. So a row is no licence to differ: where it applies, doing as Flagger did is a failure too. Rows look at what
happens in a story, never at the name of a scenario. They are applied in the order of `ROWS`, and a row is used when it
changes anything.

Rows in `DROPPING` leave out looks that we do not take at all; the scripted answers that were used up in them are taken
out of the scripts before ours starts (`without_answers`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attrs import evolve, field, frozen

from canarycore import Tell
from canarycore.errors import Problem
from tests.conformance.scripts import as_list
from tests.conformance.story import Acted, Alerted, Called, Checked, Stand, Step, Story, Tick, Told
from tests.conformance.trace import Trace, rule_for, url_tail


@frozen(kw_only=True)
class Case:
    """A trace with both stories. `expected` starts as what was recorded."""

    trace: Trace
    expected: Story
    found: Story = Story(())
    refused: tuple[Problem, ...] = ()
    hooks: dict[str, frozenset[str]] = field(init=False)

    @hooks.default
    def _hooks_by_type(self) -> dict[str, frozenset[str]]:
        """URL tails of the canary's webhooks by type."""
        analysis = self.trace.canary["spec"].get("analysis") or self.trace.canary["spec"].get("canaryAnalysis") or {}
        found: dict[str, set[str]] = {}
        for hook in analysis.get("webhooks", ()):
            found.setdefault(hook.get("type", "rollout"), set()).add(url_tail(hook["url"]))
        return {kind: frozenset(names) for kind, names in found.items()}

    def of_type(self, kind: str) -> frozenset[str]:
        return self.hooks.get(kind, frozenset())


Row = Callable[[Case], Case]


def explain(case: Case, rows: Iterable[tuple[str, Row]]) -> tuple[Case, tuple[str, ...]]:
    """The case after all rows, and the ids of those that changed it."""
    used: list[str] = []
    for name, row in rows:
        after = row(case)
        if (after.expected, after.found) != (case.expected, case.found) and name not in used:
            used.append(name)
        case = after
    return case, tuple(used)


# --------------------------------------------------------------------------------------------------------- ours only


def _pattern(tell: Tell) -> re.Pattern[str]:
    parts = re.split(r"\{\w+\}", tell.value.template)
    return re.compile(".*".join(map(re.escape, parts)), re.DOTALL)


def only_ours(*tells: Tell) -> Row:
    """Texts that Flagger does not have, and that change nothing else."""
    patterns = [_pattern(tell) for tell in tells]

    def is_one(step: Step) -> bool:
        return isinstance(step, Told | Alerted) and any(pattern.fullmatch(step.text) for pattern in patterns)

    return lambda case: evolve(case, found=_without(case.found, is_one))


# --------------------------------------------------------------------------------------- looks that we do not take


def threshold_in_the_same_cycle(case: Case) -> Case:
    """The look at which a threshold that was reached before is acted on: we roll back when it is reached."""
    ticks = [list(tick) for tick in case.expected.ticks]
    for place, tick in enumerate(ticks):
        if not _tells(tick, r"Rolling back .* failed checks threshold reached"):
            continue
        reached = next((at for at in range(place - 1, -1, -1) if any(isinstance(step, Stand) for step in ticks[at])), None)
        if reached is None or _acted_between(ticks, reached, place):
            continue
        ticks[reached] = [step for step in ticks[reached] if not isinstance(step, Stand)]
        ticks[place] = [step for step in tick if not _asks_for_rollback(case, step)]
    return evolve(case, expected=case.expected.with_steps(ticks))


def no_step_back_at_a_gate(case: Case) -> Case:
    """While a promotion gate is closed Flagger goes back an iteration, and every second look walks it again."""
    kept: list[Tick] = []
    phase = ""
    for tick in case.expected.ticks:
        again = _tells(tick, r"Advance .* canary iteration") or _tells(tick, r"Starting canary analysis")
        failed = _tells(tick, r"Halt ")
        if not (phase == "WaitingPromotion" and again and not failed):
            kept.append(tick)
        phase = _last_phase(tick, phase)
    return evolve(case, expected=case.expected.with_steps(kept))


def weights_set_by_hand(case: Case) -> Case:
    """After somebody's change of the routes Flagger climbs again from there; we repair and go on."""
    kept: list[Tick] = []
    weight = disturbed = 0
    by_hand = _route_patches(case.trace)
    for tick in case.expected.ticks:
        acted = next((step.number for step in tick if isinstance(step, Acted)), None)
        disturbed = weight if acted in by_hand else disturbed
        stand = next((step for step in tick if isinstance(step, Stand)), None)
        climbs_again = disturbed and stand is not None and stand.phase == "Progressing" and stand.weight <= disturbed
        if stand is not None and not climbs_again:
            disturbed = 0
        weight = stand.weight if stand is not None else weight
        if not (climbs_again and _tells(tick, r"Advance .* canary weight")):
            kept.append(tick)
    return evolve(case, expected=case.expected.with_steps(kept))


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
            key = (script["prom"], step.rule) if isinstance(step, Checked) else (_hook_script(trace, recorded, step), step.hook)
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
        after["hooks"] = {name: _less(answers, gone.get((number, name), [])) for name, answers in holder["hooks"].items()}
    if "prom" in holder:
        after["prom"] = [
            {**rule, "answers": _less(rule["answers"], gone.get((number, rule["match"]), []))} for rule in holder["prom"]
        ]
    return after


def _less(answers: Any, places: list[int]) -> list[Any]:
    """The last answer stays, as it is repeated."""
    given = as_list(answers)
    return [answer for place, answer in enumerate(given) if place not in places or place == len(given) - 1]


# ------------------------------------------------------------------------------------------- what we do differently


def withdrawn(case: Case) -> Case:
    """Back at the promoted revision the rollout is over, where Flagger promotes, and then starts another."""
    number = _action_before(case.found, _pattern(Tell.WITHDRAWN))
    if number is None:
        return case
    ours = _span(case.found, number)
    told = [step for step in ours if isinstance(step, Told | Alerted) and _of(step, Tell.WITHDRAWN, Tell.WITHDRAWN_ALERT)]
    instead = (Stand("Succeeded"), *told)
    expected, found = _replaced(case.expected, number, instead), case.found
    if not _tells(ours, r"Copying "):
        found = _without(found, lambda step: _after_rollout(case, step) and any(step is one for one in ours))
    return evolve(case, expected=expected, found=found)


def deadline_is_told(case: Case) -> Case:
    """A rollback by the progress deadline says so, as an event and as an alert."""
    ticks = [list(tick) for tick in case.expected.ticks]
    alerts = {step.to for step in case.found.steps if isinstance(step, Alerted) and _of(step, Tell.ROLLING_BACK_DEADLINE_ALERT)}
    for tick in ticks:
        place = next((at for at, step in enumerate(tick) if isinstance(step, Told) and step.text.startswith("Canary failed!")), None)
        if place is None or _tells(tick, r"Rolling back |Promotion of "):
            continue
        unready = next((step for step in tick if isinstance(step, Told) and " not ready: " in step.text), None)
        if unready is None:
            continue
        name = tick[place].text.rpartition(" ")[2]  # type: ignore[union-attr]
        reason = unready.text.partition(" not ready: ")[2]
        text = f"Progress deadline exceeded {reason}"
        tick[place:place] = [
            Told("Warning", f"Rolling back {name} progress deadline exceeded {reason}", unready.phase),
            *(Alerted(to, text, error=True) for to in sorted(alerts)),
        ]
    return evolve(case, expected=case.expected.with_steps(ticks))


def failed_promotion_is_taken_back(case: Case) -> Case:
    """The canary's weight is 0 after a failed promotion, and the failure is told like every other."""
    ticks = [list(tick) for tick in case.expected.ticks]
    for tick in ticks:
        if not _tells(tick, r"Promotion of .* failed"):
            continue
        place = next((at for at, step in enumerate(tick) if isinstance(step, Stand) and step.phase == "Failed"), None)
        if place is None:
            continue
        full_name = f"{case.trace.canary['metadata']['name']}.{case.trace.namespace}"
        tick[place] = Stand("Failed")
        tick.insert(place, Told("Warning", f"Canary failed! Scaling down {full_name}", "Failed"))
    return evolve(case, expected=case.expected.with_steps(ticks))


def primary_at_zero_is_noticed(case: Case) -> Case:
    """A primary that somebody scaled to zero halts the rollout; Flagger goes on."""
    told = _pattern(Tell.PRIMARY_AT_ZERO)
    number = _action_before(case.found, told)
    if number is None or _tells(_span(case.expected, number), told.pattern):
        return case
    notice = next(step for step in case.found.steps if isinstance(step, Told) and told.fullmatch(step.text))
    return evolve(case, expected=_cut(case.expected, number, (notice,)))


def initialises(case: Case) -> Case:
    """Flagger's own objects are refused by the API server, and it tries for ever; ours are accepted."""
    phases = {step.phase for step in case.expected.steps if isinstance(step, Stand)}
    refused = next((at for at, tick in enumerate(case.expected.ticks) if _tells(tick, REFUSED)), None)
    if refused is None or phases - {"Initializing"}:
        return case
    return evolve(case, expected=evolve(case.expected, ticks=case.expected.ticks[:refused], open_end=True))


REFUSED = r".*(is invalid: |admission webhook .* denied)"


def mirror_goes_on(case: Case) -> Case:
    """The mirrored rung is left; some of Flagger's routers forget that they mirror, and repeat it for ever."""
    seen = 0
    for at, tick in enumerate(case.expected.ticks):
        seen += _tells(tick, r"Advance .* canary weight 0$")
        if seen == 2:
            return evolve(case, expected=evolve(case.expected, ticks=case.expected.ticks[:at], open_end=True))
    return case


def route_is_not_lost(case: Case) -> Case:
    """After a change by hand Flagger may jump to 100 or hang; ours keeps to its list. They meet again at the promotion."""
    numbers = _route_patches(case.trace)
    number = next((step.number for step in case.expected.steps if isinstance(step, Acted) and step.number in numbers), None)
    if number is None or not _tells(case.found.steps, _pattern(Tell.REPAIRING).pattern):
        return case
    theirs, ours = _weights(_span(case.expected, number)), _weights(_span(case.found, number))
    if theirs == ours:
        return case
    if _hangs(case.expected, number):
        return evolve(case, expected=_cut(case.expected, number, ()))
    return evolve(
        case,
        expected=_without_climb(case, case.expected, number),
        found=_without_climb(case, case.found, number),
    )


def skipped_by_the_same_way(case: Case) -> Case:
    """A skipped analysis goes through Promoting and Finalising, and waits for the new pods."""
    ticks = [list(tick) for tick in case.expected.ticks]
    for tick in ticks:
        if _tells(tick, r"Promotion completed! Canary analysis was skipped"):
            place, stand = next((at, step) for at, step in enumerate(tick) if isinstance(step, Stand))
            tick[place:place] = [evolve(stand, phase="Promoting"), evolve(stand, phase="Finalising")]
    return evolve(case, expected=case.expected.with_steps(ticks))


def weight_of_all_traffic(case: Case) -> Case:
    """In blue/green the status says so when all traffic goes to the canary."""
    ticks, on_canary = [list(tick) for tick in case.expected.ticks], False
    for tick in ticks:
        on_canary = on_canary or _tells(tick, r"Routing all traffic to canary|Stop traffic mirroring")
        for at, step in enumerate(tick):
            if isinstance(step, Stand):
                on_canary = on_canary and step.iterations > 0 and step.phase not in ("Finalising", "Failed", "Succeeded")
                tick[at] = evolve(step, weight=100) if on_canary and step.weight == 0 else step
    return evolve(case, expected=case.expected.with_steps(ticks))


def true_weight_at_a_gate(case: Case) -> Case:
    """While waiting for promotion the status says where traffic is."""
    ticks, last, from_gate = [list(tick) for tick in case.expected.ticks], Stand(""), False
    for tick in ticks:
        for at, step in enumerate(tick):
            if not isinstance(step, Stand):
                continue
            from_gate = step.phase == "WaitingPromotion" or (from_gate and step.phase == "Promoting")
            if from_gate and step.weight == 0 and step.iterations < last.iterations + (last.weight > 0):
                tick[at] = evolve(step, weight=last.weight, iterations=last.iterations)
            last = tick[at]  # type: ignore[assignment]
    return evolve(case, expected=case.expected.with_steps(ticks))


def terminated(case: Case) -> Case:
    """The end of a deletion is a status too, and is told with the phase that it happens in."""
    ticks = []
    for tick in case.expected.ticks:
        kept: list[Step] = []
        for step in tick:
            if isinstance(step, Told) and step.text.startswith("Terminated canary "):
                failed = next((one.failed for one in reversed(case.found.steps) if isinstance(one, Stand)), 0)
                kept += [Stand("Terminated", failed=failed), evolve(step, phase="Terminating")]
            else:
                kept.append(step)
        ticks.append(kept)
    return evolve(case, expected=case.expected.with_steps(ticks))


def no_revision_is_lost(case: Case) -> Case:
    """A revision that arrives in Failed while the primary is not ready is tried; Flagger forgets it."""
    phase, unready = "", r"(primary \w+ )?\S+-primary\.\S+ not ready"
    for tick in case.expected.ticks:
        for step in tick:
            if not isinstance(step, Acted) or phase != "Failed":
                continue
            theirs, ours = _span(case.expected, step.number), _span(case.found, step.number)
            started = r"New revision detected!"
            if _tells(theirs, unready) and not _tells(theirs, started) and _tells(ours, started):
                return evolve(case, expected=_cut(case.expected, step.number, ()))
        phase = _last_phase(tick, phase)
    return case


def phase_told_at_a_gate(case: Case) -> Case:
    """A confirm-promotion hook is told the phase that the rollout is in."""
    gates, phase = case.of_type("confirm-promotion"), ""
    ticks = []
    for tick in case.expected.ticks:
        ticks.append([
            evolve(step, phase=phase) if isinstance(step, Called) and step.hook in gates and phase else step
            for step in tick
        ])  # fmt: skip
        phase = _last_phase(tick, phase)
    return evolve(case, expected=case.expected.with_steps(ticks))


def one_alert_per_closed_gate(case: Case) -> Case:
    """A traffic-increase gate that stays closed is alerted once, not on every look."""
    told: set[str] = set()
    ticks = []
    for tick in case.expected.ticks:
        kept: list[Step] = []
        for step in tick:
            if isinstance(step, Stand):
                told.clear()
            if isinstance(step, Alerted) and _of(step, Tell.GATE_INCREASE_ALERT):
                if step.to in told:
                    continue
                told.add(step.to)
            kept.append(step)
        ticks.append(kept)
    return evolve(case, expected=case.expected.with_steps(ticks))


def rollback_hooks_are_always_asked(case: Case) -> Case:
    """They are asked while waiting for approval and while pods are not ready, too."""
    ticks = []
    for at, tick in enumerate(case.found.ticks):
        early = _tells(tick, r"(primary \w+ |canary \w+ )?\S+ not ready")
        waiting = any(isinstance(step, Told | Called) and step.phase == "Waiting" for step in tick)
        if (early or waiting) and _tells(tick, r"Rollback check .* passed"):
            number = max((step.number for one in case.found.ticks[:at] for step in one if isinstance(step, Acted)), default=0)
            return evolve(case, expected=_cut(case.expected, number, ()))
        ticks.append([step for step in tick if not ((early or _waits(step)) and _asks_for_rollback(case, step))])
    return evolve(case, found=case.found.with_steps(ticks))


def settings_are_told_by_lint(case: Case) -> Case:
    """What the kubernetes provider cannot do is said once, when the manifest is checked."""
    advice = re.compile(
        r"(A/B testing|Progressive traffic) is not supported when using the kubernetes provider"
        r"|Setting canaryAnalysis\.iterations: 10"
    )
    return evolve(case, expected=_without(case.expected, lambda step: isinstance(step, Told) and bool(advice.fullmatch(step.text))))


def looked_too_early(case: Case) -> Case:
    """Flagger looks while a workload's controller has not yet seen its last change; we wait to be told."""
    early = re.compile(r".* not ready: .*observed \w+ generation less than desired generation")
    return evolve(case, expected=_without(case.expected, lambda step: isinstance(step, Told) and bool(early.fullmatch(step.text))))


def phase_after_a_rollout(case: Case) -> Case:
    """What post-rollout hooks gave is told with the phase that the rollout ended in."""
    phase, ticks = "", []
    for tick in case.expected.ticks:
        kept: list[Step] = []
        for step in tick:
            phase = step.phase if isinstance(step, Stand) else phase
            late = isinstance(step, Told) and step.text.startswith("Post-rollout ")
            kept.append(evolve(step, phase=phase) if late else step)
        ticks.append(kept)
    return evolve(case, expected=case.expected.with_steps(ticks))


def told_again_after_a_restart(case: Case) -> Case:
    """A new process tells again what the last one may not have delivered: the notices of the last status."""
    restarts = {number for number, action in enumerate(case.trace.actions) if action.get("restartPeer")}
    last: set[Step] = set()
    ticks, restarted = [], False
    for tick in case.found.ticks:
        ticks.append([step for step in tick if not (restarted and step in last)])
        if any(isinstance(step, Stand) for step in tick):
            last = {step for step in tick if isinstance(step, Told | Alerted)}
        restarted = any(isinstance(step, Acted) and step.number in restarts for step in tick)
    return evolve(case, found=case.found.with_steps(ticks))


def in_daemonsets(row: Row) -> Row:
    return lambda case: row(case) if case.trace.canary["spec"]["targetRef"]["kind"] == "DaemonSet" else case


def same_words(*words: tuple[str, str]) -> Row:
    """Words of a library or of the API server are theirs; ours say the same in our own."""
    patterns = [(re.compile(pattern, re.DOTALL), instead) for pattern, instead in words]

    def said(step: Step) -> Step:
        if not isinstance(step, Told | Alerted):
            return step
        text = step.text
        for pattern, instead in patterns:
            text = pattern.sub(instead, text)
        return step if text == step.text else evolve(step, text=text)

    def row(case: Case) -> Case:
        return evolve(case, expected=_mapped(case.expected, said), found=_mapped(case.found, said))

    return row


# ------------------------------------------------------------------------------------------------------------ tables

DROPPING: tuple[tuple[str, Row], ...] = (
    ("D02", threshold_in_the_same_cycle),
    ("D26", no_step_back_at_a_gate),
    ("D13", weights_set_by_hand),
)

ROWS: tuple[tuple[str, Row], ...] = (
    ("D28", looked_too_early),
    ("D27", settings_are_told_by_lint),
    ("D01", withdrawn),
    ("D09", initialises),
    ("D10", mirror_goes_on),
    ("D08", primary_at_zero_is_noticed),
    ("D19", no_revision_is_lost),
    ("D23", rollback_hooks_are_always_asked),
    ("D13", route_is_not_lost),
    ("D13", only_ours(Tell.REPAIRING)),
    ("D04", deadline_is_told),
    ("D06", failed_promotion_is_taken_back),
    ("D06", only_ours(Tell.TAKING_BACK, Tell.STRANDED)),
    ("D07", only_ours(Tell.FAILOVER, Tell.FAILOVER_ALERT, Tell.NO_CAPACITY)),
    ("D14", skipped_by_the_same_way),
    ("D24", weight_of_all_traffic),
    ("D15", true_weight_at_a_gate),
    ("D16", terminated),
    ("D22", phase_told_at_a_gate),
    ("D22", one_alert_per_closed_gate),
    ("D25", phase_after_a_rollout),
    ("D29", only_ours(Tell.SCALED_BY_HAND)),
    ("D30", same_words(
        (r"error unmarshaling result: .*, '(.*)'$", r"error unmarshaling result: '\1'"),
        (r"(deployment|daemonset|service) (\S+) get query error: .*not found", r"\1 \2 not found: waiting for it"),
        (r"( failed) (POST|Post) .*", r"\1"),
    )),
    ("D31", in_daemonsets(same_words(
        (r"^(?:primary daemonset )?(\S+-primary\.\S+ not ready): .*", r"\1"),
        (r"^canary dae?monset (\S+ not ready)(?: with retryable \w+)?: .*", r"canary daemonset \1"),
        (r"((?:P|p)rogress deadline exceeded) .*", r"\1"),
    ))),
    ("D33", told_again_after_a_restart),
)  # fmt: skip

REFUSALS = {"no-step": "D18", "rising-steps": "D32"}
"""Canaries that Flagger takes and that can never work: the rule by which they are refused, and the row."""


# ----------------------------------------------------------------------------------------------------------- details


def _tells(steps: Iterable[Step], pattern: str) -> bool:
    return any(isinstance(step, Told) and re.match(pattern, step.text) for step in steps)


def _of(step: Told | Alerted, *tells: Tell) -> bool:
    return any(_pattern(tell).fullmatch(step.text) for tell in tells)


def _last_phase(tick: Iterable[Step], phase: str) -> str:
    return next((step.phase for step in reversed(tuple(tick)) if isinstance(step, Stand)), phase)


def _waits(step: Step) -> bool:
    return isinstance(step, Told | Called) and step.phase == "Waiting"


def _asks_for_rollback(case: Case, step: Step) -> bool:
    if isinstance(step, Called):
        return step.hook in case.of_type("rollback")
    return isinstance(step, Told) and _of(step, Tell.ROLLBACK_HOOK_QUIET)


def _after_rollout(case: Case, step: Step) -> bool:
    if isinstance(step, Called):
        return step.hook in case.of_type("post-rollout")
    return isinstance(step, Told) and step.text.startswith("Post-rollout ")


def _acted_between(ticks: list[list[Step]], first: int, last: int) -> bool:
    return any(isinstance(step, Acted) for tick in ticks[first + 1 : last] for step in tick)


def _route_patches(trace: Trace) -> frozenset[int]:
    """Numbers of the actions that change a route, whatever kind of route it is."""
    others = {"Canary", "Deployment", "DaemonSet", "Service", "ConfigMap", "Secret", "HorizontalPodAutoscaler"}
    others |= {"ScaledObject", "MetricTemplate", "AlertProvider"}
    return frozenset(
        number for number, action in enumerate(trace.actions) if "patch" in action and action["kind"] not in others
    )


def _spans(story: Story) -> Iterator[tuple[int, list[Step]]]:
    """(action, the steps after it up to the next action); before the first it is -1."""
    number, steps = -1, []
    for step in story.steps:
        if isinstance(step, Acted):
            yield number, steps
            number, steps = step.number, []
        else:
            steps.append(step)
    yield number, steps


def _span(story: Story, number: int) -> list[Step]:
    return next((steps for action, steps in _spans(story) if action == number), [])


def _action_before(story: Story, pattern: re.Pattern[str]) -> int | None:
    """The action after which a text is told for the first time."""
    return next((number for number, steps in _spans(story) if _tells(steps, pattern.pattern)), None)


def _replaced(story: Story, number: int, instead: tuple[Step, ...]) -> Story:
    """With other steps between this action and the next."""
    before = [tick for tick in story.ticks]
    at = next(place for place, tick in enumerate(before) if Acted(number) in tick)
    after = next((place for place in range(at + 1, len(before)) if any(isinstance(step, Acted) for step in before[place])), len(before))
    return evolve(story, ticks=(*before[: at + 1], instead, *before[after:]))


def _cut(story: Story, number: int, instead: tuple[Step, ...]) -> Story:
    """With these steps after this action, and then an open end."""
    at = next((place for place, tick in enumerate(story.ticks) if Acted(number) in tick), -1)
    return evolve(story, ticks=(*story.ticks[: at + 1], instead), open_end=True)


def _without(story: Story, unwanted: Callable[[Step], bool]) -> Story:
    return story.with_steps([step for step in tick if not unwanted(step)] for tick in story.ticks)


def _mapped(story: Story, change: Callable[[Step], Step]) -> Story:
    return story.with_steps([change(step) for step in tick] for tick in story.ticks)


def _weights(steps: list[Step]) -> list[int]:
    return list(dict.fromkeys(step.weight for step in steps if isinstance(step, Stand)))


def _hangs(story: Story, number: int) -> bool:
    """Whether Flagger's last phase is one that should have been left."""
    phases = [step.phase for step in _span(story, number) if isinstance(step, Stand)]
    return not phases or phases[-1] in ("Promoting", "Finalising")


CLIMB = re.compile(r"(Starting canary analysis|Advance .* canary weight|Advance .* primary weight|Routing all traffic to primary)")


def _without_climb(case: Case, story: Story, number: int) -> Story:
    """Without the weights, and what is asked on the way, between this action and the end of the rollout."""
    span = {id(step) for step in _span(story, number)}
    asked = case.of_type("rollout") | case.of_type("pre-rollout") | case.of_type("confirm-traffic-increase")

    def climbs(step: Step) -> bool:
        if id(step) not in span:
            return False
        if isinstance(step, Stand):
            return step.phase in ("Progressing", "Promoting")
        if isinstance(step, Called):
            return step.hook in asked
        return isinstance(step, Checked) or (isinstance(step, Told) and bool(CLIMB.match(step.text)))

    return _without(story, climbs)


__all__ = ["DROPPING", "REFUSALS", "ROWS", "Case", "explain", "rule_for", "without_answers"]
