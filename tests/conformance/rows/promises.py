"""Rows that say what we do instead: they rewrite what was recorded, or take out what only we say."""

from __future__ import annotations

import re

from attrs import evolve

from canarycore.notices import NoticeKind
from tests.conformance.rows.case import (
    Case,
    Row,
    action_before,
    after_rollout,
    asks_for_rollback,
    cut,
    last_phase,
    mapped,
    of,
    pattern,
    replaced,
    route_patches,
    span,
    tells,
    without,
)
from tests.conformance.story import Acted, Alerted, Called, Checked, Stand, Step, Story, Told


def withdrawn(case: Case) -> Case:
    """Back at the promoted revision the rollout is over, where Flagger promotes, and then starts another."""
    number = action_before(case.found, pattern(NoticeKind.WITHDRAWN))
    if number is None:
        return case
    ours = span(case.found, number)
    told = [
        step
        for step in ours
        if isinstance(step, Told | Alerted) and of(step, NoticeKind.WITHDRAWN, NoticeKind.WITHDRAWN_ALERT)
    ]
    instead = (Stand("Succeeded"), *told)
    expected, found = replaced(case.expected, number, instead), case.found
    if not tells(ours, r"Copying "):
        found = without(found, lambda step: after_rollout(case, step) and any(step is one for one in ours))
    return evolve(case, expected=expected, found=found)


def deadline_is_told(case: Case) -> Case:
    """A rollback by the progress deadline says so, as an event and as an alert."""
    ticks = [list(tick) for tick in case.expected.ticks]
    alerts = {
        step.to
        for step in case.found.steps
        if isinstance(step, Alerted) and of(step, NoticeKind.ROLLING_BACK_DEADLINE_ALERT)
    }
    for tick in ticks:
        place = next(
            (at for at, step in enumerate(tick) if isinstance(step, Told) and step.text.startswith("Canary failed!")),
            None,
        )
        if place is None or tells(tick, r"Rolling back |Promotion of "):
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
    full_name = f"{case.trace.canary['metadata']['name']}.{case.trace.namespace}"
    failure = Told("Warning", f"Canary failed! Scaling down {full_name}", "Failed")
    ticks = []
    for tick in case.expected.ticks:
        told = [failure] if tells(tick, r"Promotion of .* failed") else []
        kept: list[Step] = []
        for step in tick:
            if isinstance(step, Stand) and step.phase == "Failed":
                kept += [*told, evolve(step, weight=0)]
            else:
                kept.append(step)
        ticks.append(kept)
    return evolve(case, expected=case.expected.with_steps(ticks))


def primary_at_zero_is_noticed(case: Case) -> Case:
    """A primary that somebody scaled to zero halts the rollout; Flagger goes on."""
    told = pattern(NoticeKind.PRIMARY_AT_ZERO)
    number = action_before(case.found, told)
    if number is None or tells(span(case.expected, number), told.pattern):
        return case
    notice = next(step for step in case.found.steps if isinstance(step, Told) and told.fullmatch(step.text))
    return evolve(case, expected=cut(case.expected, number, (notice,)))


def initialises(refused: str) -> Row:
    """Flagger's own objects are refused by the API server, and it tries for ever; ours are accepted."""

    def row(case: Case) -> Case:
        phases = {step.phase for step in case.expected.steps if isinstance(step, Stand)}
        first = next((at for at, tick in enumerate(case.expected.ticks) if tells(tick, refused)), None)
        if first is None or phases - {"Initializing"}:
            return case
        return evolve(case, expected=evolve(case.expected, ticks=case.expected.ticks[:first], open_end=True))

    return row


def initialising_is_no_rollout(case: Case) -> Case:
    """Past the progress deadline Flagger rolls an initialisation back: on routes that are not there, or to zero."""
    no_route = re.compile(r"\S+ \S+ (get )?query error:? .*not found")
    ticks, initialised = [], False
    for at, tick in enumerate(case.expected.ticks):
        initialised = initialised or any(isinstance(step, Stand) and step.phase == "Initialized" for step in tick)
        if not initialised and tells(tick, r"Canary failed! "):
            return evolve(case, expected=evolve(case.expected, ticks=case.expected.ticks[:at], open_end=True))
        ticks.append(
            [step for step in tick if initialised or not (isinstance(step, Told) and no_route.match(step.text))]
        )
    return evolve(case, expected=case.expected.with_steps(ticks))


SERVICE_REFUSED = r"reconcile\w+Service failed: .* is invalid: "
ROUTE_REFUSED = r"(?!reconcile\w+Service failed).* (create|update) error: .* is invalid: "


def mirror_goes_on(case: Case) -> Case:
    """The mirrored rung is left; some of Flagger's routers forget that they mirror, and repeat it for ever."""
    seen = 0
    for at, tick in enumerate(case.expected.ticks):
        seen += tells(tick, r"Advance .* canary weight 0$")
        if seen == 2:
            return evolve(case, expected=evolve(case.expected, ticks=case.expected.ticks[:at], open_end=True))
    return case


def route_is_not_lost(case: Case) -> Case:
    """After a change by hand Flagger may jump to 100 or hang; ours keeps to its list. They meet at the promotion."""
    numbers = route_patches(case.trace)
    number = next(
        (step.number for step in case.expected.steps if isinstance(step, Acted) and step.number in numbers), None
    )
    kinds = (NoticeKind.REPAIRING, NoticeKind.RETURNING)
    if number is None or not any(tells(case.found.steps, pattern(kind).pattern) for kind in kinds):
        return case
    theirs, ours = _weights(span(case.expected, number)), _weights(span(case.found, number))
    if theirs == ours:
        return case
    if _hangs(case.expected, number):
        return evolve(case, expected=cut(case.expected, number, ()))
    return evolve(
        case,
        expected=_without_climb(case, case.expected, number),
        found=_without_climb(case, case.found, number),
    )


def skipped_by_the_same_way(case: Case) -> Case:
    """A skipped analysis goes through Promoting and Finalising, and waits for the new pods."""
    ticks, found, last = [list(tick) for tick in case.expected.ticks], case.found, Stand("")
    for tick in ticks:
        if tells(tick, r"Promotion completed! Canary analysis was skipped"):
            place, stand = next((at, step) for at, step in enumerate(tick) if isinstance(step, Stand))
            exposed = bool(last.weight or last.iterations)
            routed = [Told("Normal", "Routing all traffic to primary", "Promoting")] if exposed else []
            tick[place:place] = [evolve(last, phase="Promoting"), *routed, evolve(stand, phase="Finalising")]
            found = without(found, _waits_for_the_primary)
        last = next((step for step in reversed(tick) if isinstance(step, Stand)), last)
    return evolve(case, expected=case.expected.with_steps(ticks), found=found)


def _waits_for_the_primary(step: Step) -> bool:
    return isinstance(step, Told) and step.phase in ("Promoting", "Finalising") and " not ready: " in step.text


def weight_of_all_traffic(case: Case) -> Case:
    """In blue/green the status says so when all traffic goes to the canary."""
    ticks, on_canary = [list(tick) for tick in case.expected.ticks], False
    for tick in ticks:
        on_canary = on_canary or tells(tick, r"Routing all traffic to canary|Stop traffic mirroring")
        for at, step in enumerate(tick):
            if isinstance(step, Stand):
                on_canary = (
                    on_canary and step.iterations > 0 and step.phase not in ("Finalising", "Failed", "Succeeded")
                )
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
            theirs, ours = span(case.expected, step.number), span(case.found, step.number)
            started = r"New revision detected!"
            if tells(theirs, unready) and not tells(theirs, started) and tells(ours, started):
                return evolve(case, expected=cut(case.expected, step.number, ()))
        phase = last_phase(tick, phase)
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
        phase = last_phase(tick, phase)
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
            if isinstance(step, Alerted) and of(step, NoticeKind.GATE_INCREASE_ALERT):
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
        early = tells(tick, r"(primary \w+ |canary \w+ )?\S+ not ready")
        waiting = any(isinstance(step, Told | Called) and step.phase == "Waiting" for step in tick)
        if (early or waiting) and tells(tick, r"Rollback check .* passed"):
            number = max(
                (step.number for one in case.found.ticks[:at] for step in one if isinstance(step, Acted)), default=0
            )
            return evolve(case, expected=cut(case.expected, number, ()))
        ticks.append([step for step in tick if not ((early or _waits(step)) and asks_for_rollback(case, step))])
    return evolve(case, found=case.found.with_steps(ticks))


def settings_are_told_by_lint(case: Case) -> Case:
    """The linter reports once which features the kubernetes provider lacks."""
    advice = re.compile(
        r"(A/B testing|Progressive traffic) is not supported when using the kubernetes provider"
        r"|Setting canaryAnalysis\.iterations: 10"
    )
    return evolve(
        case,
        expected=without(case.expected, lambda step: isinstance(step, Told) and bool(advice.fullmatch(step.text))),
    )


def looked_too_early(case: Case) -> Case:
    """Flagger looks while a workload's controller has not yet seen its last change; we wait to be told."""
    early = re.compile(r".* not ready: .*observed \w+ generation less than desired generation")
    return evolve(
        case, expected=without(case.expected, lambda step: isinstance(step, Told) and bool(early.fullmatch(step.text)))
    )


def phase_after_a_rollout(case: Case) -> Case:
    """The events of post-rollout hooks have the last phase of the rollout."""
    phase, ticks = "", []
    for tick in case.expected.ticks:
        kept: list[Step] = []
        for step in tick:
            phase = step.phase if isinstance(step, Stand) else phase
            if isinstance(step, Told) and step.text.startswith("Post-rollout "):
                kept.append(evolve(step, phase=phase))
            else:
                kept.append(step)
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


def client_words(case: Case) -> Case:
    """When a webhook fails for good Flagger tells what its HTTP client says; we tell what the hook answered."""
    gave_up = re.compile(r".* (\S+) failed (?:POST|Post) .*")
    names = {
        found[1] for step in case.expected.steps if isinstance(step, Told) and (found := gave_up.fullmatch(step.text))
    }
    return same_words(*((rf"( {re.escape(name)} failed) .*", r"\1") for name in sorted(names)))(case)


def same_words(*words: tuple[str, str]) -> Row:
    """Words of a library or of the API server are theirs; ours say the same in our own."""
    known = [(re.compile(theirs, re.DOTALL), instead) for theirs, instead in words]

    def said(step: Step) -> Step:
        if not isinstance(step, Told | Alerted):
            return step
        text = step.text
        for theirs, instead in known:
            text = theirs.sub(instead, text)
        return step if text == step.text else evolve(step, text=text)

    def row(case: Case) -> Case:
        return evolve(case, expected=mapped(case.expected, said), found=mapped(case.found, said))

    return row


# ------------------------------------------------------------------------------------------------------------ words


def weight_of_a_failover(case: Case) -> Case:
    """The status shows the weight of a failover while it lasts, where Flagger's stays at the rung's."""
    ticks, rung, before, is_diverted = [], 0, None, False
    for tick in case.found.ticks:
        kept: list[Step] = []
        for step in tick:
            if isinstance(step, Told) and of(step, NoticeKind.FAILOVER, NoticeKind.RETURNING):
                is_diverted = of(step, NoticeKind.FAILOVER)
            shown = step
            if isinstance(step, Stand):
                is_over = step.phase not in ("Progressing", "Waiting", "WaitingPromotion", "Promoting")
                rung = (0 if is_over else rung) if is_diverted else step.weight
                shown = evolve(step, weight=rung)
                if shown == before and shown != step:
                    continue
                before = shown
            kept.append(shown)
        ticks.append(kept)
    return evolve(case, found=case.found.with_steps(ticks))


def only_ours(*texts: NoticeKind) -> Row:
    """Texts that Flagger does not have, and that change nothing else."""
    known = [pattern(text) for text in texts]

    def is_one(step: Step) -> bool:
        return isinstance(step, Told | Alerted) and any(one.fullmatch(step.text) for one in known)

    return lambda case: evolve(case, found=without(case.found, is_one))


def _waits(step: Step) -> bool:
    return isinstance(step, Told | Called) and step.phase == "Waiting"


def _weights(steps: list[Step]) -> list[int]:
    return list(dict.fromkeys(step.weight for step in steps if isinstance(step, Stand)))


def _hangs(story: Story, number: int) -> bool:
    """Whether Flagger's last phase is one that should have been left."""
    phases = [step.phase for step in span(story, number) if isinstance(step, Stand)]
    return not phases or phases[-1] in ("Promoting", "Finalising")


CLIMB = re.compile(
    r"(Starting canary analysis|Advance .* canary weight|Advance .* primary weight|Routing all traffic to primary)"
)


def _without_climb(case: Case, story: Story, number: int) -> Story:
    """Without the weights, and what is asked on the way, between this action and the end of the rollout."""
    here = {id(step) for step in span(story, number)}
    asked = case.of_type("rollout") | case.of_type("pre-rollout") | case.of_type("confirm-traffic-increase")

    def climbs(step: Step) -> bool:
        if id(step) not in here:
            return False
        if isinstance(step, Stand):
            return step.phase in ("Progressing", "Promoting")
        if isinstance(step, Called):
            return step.hook in asked
        return isinstance(step, Checked) or (isinstance(step, Told) and bool(CLIMB.match(step.text)))

    return without(story, climbs)
