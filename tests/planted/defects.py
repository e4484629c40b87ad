"""Defects that are planted one at a time, and for each the test that finds it.

The sixteen that were read in Flagger 1.44 begin with `flagger` and their letter (tests/core/decisions/test_defects.py
tells of them).

`table` is the list for docs/defects.md; docs/generate.py writes it there.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen


@frozen
class Defect:
    """`old`, found exactly once in `file`, becomes `new`. `caught_by`: the test that fails then (pytest's node id)."""

    name: str
    file: str
    old: str
    new: str
    caught_by: str
    is_endless: bool = False
    """Whether the test would wait for ever, so that the end of its time is the failure."""

    @property
    def claim(self) -> str:
        """The claim of that test as a sentence."""
        name, _, given = self.caught_by.rpartition("::")[2].partition("[")
        return name.removeprefix("test_").replace("_", " ") + (f" ({given[:-1]})" if given else "")


def table() -> str:
    """All defects in Markdown."""
    rows = [f"| {defect.name} | `{defect.file}` | {defect.claim} |" for defect in DEFECTS]
    return "\n".join(["", "| Defect | Planted in | Found by the claim |", "| --- | --- | --- |", *rows, "", ""])


def _of(sources: str, tests: str) -> Callable[[str, str, str, str, str], Defect]:
    """Makes defects in files of `sources`, found by tests of `tests`."""
    return lambda name, file, old, new, test: Defect(name, f"{sources}/{file}", old, new, f"{tests}/{test}")


def _of_adapter(name: str) -> Callable[[str, str, str, str, str], Defect]:
    return _of(f"adapters/{name}/canarycore_{name}", f"tests/adapters/{name}")


def _endless(defect: Defect) -> Defect:
    return evolve(defect, is_endless=True)


_core = _of("canarycore", "tests/core")
_search = _of("canarycore", "tests/verify")
_manifest = _of("canarycore/manifest", "tests/manifest")
_runtime = _of_adapter("runtime")
_hooks = _of_adapter("hooks")
_metrics = _of_adapter("metrics")
_mesh = _of_adapter("mesh")
_mesh_reading = _of("canarycore", "tests/adapters/mesh")
_notifiers = _of_adapter("notifiers")
_kubernetes = _of_adapter("kubernetes")
_local = _of_adapter("local")
_planes = _of_adapter("planes")
_loadtester = _of_adapter("loadtester")

DEFECTS: tuple[Defect, ...] = (
    # ---------------------------------------------------------------------------------------- what is durable, and when
    _core(
        "skip the commit",
        "driver.py",
        "            yield Commit(after)\n",
        "            pass\n",
        "decisions/test_defects.py::test_defect_p_post_rollout_hooks_and_the_success_alert_survive_a_crash",
    ),
    _core(
        "flagger n: effects before the commit",
        "driver.py",
        "        try:\n            yield Commit(after)\n",
        "        yield from _apply(converge(goal(rollout, after), observation).effects)\n"
        "        try:\n"
        "            yield Commit(after)\n",
        "decisions/test_defects.py::test_defect_n_a_rollback_survives_a_crash_that_forgets_its_cause",
    ),
    _core(
        "go on after a conflict",
        "driver.py",
        "            return CycleResult(None, observation.now, (), (conflict,))\n",
        "            del conflict\n",
        "simulation/test_cluster.py::test_a_conflict_commits_nothing",
    ),
    _core(
        "notices are not committed",
        "driver.py",
        "decision.status.but(outbox=outbox)",
        "decision.status",
        "cycle/test_notices.py::test_a_retry_of_a_failed_notifier_uses_the_same_key",
    ),
    _core(
        "what was told is not remembered",
        "driver.py",
        "            memory.published.add(notice.key)\n",
        "            pass\n",
        "cycle/test_notices.py::test_the_notices_of_a_promotion",
    ),
    _core(
        "effects go on after one that failed",
        "driver.py",
        "            return done, [error]\n",
        "            continue\n",
        "simulation/test_cluster.py::test_effects_end_at_the_first_that_fails",
    ),
    _core(
        "a suspended rollout still converges",
        "driver.py",
        "() if suspended else converge(",
        "converge(",
        "decisions/test_commands.py::test_a_suspended_rollout_leaves_foreign_routes_alone",
    ),
    # ------------------------------------------------------------------------------------------------- what is promoted
    _core(
        "flagger h: promote what the target carries now",
        "_goal.py",
        "        return False, Promote(goal.primary) if _carries(observation.target, goal.primary) else None\n",
        "        return False, Promote(observation.target.revision) if observation.target is not None else None\n",
        "cycle/test_goal.py::test_a_later_revision_on_the_target_is_not_promoted",
    ),
    _core(
        "a revision that arrives before the promotion is ignored",
        "_decide.py",
        "        elif target.revision != status.applied:\n            return withdraw(builder)",
        "        elif not target.revision:\n            return withdraw(builder)",
        "decisions/test_table.py::test_every_row_is_reached",
    ),
    _core(
        "withdraw is not recognised",
        "_decide.py",
        "    if target.revision != status.applied:\n"
        "        return withdraw(builder) if target.revision == status.promoted else restart(builder)\n"
        "    if builder.poll",
        "    if target.revision != status.applied:\n        return restart(builder)\n    if builder.poll",
        "decisions/test_defects.py::test_seen_1_going_back_to_the_promoted_revision_ends_the_rollout",
    ),
    _core(
        "flagger a: a revision is lost in Failed",
        "_decide.py",
        "        if status.phase is Phase.FAILED and target.revision == status.promoted:\n",
        "        if status.phase is Phase.FAILED:\n",
        "decisions/test_defects.py::test_defect_a_a_revision_that_arrives_in_failed_during_a_restoration_is_not_lost",
    ),
    _core(
        "the previous revision is forgotten",
        "_revisions.py",
        '"previous": before',
        '"previous": status.previous',
        "cycle/test_goal.py::test_the_status_and_the_cluster_hold_the_previous_revision",
    ),
    _core(
        "flagger d: the promotion steps never end",
        "_decide.py",
        "    if step and rung.is_exposed:\n"
        "        after = ladder.lower(rung, step)\n"
        "        builder.emit(NoticeKind.PRIMARY_WEIGHT, format_weight(after.routes.primary, tenths=after.tenths))\n"
        "        if after.weight > 0:\n",
        "    if step:\n"
        "        after = ladder.lower(rung, step)\n"
        "        builder.emit(NoticeKind.PRIMARY_WEIGHT, format_weight(after.routes.primary, tenths=after.tenths))\n"
        "        if after.weight >= 0:\n",
        "decisions/test_defects.py::test_defect_d_promotion_steps_end_although_the_canary_has_no_weight",
    ),
    # --------------------------------------------------------------------------------------------------- what a pass is
    _core(
        "no data passes",
        "_verdicts.py",
        "    if value is None:\n        return Judgement(check, Verdict.NO_DATA, answer)\n",
        "    if value is None:\n        return Judgement(check, Verdict.PASS, answer)\n",
        "decisions/test_verdicts.py::test_the_verdict_on",
    ),
    _core(
        "flagger f: no data counts as a bad value",
        "_verdicts.py",
        "    if value is None:\n        return Judgement(check, Verdict.NO_DATA, answer)\n",
        "    if value is None:\n        return Judgement(check, Verdict.FAIL, answer)\n",
        "decisions/test_defects.py::test_defect_f_no_data_an_error_and_a_bad_value_differ",
    ),
    _core(
        "not a number passes",
        "_verdicts.py",
        "Verdict.NO_DATA if isnan(value) else Verdict.ERROR",
        "Verdict.PASS",
        "decisions/test_verdicts.py::test_the_verdict_on",
    ),
    _core(
        "few samples pass",
        "_verdicts.py",
        "    if min_samples and (",
        "    if not check and (",
        "decisions/test_verdicts.py::test_fewer_requests_than_min_samples_are_no_data",
    ),
    _core(
        "the upper bound itself fails",
        "_verdicts.py",
        "value > high)",
        "value >= high)",
        "decisions/test_verdicts.py::test_the_verdict_on",
    ),
    _core(
        "a condition without a truth fails no check",
        "_expressions.py",
        "            return True if fails is False else None\n",
        "            return not fails\n",
        "analyses/test_conditions.py::test_the_verdict_of_conditions",
    ),
    _core(
        "a value that meets neither condition fails",
        "_expressions.py",
        "        if passes or self.failure is None:\n",
        "        if passes is not None or self.failure is None:\n",
        "analyses/test_conditions.py::test_the_verdict_of_conditions",
    ),
    _core(
        "an inconclusive value counts as a failed check",
        "_verdicts.py",
        "return self.is_unclear or (no_data",
        "return self.is_thin or (no_data",
        "analyses/test_conditions.py::test_inconclusive_values_hold_and_count_as_no_failure",
    ),
    _core(
        "deep conditions recurse without a limit",
        "_expression_parser.py",
        "        if depth > CONDITION_DEPTH.most:\n",
        "        if depth > CONDITION.most:\n",
        "data/test_expressions.py::test_a_text_outside_the_language_is_refused_with_its_remedy",
    ),
    _core(
        "failed checks are forgotten",
        "_analysis.py",
        "    failed = builder.status.failed_checks + 1\n",
        "    failed = 1\n",
        "decisions/test_verdicts.py::test_no_data_counts_as_a_failed_check_as_in_flagger",
    ),
    _core(
        "failed checks count double",
        "_analysis.py",
        "    failed = builder.status.failed_checks + 1\n",
        "    failed = builder.status.failed_checks + 2\n",
        "cycle/test_notices.py::test_the_notices_of_a_rollback",
    ),
    _core(
        "the threshold is off by one",
        "_analysis.py",
        "    if failed >= builder.rollout.threshold:\n",
        "    if failed > builder.rollout.threshold:\n",
        "decisions/test_defects.py::test_seen_2_a_rollback_comes_in_the_cycle_of_the_last_failing_check",
    ),
    _core(
        "holding never ends",
        "_analysis.py",
        "    if rollout.inconclusive_limit and holds >= rollout.inconclusive_limit:\n",
        "    if rollout.inconclusive_limit and holds > 2 * rollout.inconclusive_limit:\n",
        "decisions/test_verdicts.py::test_no_data_holds_up_to_the_owners_limit",
    ),
    _core(
        "gates are asked before metrics",
        "_analysis.py",
        "    outcome = (yield from _call_hooks(builder, kind)) if",
        "    outcome = yield from _gates(builder)\n    outcome = outcome or (yield from _call_hooks(builder, kind)) if",
        "cycle/test_notices.py::test_hooks_come_in_order_with_their_phase",
    ),
    _core(
        "a failed hook lets the rung pass",
        "_analysis.py",
        "            builder.emit(failed, hook.name, answer.text)\n            return _halt_advancement(builder)\n",
        "            builder.emit(failed, hook.name, answer.text)\n            return None\n",
        "cycle/test_notices.py::test_hooks_of_a_type_stop_at_the_first_failure",
    ),
    _core(
        "flagger l: a closed gate alerts every time it is asked",
        "_analysis.py",
        "            builder.emit_once(alert)\n",
        "            builder.emit(alert)\n",
        "decisions/test_defects.py::test_defect_l_confirm_traffic_increase_alerts_once",
    ),
    # ---------------------------------------------------------------------------------------------------- when, and how
    _core(
        "an analysis does not wait for the interval",
        "_decide.py",
        "        return builder.wait(Rule.NOT_DUE, builder.next_poll)\n    if rollout.skip_analysis:\n",
        "        pass\n    if rollout.skip_analysis:\n",
        "decisions/test_defects.py::test_seen_12_a_restarted_process_does_not_step_early",
    ),
    _core(
        "the progress deadline never comes",
        "_decision.py",
        "        return self.observation.has_reached(since + self.rollout.progress_deadline)\n",
        "        return self.observation.now < 0 < since\n",
        "decisions/test_defects.py::test_seen_4_every_rollback_sends_an_alert",
    ),
    _core(
        "a pause is not kept",
        "_decide.py",
        "    if status.paused:\n        return _on_hold(builder)\n    if not builder.poll:\n",
        "    if not builder.poll:\n",
        "decisions/test_commands.py::test_a_paused_rollout_does_not_advance_before_a_resume",
    ),
    _core(
        "a bad answer beyond no limit concludes a check",
        "_measurements.py",
        "    counts = verdict is Verdict.PASS or exceeds(limits, tally, verdict) is not None\n",
        "    counts = True\n",
        "analyses/test_limits.py::test_a_bad_answer_that_the_policy_counts_concludes_nothing",
    ),
    _core(
        "a bake ends with its first analysis",
        "_ladder.py",
        "Step(weight=self.total, hold=self.bake)",
        "Step(weight=self.total)",
        "analyses/test_bake.py::test_the_primary_is_replaced_only_after_the_bake",
    ),
    _core(
        "a late check is measured on each rung",
        "_spec.py",
        "if each[1].from_weight <= rung.percent",
        "if each[1].from_weight >= 0",
        "analyses/test_late_checks.py::test_a_check_is_measured_from_its_weight_on",
    ),
    _core(
        "a gate comes after all traffic has moved",
        "_ladder.py",
        "return self.bake > 0 and self.after(after) is None",
        "return False",
        "analyses/test_bake.py::test_a_closed_gate_comes_before_all_traffic_moves",
    ),
    _core(
        "a resumed rollout keeps its tallies",
        "_commands.py",
        '"holds": 0, "tallies": ()}',
        '"holds": 0}',
        "analyses/test_limits.py::test_a_resumed_rollout_counts_anew",
    ),
    _core(
        "a rollback forgets the revision that it rejects",
        "_transitions.py",
        '        **record_rejection(builder.status, reset.get("applied", builder.status.applied)),\n',
        "",
        "analyses/test_rejections.py::test_a_rejection_survives_later_rollouts",
    ),
    _core(
        "a rejected revision stays in the history",
        "_revisions.py",
        '    return {"rejected": rejected, "history": tuple([each for each in status.history if each != revision])}\n',
        '    return {"rejected": rejected}\n',
        "analyses/test_rollback_window.py::test_a_rejected_revision_never_skips_steps_again",
    ),
    _search(
        "the window holds a revision that was rejected",
        "_revisions.py",
        "    return window is not None and revision in status.history[: window.revisions]\n",
        "    return window is not None and revision in (status.history + status.rejected)[: window.revisions]\n",
        "test_verify.py::test_a_rejected_revision_that_comes_back_takes_every_step",
    ),
    _search(
        "the weight of an aborted rollout never returns to 0",
        "_gradual_return.py",
        "    return after if after.weight else INITIAL_RUNG\n",
        "    return after if after.weight else rung\n",
        "test_verify.py::test_a_gradual_return_ends_by_its_steps",
    ),
    _search(
        "the traffic waits for the scale-down that waits for the traffic",
        "_goal.py",
        "        canary=Scale.UP,\n        primary=status.promoted,\n        replacement=status.promoted,\n",
        "        canary=Scale.DOWN,\n        primary=status.promoted,\n        replacement=status.promoted,\n",
        "test_verify.py::test_a_gradual_return_ends_by_its_steps",
    ),
    _search(
        "the load waits for the pods that wait for the load",
        "_gradual_return.py",
        "    overload = explain_overload(builder, status.rung)\n",
        "    overload = explain_overload(builder, _step_down(rollout, policy, status.rung))\n",
        "test_verify.py::test_a_return_that_follows_capacity_neither_overloads_the_primary_nor_waits_in_a_circle",
    ),
    _search(
        "a return does not count the ready pods of the primary",
        "_gradual_return.py",
        "share * capacity * _PODS <= ready * MOST_PERMILLE * _FOR:\n",
        "share * capacity * _PODS <= max(ready, capacity) * MOST_PERMILLE * _FOR:\n",
        "test_verify.py::test_a_return_that_follows_capacity_neither_overloads_the_primary_nor_waits_in_a_circle",
    ),
    _core(
        "a return waits for pods that an autoscaler within its tolerance never starts",
        "_gradual_return.py",
        "_PODS, _FOR = 4, 5\n",
        "_PODS, _FOR = 1, 1\n",
        "analyses/test_gradual_return.py::test_a_return_leaves_an_autoscaler_the_tolerance_of_its_target",
    ),
    _search(
        "an increase does not count the ready pods of the canary",
        "_analysis.py",
        "_hold_increase(builder, after) or _advance(builder, after)",
        "_advance(builder, after)",
        "test_verify.py::test_no_single_fault_overloads_a_canary_or_a_primary_that_follow_capacity",
    ),
    _core(
        "an increase waits for ever for pods of the canary",
        "_analysis.py",
        "    if not overload or builder.observation.has_reached(end):\n",
        "    if not overload:\n",
        "analyses/test_gradual_return.py::test_an_increase_that_waits_too_long_is_left_to_the_checks",
    ),
    _core(
        "a restart takes the size of a primary that has shrunk",
        "_transitions.py",
        "**reset_analysis(builder), paused=paused)",
        '**{**reset_analysis(builder), "capacity": count_capacity(builder)}, paused=paused)',
        "analyses/test_gradual_return.py::test_a_restart_keeps_the_size_from_before",
    ),
    _search(
        "a promotion does not count the ready pods of a primary that shrank",
        "_decide.py",
        "    if not (overload and status.rung.weight):\n        return _step_back(builder)\n",
        "    if overload or status.rung.weight:\n        return _step_back(builder)\n",
        "test_verify.py::test_a_return_that_follows_capacity_neither_overloads_the_primary_nor_waits_in_a_circle",
    ),
    _search(
        "a promotion moves all traffic onto a primary that its autoscaler shrank",
        "_gradual_return.py",
        "    return policy.step\n",
        "    return ladder.step_back\n",
        "test_verify.py::test_a_return_that_follows_capacity_neither_overloads_the_primary_nor_waits_in_a_circle",
    ),
    _core(
        "a gradual return has no end",
        "_gradual_return.py",
        "    if why is CutShort.NONE and observation.has_reached(end):\n",
        "    if why is CutShort.NONE and observation.has_reached(end) and rollout.suspend:\n",
        "analyses/test_gradual_return.py::test_the_deadline_takes_all_traffic_back_at_once_with_one_alert",
    ),
    _core(
        "a gradual return is committed after its first step",
        "_gradual_return.py",
        '    return {"rung": rung, "returning": True}\n',
        '    return {"rung": status.rung, "returning": True}\n',
        "analyses/test_gradual_return.py::test_a_status_says_that_traffic_returns_and_why_before_the_effect",
    ),
    _core(
        "a gradual return cannot leave a failed promotion",
        "_goal.py",
        "        is_rejecting=True,\n",
        "        is_rejecting=False,\n",
        "analyses/test_gradual_return.py::test_each_kind_of_rollback_goes_back_by_steps",
    ),
    _core(
        "a rejected revision gets traffic back",
        "_gradual_return.py",
        "    if routes is None or routes.permille >= rung.permille:\n",
        "    if routes is None or routes.permille != rung.permille:\n",
        "analyses/test_gradual_return.py::test_traffic_that_somebody_takes_away_does_not_come_back",
    ),
    _core(
        "a return skips the steps that the window names",
        "_revisions.py",
        "    return rollout.ladder.after_skipping(rung, window.steps)\n",
        "    return rollout.ladder.after_skipping(rung, ())\n",
        "analyses/test_rollback_window.py::test_a_return_takes_the_steps_that_the_window_names",
    ),
    _core(
        "the window has no end",
        "_revisions.py",
        "revision in status.history[: window.revisions]\n",
        "revision in status.history\n",
        "analyses/test_rollback_window.py::test_the_window_counts_the_revisions_before_the_promoted_one",
    ),
    _kubernetes(
        "an undo returns to a rejected revision",
        "past_revisions.py",
        "        if chosen in status.rejected:\n",
        "        if chosen in status.rejected and not revision:\n",
        "commands/test_undo.py::test_an_undo_refuses_a_rejected_revision",
    ),
    _core(
        "a command is handled twice",
        "_commands.py",
        "paused=True, handled=command.id",
        "paused=True",
        "decisions/test_commands.py::test_a_command_is_handled_once",
    ),
    _core(
        "flagger c: an off-list weight jumps to 100",
        "_ladder.py",
        "next((each for each in map(_weight_of, self.steps) if each > weight), None)",
        "next((b for w in [[*map(_weight_of, self.steps)]] for a, b in zip((0, *w), w, strict=False)"
        " if a == weight), None if weight in {*map(_weight_of, self.steps[-1:]), self.total} else 100)",
        "decisions/test_defects.py::test_defect_c_an_off_list_weight_goes_to_the_next_of_the_list",
    ),
    _core(
        "a step is left before its hold is over",
        "_analysis.py",
        "    if left > EPSILON:\n",
        "    if left > step.hold:\n",
        "cycle/test_steps.py::test_a_step_is_left_by_the_first_pass_after_its_hold",
    ),
    _core(
        "a step is left without its approval",
        "_analysis.py",
        "    if not step.approval or status.approval is Approval.GIVEN:\n",
        "    if not step.approval or status.approval is not Approval.NONE:\n",
        "cycle/test_steps.py::test_an_approval_is_asked_for_once_and_lasts_without_end",
    ),
    _mesh(
        "a match without conditions sends all requests to the canary",
        "_objects.py",
        "    return _ALL if routes.matched and context.match_on(routes) else routes.weight\n",
        "    return _ALL if routes.matched else routes.weight\n",
        "test_meshes.py::test_a_step_that_the_owner_removed_sends_no_request_more_to_the_canary[istio]",
    ),
    _manifest(
        "a provider that cannot match beside a weight is accepted",
        "_checks/_step_requests.py",
        '        if not getattr(can, f"{name}_beside_weight"):\n',
        "        if not can.matches:\n",
        "steps/test_step_match.py::test_a_match_that_would_not_do_what_it_says_is_refused"
        "[a provider with conditions or weights]",
    ),
    _core(
        "a step copies the percentage of the whole rollout",
        "_spec.py",
        "        return step.mirror if step is not None and step.mirror else self.mirror_weight\n",
        "        return self.mirror_weight if step is None or step.mirror else 0\n",
        "analyses/test_step_mirror.py::test_each_step_copies_its_percentage_beside_its_weight",
    ),
    _core(
        "traffic does not wait for the size of its step",
        "_goal.py",
        "    if not exposes_more(current, desired):\n        return desired\n",
        "    return desired\n",
        "analyses/test_step_size.py::test_traffic_waits_until_the_pods_of_the_size_are_ready",
    ),
    _core(
        "a promotion begins at the size of the last step",
        "_goal.py",
        "        size=FULL_SIZE,\n        is_sized=_is_sized(rollout),\n        primary=status.applied,\n",
        "        primary=status.applied,\n",
        "analyses/test_step_size.py::test_each_size_comes_before_its_weight_and_all_pods_before_the_promotion",
    ),
    _core(
        "a canary shrinks before its traffic has left",
        "_goal.py",
        "    return not exposes_more(desired, routes)\n",
        "    return True\n",
        "analyses/test_step_size.py::test_no_plan_takes_pods_from_a_canary_before_its_traffic",
    ),
    _core(
        "a canary that never gets its size waits for ever",
        "_decide.py",
        "    is_first = status.rung.is_initial or (is_growing and status.approval is Approval.NONE)\n",
        "    is_first = status.rung.is_initial\n",
        "analyses/test_step_size.py::test_one_pod_of_a_size_that_never_gets_ready_rolls_back_before_its_traffic",
    ),
    _kubernetes(
        "a promotion copies the size of a step",
        "workloads/primary.py",
        "    return desired if size is None else size.find_own(desired)\n",
        "    return desired\n",
        "workloads/test_primary.py::test_a_promotion_copies_the_owners_number_and_not_the_size_of_a_step",
    ),
    _kubernetes(
        "a new number of the owner is taken for the size of the step",
        "workloads/pod_workload.py",
        "    return target.own or (primary.whole if primary is not None else 0) or 1\n",
        "    return (primary.whole if primary is not None else 0) or 1\n",
        "scaling/test_canary_size.py::test_a_new_number_of_the_owner_in_mid_rollout_reaches_the_primary",
    ),
    _manifest(
        "a size beside an autoscaler is accepted",
        "_checks/_step_sizes.py",
        "    if scaler is not None:\n",
        "    if False:\n",
        "steps/test_step_size.py::test_a_size_is_refused_where_something_else_sets_the_replicas",
    ),
    _core(
        "a mirror stays after the owner has removed it",
        "_ladder.py",
        "            mirrored=rung.mirrored and (is_flaggers or (step is not None and step.mirror > 0)),\n",
        "            mirrored=rung.mirrored,\n",
        "analyses/test_step_mirror.py::test_an_edit_of_the_steps_leaves_no_copies_of_a_larger_percentage_at_weight_0",
    ),
    _core(
        "a match stays after the owner has removed it",
        "_ladder.py",
        "            matched=rung.matched and step is not None and bool(step.match),\n",
        "            matched=rung.matched,\n",
        "analyses/test_step_match.py::test_an_edit_that_removes_a_match_takes_its_requests_away_and_moves_no_weight",
    ),
    _core(
        "another revision does not free a frozen rollout",
        "_transitions.py",
        "    paused = builder.status.paused and not builder.status.is_frozen\n",
        "    paused = builder.status.paused\n",
        "cycle/test_freeze.py::test_another_revision_frees_a_frozen_rollout",
    ),
    _core(
        "flagger b: rollback hooks are asked only when all is ready",
        "_decide.py",
        "    if builder.poll and not status.paused and rollout.hooks_by_type[HookType.ROLLBACK]:\n",
        "    if builder.poll and not status.paused and is_in_step(rollout, status, builder.observation):\n",
        "decisions/test_defects.py::test_defect_b_rollback_hooks_are_asked_while_pods_are_not_ready",
    ),
    _core(
        "flagger p: a finished phase owes no post-rollout hooks",
        "_transitions.py",
        "(Pending.HOOKS, Pending.SETTLE) if rollout.hooks_by_type[HookType.POST_ROLLOUT] else (Pending.SETTLE,)",
        "(Pending.SETTLE,) if rollout else ()",
        "decisions/test_defects.py::test_defect_p_post_rollout_hooks_and_the_success_alert_survive_a_crash",
    ),
    # --------------------------------------------------------------------------------------------- capacity and traffic
    _core(
        "scale down before the routes",
        "_goal.py",
        "    if routes is None or routes.is_exposed or is_draining or primary",
        "    if is_draining or primary",
        "cycle/test_goal.py::test_the_cycle_that_takes_the_traffic_away_does_not_stop_the_canary",
    ),
    _core(
        "the drain is ignored",
        "_goal.py",
        "    if routes is None or routes.is_exposed or is_draining or primary",
        "    if routes is None or routes.is_exposed or primary",
        "cycle/test_goal.py::test_the_canary_drains_before_it_stops",
    ),
    _core(
        "traffic goes to a canary that is not ready",
        "_goal.py",
        "    if desired.is_exposed and not canary_runs:\n",
        "    if desired.is_exposed and observation.target is None:\n",
        "cycle/test_goal.py::test_a_canary_that_loses_its_pods_loses_its_traffic",
    ),
    _core(
        "flagger o: roll back onto a primary that carries the rejected revision",
        "_goal.py",
        "        needs_sound_primary=not status.is_settled,\n",
        "        needs_sound_primary=False,\n",
        "simulation/test_faults.py"
        "::test_a_crash_after_any_write_leads_to_the_same_end[weights-primary takes over halfway]",
    ),
    _core(
        "traffic stays with a primary that is gone",
        "_goal.py",
        "        if not (canary_runs and goal.allows_failover):\n",
        "        if goal.allows_failover or not canary_runs:\n",
        "decisions/test_defects.py::test_seen_7_an_unready_primary_never_gets_traffic_by_a_rollback",
    ),
    _core(
        "an unready primary does not halt",
        "_decide.py",
        "    outcome = _side_unready(builder, observation.primary, rollout.primary_ready, is_primary=True)\n"
        "    outcome = outcome or _side_unready(builder, target,",
        "    outcome = _side_unready(builder, target,",
        "decisions/test_defects.py::test_defect_g_a_primary_scaled_to_zero_is_detected",
    ),
    _core(
        "flagger g: a primary scaled to zero is not noticed",
        "_decide.py",
        "    elif is_primary and side.desired == 0:\n",
        "    elif is_primary and side.desired < 0:\n",
        "decisions/test_defects.py::test_defect_g_a_primary_scaled_to_zero_is_detected",
    ),
    _core(
        "idle is enforced",
        "_goal.py",
        "def _idle(rollout: Rollout, status: Status) -> Goal:\n    return Goal(\n"
        "        routes=_primary_only(rollout, status),\n"
        "        canary=Scale.LEAVE if status.is_settled else Scale.DOWN,\n",
        "def _idle(rollout: Rollout, status: Status) -> Goal:\n    return Goal(\n"
        "        routes=_primary_only(rollout, status),\n"
        "        canary=Scale.DOWN,\n",
        "cycle/test_goal.py::test_an_idle_rollout_leaves_a_scaled_target_and_says_so_once",
    ),
    _core(
        "the session cookie is never taken back",
        "_goal.py",
        "    return Routes(expired=status.applied)\n",
        "    return PRIMARY_ONLY\n",
        "cycle/test_goal.py::test_a_session_cookie_expires_at_the_end",
    ),
    _core(
        "a deleted rollout does not wait for its target",
        "_goal.py",
        "        if not is_ready and not observation.has_reached(goal.until):\n",
        "        if observation.now < 0:\n",
        "cycle/test_goal.py::test_on_deletion_the_target_runs_before_it_gets_its_traffic",
    ),
    _core(
        "a status that was lost gives the primary to the target's revision",
        "_decide.py",
        "    if target is not None and primary is not None and primary.revision != target.revision:\n",
        "    if target is None and primary is not None:\n",
        "cycle/test_adoption.py::test_a_primary_that_is_down_counts_as_promoted_too",
    ),
    _core(
        "a revision that comes during the initialisation replaces a primary that serves",
        "_decide.py",
        "primary.revision != target.revision and _serves(builder, reason):\n",
        "primary.revision != target.revision and reason == 'never':\n",
        "cycle/test_adoption.py"
        "::test_a_revision_that_comes_during_the_initialisation_does_not_replace_a_primary_that_serves",
    ),
    _core(
        "a primary that is down keeps a new revision from being promoted without an analysis",
        "_decide.py",
        "    if not (may_replace or rollout.skip_analysis):\n",
        "    if not rollout.suspend:\n",
        "cycle/test_replacements.py::test_skip_analysis_replaces_a_primary_that_is_down[pace0]",
    ),
    _core(
        "a primary that is down is reported at each poll",
        "_decide.py",
        "    (builder.emit_once if is_down else builder.emit)(kind, reason)\n",
        "    builder.emit(kind, reason)\n",
        "cycle/test_replacements.py::test_a_primary_that_is_down_is_reported_once[False]",
    ),
    _search(
        "the search misses a promotion over a primary that serves",
        "_decide.py",
        "primary.revision != target.revision and _serves(builder, reason):\n",
        "primary.revision != target.revision and reason == 'never':\n",
        "test_verify.py::test_no_single_fault_breaks_a_canary",
    ),
    _search(
        "former routes go before the present ones are in force",
        "simulation/state.py",
        "        return self.since is not None and now >= self.since + drain\n",
        "        return self.since is not None and now >= self.since\n",
        "test_verify.py::test_no_single_fault_breaks_a_canary",
    ),
    _search(
        "former routes are never taken back",
        "simulation/state.py",
        "        former = None\n",
        "        former = state.former\n",
        "test_verify.py::test_no_single_fault_breaks_a_canary",
    ),
    _search(
        "a Canary takes the route of another one",
        "simulation/state.py",
        "    if state.claimed:\n",
        "    if state.claimed and state.primary:\n",
        "test_verify.py::test_no_single_fault_breaks_a_canary",
    ),
    # ------------------------------------------------------------------------------------------ what two processes do
    _search(
        "a process does not notice that it was overtaken",
        "driver.py",
        "    memory.last_goal = (after.phase, after.applied) if plan else None\n",
        "",
        "test_verify.py::test_the_next_cycle_corrects_a_late_effect_of_an_overtaken_process[plain-schedule0]",
    ),
    _search(
        "what was done late counts as settled before it is seen",
        "driver.py",
        "    if last_goal is None or status.phase not in IDLE",
        "    if last_goal is None or status.pending or status.phase not in IDLE",
        "test_verify.py::test_the_next_cycle_corrects_a_late_effect_of_an_overtaken_process[plain-schedule1]",
    ),
    _search(
        "a primary that was taken back late stays so",
        "_goal.py",
        '        primary="" if status.is_settled else status.promoted,\n',
        "",
        "test_verify.py::test_a_late_restore_of_the_primary_by_an_overtaken_process_is_corrected",
    ),
    # -------------------------------------------------------------------------------------------------------- manifests
    _manifest(
        "a link of an alert may be any text",
        "_alerts/_templates.py",
        " or not _ADDRESS.fullmatch(address)",
        "",
        "alerts/test_templates.py::test_only_an_address_of_the_web_is_a_link",
    ),
    _manifest(
        "flagger e: a policy without any step is taken",
        "_resolve.py",
        "    if not (analysis.step_weight or analysis.step_weights or analysis.iterations or analysis.steps):\n",
        "    if analysis.step_weight == 101:\n",
        "test_resolve.py::test_no_step_at_all_is_refused_with_the_remedy",
    ),
    # ------------------------------------------------------------------------------------------------------- the runner
    _runtime(
        "flagger i: a second cycle of a rollout begins beside the first",
        "runner.py",
        "        if scheduled.task is not None:\n            scheduled.driver.changed.set()\n",
        "        if scheduled.due is None and scheduled.timer is None and scheduled.failures < 0:\n"
        "            scheduled.driver.changed.set()\n",
        "test_runner.py::test_a_rollout_never_runs_two_cycles_at_once_and_a_change_in_a_cycle_makes_another_right_after",
    ),
    _runtime(
        "a refused effect is tried at each cycle",
        "_driver.py",
        "if before is not None and now < before.retry_at:",
        "if before is not None and now < 0:",
        "test_refused_effects.py::test_a_refused_effect_is_tried_ever_more_rarely",
    ),
    _runtime(
        "a refused effect holds an analysis for ever",
        "_driver.py",
        "            world = self._refused.show(stored.status, world)",
        "            self._refused.show(stored.status, world)",
        "test_refused_effects.py::test_the_deadline_ends_an_analysis_whose_effect_is_refused",
    ),
    _runtime(
        "waits after failures never grow",
        "runner.py",
        "limits.backoff * 2.0 ** min(failures - 1, 60)",
        "limits.backoff",
        "test_runner.py::test_the_wait_after_failures_doubles_up_to_its_limit",
    ),
    _runtime(
        "a change that was missed is never found",
        "runner.py",
        "            return self._now + self._limits.resync\n",
        "            return None\n",
        "test_runner.py::test_a_resync_finds_a_change_that_no_source_reported",
    ),
    _runtime(
        "an adapter's exception gets out",
        "_calls.py",
        '        raise AdapterFault(f"{name} failed: {describe(error)}") from error\n',
        "        raise\n",
        "test_calls.py::test_an_exception_becomes_a_world_error_with_its_cause",
    ),
    _runtime(
        "a write is cut off when its caller is cancelled",
        "_calls.py",
        "        return await asyncio.shield(task)\n",
        "        return await task\n",
        "test_calls.py::test_a_write_is_carried_to_its_end_when_its_caller_is_cancelled",
    ),
    _runtime(
        "all providers share one lane",
        "_slots.py",
        "        lane = self._open.get(server)\n",
        '        lane = self._open.get(server := "all")\n',
        "test_runner.py::test_a_provider_that_hangs_for_many_delays_no_question_of_another",
    ),
    _runtime(
        "all namespaces share one lane",
        "_driver.py",
        "self.capacity.questions.slot(rollout.namespace, server)",
        'self.capacity.questions.slot("all", server)',
        "test_runner.py::test_questions_that_hang_in_one_namespace_delay_no_other",
    ),
    _runtime(
        "one namespace may have all cycles",
        "_slots.py",
        "share=limits.cycles - limits.cycles // 3, reserve=1 + limits.cycles // 16)",
        "share=limits.cycles)",
        "test_runner.py::test_slow_cycles_in_one_namespace_make_no_cycle_of_another_late",
    ),
    _runtime(
        "a question that waits for its turn counts as a failure",
        "_driver.py",
        "            return unanswered\n",
        "            return MetricAnswer(error=str(unanswered))\n",
        "test_runner.py::test_a_question_without_a_slot_waits_and_counts_as_no_failure",
    ),
    _endless(
        _runtime(
            "to open one adapter makes all others wait",
            "pool.py",
            "        async with entry.opening:\n",
            '        async with self.__dict__.setdefault("opening", entry.opening):\n',
            "test_pool.py::test_an_adapter_that_takes_long_to_open_keeps_no_other_waiting",
        )
    ),
    _endless(
        _runtime(
            "names are looked up in the threads of the event loop",
            "threads.py",
            "        return await self._threads.run(look_up)\n",
            "        return await asyncio.to_thread(look_up)\n",
            "test_threads.py::test_names_that_hang_leave_the_threads_of_the_loop_free",
        )
    ),
    _runtime(
        "a status is committed over somebody else's",
        "_driver.py",
        "        self._version = stored.version\n",
        "        self._version = self._version or stored.version\n",
        "test_runner.py::test_a_conflict_is_followed_by_a_fresh_look",
    ),
    _runtime(
        "a slow hook is called again at every poll",
        "_driver.py",
        '            keyless = evolve(question, key="")',
        "            keyless = question",
        "test_runner.py::test_a_slow_hook_is_called_once_however_often_the_world_changes_meanwhile",
    ),
    _runtime(
        "a notifier that has taken a notice gets it again when another one fails",
        "_driver.py",
        " if not delivery.is_complete]",
        "]",
        "test_runner.py::test_a_notifier_that_fails_delays_neither_other_notifiers_nor_the_rollout",
    ),
    _runtime(
        "an answer of the wrong kind is believed",
        "_driver.py",
        "    check_type(port, answer, expected)\n",
        "",
        "test_runner.py::test_an_answer_of_the_wrong_kind_holds_the_rollout_and_is_no_busy_loop",
    ),
    _runtime(
        "an interval begins when its answers are in",
        "_driver.py",
        "        now = self.limits.now(parts.clock())\n",
        "        now = parts.clock()\n",
        "test_runner.py::test_cycles_due_within_a_step_begin_together_and_intervals_stay_exact",
    ),
    _endless(
        _runtime(
            "a receiver that never answers gets attempts for ever",
            "deliveries.py",
            "                if delivery.attempts <= DELIVERY_ATTEMPTS:\n"
            "                    delivery.error = await send(receiver)\n",
            "                delivery.error = await send(receiver)\n",
            "test_deliveries.py::test_the_notifier_gives_up_a_receiver_that_never_answers",
        )
    ),
    _runtime(
        "an unknown provider is taken for the first that there is",
        "registry.py",
        "    if not entries:\n",
        "    entries = entries or _entries(port)[:1]\n    if not entries:\n",
        "test_registry.py::test_an_unknown_name_is_an_error_that_lists_the_installed_names",
    ),
    # ------------------------------------------------------------------------------------------------------------ hooks
    _hooks(
        "a hook passes with any status below 300",
        "webhook.py",
        "http_answer.status <= HTTPStatus.ACCEPTED",
        "http_answer.status < HTTPStatus.MULTIPLE_CHOICES",
        "test_webhook.py::test_a_hook_passes_up_to_202_and_says_what_the_receiver_said",
    ),
    _hooks(
        "a value of a cloud event enters its header as it is",
        "webhook.py",
        'quote(value, _PLAIN_IN_HEADERS, errors="replace")',
        "value",
        "test_webhook.py::test_no_attribute_of_a_cloud_event_breaks_its_header",
    ),
    _hooks(
        "a repeated call carries another key",
        "webhook.py",
        "headers=headers,",
        'headers={**headers, "Idempotency-Key": str(time.monotonic())},',
        "test_webhook.py::test_a_temporary_failure_gets_another_attempt_under_the_same_key",
    ),
    _hooks(
        "no receiver's certificate is checked",
        "webhook.py",
        "ssl=not hook.disable_tls",
        "ssl=False",
        "test_webhook.py::test_a_certificate_is_checked_unless_the_owner_says_otherwise",
    ),
    _hooks(
        "an address that may be a secret is told",
        "webhook.py",
        "            return HookAnswer(passed=False, text=_INVALID_URL)\n",
        '            return HookAnswer(passed=False, text=f"{hook.url} is not valid")\n',
        "test_webhook.py::test_an_invalid_url_is_not_repeated",
    ),
    # ---------------------------------------------------------------------------------------------------------- metrics
    _metrics(
        "not a number is told as a value",
        "source.py",
        "value is None or math.isnan(value)",
        "value is None",
        "test_providers.py::test_not_a_number_is_no_data",
    ),
    _metrics(
        "a provider's error is read as its answer",
        "source.py",
        "        if not passes(answer.status):\n",
        "        if not passes(answer.status) and not answer.text:\n",
        "test_providers.py::test_a_status_that_is_no_success_is_an_error_whatever_the_body_says",
    ),
    _metrics(
        "an error repeats the credentials",
        "source.py",
        "        return (*self._fixed_secrets, *self._renewable_secrets)\n",
        "        return ()\n",
        "test_providers.py::TestThePortsContract::test_a_secret_is_in_no_answer_log_or_repr",
    ),
    _of("canarycore", "tests/adapters/metrics")(
        "a name without a value is left out of a query",
        "gotemplate/_execute.py",
        "        if value is MISSING:\n            shown",
        "        if value is MISSING and not pipeline.commands:\n            shown",
        "test_template.py::test_a_name_without_a_value_is_refused_by_name",
    ),
    _core(
        "printf pads a number with spaces where Go writes zeros",
        "gotemplate/_printf.py",
        "        elif self.has_zeros:\n",
        "        elif self.has_zeros and sign:\n",
        "gotemplate/test_gotemplate.py::test_a_template_has_the_result_that_go_gives_it",
    ),
    # ----------------------------------------------------------------------------------------------------------- meshes
    _mesh(
        "the primary keeps its weight while the canary gets its own",
        "istio.py",
        "        _destination(context, context.primary, 100 - weight),\n",
        "        _destination(context, context.primary, 100),\n",
        "test_istio.py::test_a_tcp_service_is_split_by_port_and_weight",
    ),
    _mesh(
        "a mesh does not make a session cookie expire",
        "istio.py",
        "    if routes.expired:\n",
        "    if routes.expired and routes.weight:\n",
        "test_meshes.py::test_a_mesh_reads_cookies",
    ),
    _mesh(
        "a route of connections sends all to the canary in place of matching requests",
        "gatewayapi.py",
        "    if routes.mirrored or routes.matched or context.match:\n",
        "    if routes.mirrored:\n",
        "gateway_api/test_route_kinds.py::test_a_route_of_connections_refuses_routes_of_requests",
    ),
    _mesh(
        "a route of the owner that is gone keeps the others from a failover",
        "gatewayapi.py",
        "                if routes.weight < TOTAL_WEIGHT:\n                    raise\n",
        "                raise\n",
        "gateway_api/test_further_routes.py::test_a_route_that_cannot_be_split_gets_no_weight_and_keeps_no_traffic",
    ),
    _mesh(
        "a split changes the share of the other backends of its rule",
        "_further_routes.py",
        '            result.append({**backend, "weight": total})\n',
        '            result.append({**backend, "weight": _weight(backend)})\n',
        "gateway_api/test_further_routes.py::test_each_backend_that_is_the_apex_is_split_and_all_else_stays",
    ),
    _kubernetes(
        "a route that is the owner's again stays split",
        "routing/router.py",
        "            yield from self._return_of(objects, ref) if ref not in refs else ()\n",
        "            yield from ()\n",
        "routing/test_further_routes.py::test_a_named_route_follows_the_weights_and_is_the_owners_again_at_the_end",
    ),
    _manifest(
        "a field that the kind of route cannot express is left out without a word",
        "_resolve.py",
        "        *check_route_kind(canary, provider),\n",
        "",
        "definition/test_route_kind.py::test_a_field_that_the_kind_cannot_express_is_refused",
    ),
    _mesh(
        "a mesh ignores a condition that it does not support",
        "_objects.py",
        "            if header.kind not in kinds:\n",
        "            if not kinds:\n",
        "test_others.py::test_nginx_refuses_a_condition_that_it_does_not_support",
    ),
    _mesh_reading(
        "an invalid foreign weight is read as a weight",
        "foreign.py",
        "    return value if 0 <= value <= 100 else None\n",
        "    return value\n",
        "test_meshes.py::test_an_invalid_weight_is_not_read",
    ),
    # -------------------------------------------------------------------------------------------------------- notifiers
    _notifiers(
        "events go to the chat",
        "chat.py",
        "        if notice.channel is not Channel.ALERT:\n",
        "        if notice.channel is None:\n",
        "test_chat.py::test_events_are_not_for_chats",
    ),
    _notifiers(
        "an alert that was not taken counts as told",
        "chat.py",
        "            raise WorldError(str(last)) from None\n",
        "            del last\n",
        "test_chat.py::test_a_lasting_failure_is_an_error_that_is_not_final",
    ),
    _notifiers(
        "a workflow of Teams is known by any part of its host",
        "msteams.py",
        '(self.url.host or "").endswith(WORKFLOW_DOMAINS)',
        "any(domain[1:] in str(self.url.host) for domain in WORKFLOW_DOMAINS)",
        "test_chat.py::test_a_webhook_of_teams_gets_a_card_for_workflows_by_its_host",
    ),
    _notifiers(
        "an error repeats the token",
        "chat.py",
        "describe_answer(answer, self._secrets)",
        "describe_answer(answer)",
        "test_chat.py::test_the_token_is_in_no_error",
    ),
    _notifiers(
        "what a room refuses for good is sent again",
        "chat.py",
        "            raise Refused(description)\n",
        "            raise _UnsettledError(description)\n",
        "test_chat.py::test_a_final_refusal_is_raised_at_once_with_the_room_s_words",
    ),
    _mesh_reading(
        "no composed name is compared with its limit",
        "manifest/_resolve.py",
        "        *check_names(canary, provider),\n",
        "",
        "test_names.py::test_an_external_service_and_its_copies_fit",
    ),
    # ------------------------------------------------------------------------------------------------------ load tester
    _loadtester(
        "flagger m: a task of an unknown type is looked up",
        "tasks.py",
        "    if kind not in KINDS:\n",
        "    if kind is None:\n",
        "test_server.py::test_a_task_of_an_unknown_type_is_refused",
    ),
    _loadtester(
        "latencies count from the sending",
        "generator/engine.py",
        "result.latencies.add(now - slot.due)",
        "result.latencies.add(now - slot.sent)",
        "generator/test_engine.py::test_a_stall_delays_every_request_that_is_due_meanwhile",
    ),
    _loadtester(
        "a gate is answered before it is on disk",
        "gates.py",
        "            await asyncio.to_thread(_write, self._file, gates)\n",
        "",
        "test_server.py::test_gates_survive_a_restart",
    ),
    _loadtester(
        "everybody reads the file of the gates",
        "gates.py",
        "0o600)",
        "0o644)",
        "test_gates.py::test_only_the_owner_reads_the_file",
    ),
    _loadtester(
        "a shell text may substitute commands in double quotes",
        "allowed.py",
        '        if character in "$`":\n',
        '        if character in "":\n',
        'test_allowed.py::test_everything_else_is_refused_with_the_remedy[echo "$(id)"]',
    ),
    _loadtester(
        "a task leaves its processes behind",
        "programs.py",
        "            os.killpg(process.pid, signal.SIGKILL)\n",
        "            os.kill(process.pid, signal.SIGKILL)\n",
        "test_tasks.py::test_a_task_leaves_no_process_behind",
    ),
    # ------------------------------------------------------------------------------------------------------- Kubernetes
    _kubernetes(
        "flagger j: what the server fills in is part of a revision",
        "workloads/revision.py",
        "    written = without_defaults(template)\n",
        "    written = json.loads(json.dumps(template))\n",
        "workloads/test_revision.py::test_defaults_of_the_api_server_are_no_part_of_a_revision",
    ),
    _kubernetes(
        "flagger k: a rollout that waits counts as successful",
        "telemetry/prometheus.py",
        "    return SUCCESSFUL if status.phase in IDLE else RUNNING\n",
        "    return RUNNING if status.phase is Phase.PROGRESSING else SUCCESSFUL\n",
        "telemetry/test_prometheus.py::test_a_status_is_1_where_a_rollout_ended_well_2_where_it_failed_and_0_in_between",
    ),
    _kubernetes(
        "the series of a former target stay",
        "telemetry/prometheus.py",
        "            self._remove(key, *flagger)\n",
        "            pass\n",
        "telemetry/test_prometheus.py::test_a_former_target_leaves_no_series",
    ),
    _kubernetes(
        "a replica that lost the lead keeps the series of its Canaries",
        "telemetry/prometheus.py",
        "        if not leads:\n",
        "        if not leads and not self._series:\n",
        "telemetry/test_prometheus.py::test_a_replica_that_no_longer_leads_has_no_series_of_canaries",
    ),
    _kubernetes(
        "the names of providers that a tenant makes up fill the memory",
        "telemetry/prometheus.py",
        "        provider = report.provider if report.provider in self._providers[report.port] else OTHER\n",
        "        provider = report.provider\n",
        "telemetry/test_prometheus.py::test_a_provider_without_an_adapter_has_no_series_of_its_own",
    ),
    _kubernetes(
        "the adopted status is computed again at each load",
        "resources/flagger_status.py",
        "        return evolve(adopted, version=await self._store.commit(key, adopted.status, stored.version))\n",
        "        return adopted\n",
        "test_flagger_takeover.py::test_a_revision_after_the_takeover_of_a_failed_rollout_is_analysed",
    ),
    _kubernetes(
        "a revision that Flagger has not seen goes on at the old weight",
        "resources/flagger_status.py",
        "    if target.revised_at is None or not status.since:\n",
        "    if target.revised_at is not None or not status.since:\n",
        "test_flagger_takeover.py::test_a_revision_between_flagger_and_the_controller_starts_at_weight_0",
    ),
    _kubernetes(
        "a handled command is recorded in the status alone",
        "resources/store.py",
        "            version = await self._record_handling(key, canary, status.handled, version)\n",
        "            pass\n",
        "test_flagger_takeover.py::test_a_command_is_not_carried_out_again_after_flagger_has_replaced_the_status",
    ),
    _kubernetes(
        "a command older than the rollout of Flagger's is carried out",
        "resources/commands.py",
        "    elif commanded_at is None or commanded_at <= status.since:\n",
        "    elif commanded_at is None:\n",
        "test_flagger_takeover.py::test_a_command_older_than_the_rollout_of_flagger_is_refused",
    ),
    _kubernetes(
        "the configs of a revision are their names",
        "workloads/revision.py",
        "    if facts is None or facts.is_shared:\n        return name\n",
        "    if facts or not text:\n        return name\n",
        "workloads/test_revision.py::test_a_changed_config_is_a_new_revision_of_the_target_alone",
    ),
    _kubernetes(
        "a promotion overwrites a copy that the primary of another Canary reads",
        "workloads/history.py",
        "        return self.names.own if await readers(self.kind, name) else name\n",
        "        return name\n",
        "workloads/test_shared_configs.py::test_a_copy_that_two_primaries_read_is_never_overwritten[first-owners0]",
    ),
    _kubernetes(
        "two Canaries may use one Ingress",
        "resources/claims.py",
        "        yield namespace, _INGRESS, ingress.name\n",
        "        pass\n",
        "api/test_ownership.py::test_a_second_canary_of_one_ingress_is_refused_and_changes_nothing[web-nginx-nginx]",
    ),
    _kubernetes(
        "the objects of a former name stay",
        "routing/leftovers.py",
        "        self.add(key, needed_refs(before))\n",
        "",
        "routing/test_leftovers.py::test_a_renamed_service_takes_the_old_services_and_routes_with_it[0-False]",
    ),
    _kubernetes(
        "an object of somebody else goes with a former name",
        "routing/router.py",
        "        if not owner.owns(ownership_of(body)):\n            return await self._give_leftover_back",
        "        if body is None:\n            return await self._give_leftover_back",
        "routing/test_leftovers.py::test_an_object_of_somebody_else_with_the_former_name_stays",
    ),
    _kubernetes(
        "the label of a primary's pods is longer than a label may be",
        "api/metadata.py",
        "    return compose_name(value, PRIMARY_SUFFIX, LABEL.most)\n",
        "    return value + PRIMARY_SUFFIX\n",
        "workloads/test_revision.py::test_a_primary_whose_label_is_shortened_has_its_targets_shape[56]",
    ),
    _kubernetes(
        "what was remembered is believed of a status that somebody changed",
        "resources/status_codec.py",
        '    return memory if seal == _seal(stored) else ""\n',
        '    return memory if seal else ""\n',
        "resources/test_status_codec.py::test_a_changed_field_breaks_the_seal",
    ),
    _kubernetes(
        "a promotion sets the replicas that an autoscaler sets",
        "workloads/primary.py",
        "    if own_replicas(target) and not copying.keeps_replicas:\n",
        "    if own_replicas(target):\n",
        "workloads/test_primary.py::test_replicas_are_promoted_unless_an_autoscaler_sets_them",
    ),
    _kubernetes(
        "a target at zero takes its primary there",
        "workloads/primary.py",
        "    if own_replicas(target) and not copying.keeps_replicas:\n",
        "    if not copying.keeps_replicas:\n",
        "workloads/test_primary.py::test_a_target_at_zero_leaves_its_primarys_replicas",
    ),
    _kubernetes(
        "counts of before a change count as those of after it",
        "workloads/facts.py",
        '    return status, _count(body, "metadata", "generation") <= _count(status, "observedGeneration")\n',
        "    return status, True\n",
        "workloads/test_facts.py::test_no_pod_is_updated_until_the_deployments_controller_sees_the_change",
    ),
    _kubernetes(
        "a registry's credentials are copied",
        "workloads/configs.py",
        '    return opted_out or (body["kind"] == SECRET.kind and body.get("type") not in TRACKED_TYPES)\n',
        "    return opted_out\n",
        "workloads/test_configs.py::test_configs_that_opt_out_and_registry_credentials_are_shared",
    ),
    _kubernetes(
        "the primary's autoscaler asks about the canary",
        "scaling/autoscalers.py",
        '    elif get_text(metadata, "query"):\n',
        '    elif get_text(metadata, "query") and not reference:\n',
        "workloads/test_autoscalers.py::test_a_query_about_the_target_or_its_canary_becomes_one_about_the_primary",
    ),
    _kubernetes(
        "a note of what was replaced is written over",
        "routing/takeover.py",
        "    is_noted = LAST_APPLIED in annotations or NOTE in annotations\n",
        "    is_noted = LAST_APPLIED in annotations\n",
        "routing/test_takeover.py::test_a_known_original_gets_no_second_note",
    ),
    _kubernetes(
        "a renewed Secret is never read",
        "api/secrets.py",
        "            if self._clock() >= secret.until:\n",
        "            if not secret.values:\n",
        "api/test_secrets.py::test_a_renewed_secret_is_seen_when",
    ),
    _kubernetes(
        "a template of a forbidden namespace is used",
        "providers/metrics.py",
        "        if namespace != rollout.namespace and not self._cross_namespace:\n",
        "        if not namespace:\n",
        "providers/test_metrics.py::test_a_template_of_another_namespace_can_be_forbidden",
    ),
    _kubernetes(
        "a leader that was deposed writes on",
        "api/client.py",
        "                self._fence()  # only now",
        "                _unfenced()  # only now",
        "api/test_connect.py::test_a_delayed_write_asks_the_fence_right_before_it_is_sent",
    ),
    _kubernetes(
        "pods count as ready although no request reaches them",
        "workloads/pod_workload.py",
        "            if reach.ready < workload.ready:\n",
        "            if reach.ready < 0:\n",
        "selection/test_endpoints.py::test_a_side_without_ready_endpoints_has_no_capacity[podinfo-primary-primary]",
    ),
    _kubernetes(
        "a primary selects its pods by one label",
        "selection/selectors.py",
        "    return {**selector, label: primary_label(selector[label])}\n",
        "    return {label: primary_label(selector[label])}\n",
        "workloads/test_primary.py::test_the_first_selector_label_selects_the_primarys_pods[matched2-label2]",
    ),
    _kubernetes(
        "a new primary shares its pods with another workload",
        "selection/selectors.py",
        "    return bool(selector) and selector.items() <= labels.items()\n",
        "    return False\n",
        "selection/test_labels.py::test_a_target_whose_primary_would_share_pods_is_refused[equal]",
    ),
    _kubernetes(
        "a lost field is reported without a look at the definition",
        "telemetry/dropped_fields.py",
        "if each.field in omissions and each.field not in annotated]",
        "if each.field not in annotated]",
        "telemetry/test_dropped_fields.py::test_the_controller_reports_nothing_else[a definition with the field]",
    ),
    _manifest(
        "an annotation that carries a field is ignored",
        "_definition/_annotations.py",
        "        changed = evolve(canary.analysis, **analysis)\n",
        "        changed = canary.analysis\n",
        "definition/test_annotations.py::test_an_annotation_does_what_the_field_does[drain]",
    ),
    _manifest(
        "an annotation wins over a field with another value",
        "_definition/_annotations.py",
        "!= value and not ignored.failed",
        "!= value and ignored.failed",
        "definition/test_annotations.py::test_an_annotation_and_a_field_agree_or_are_refused[drain]",
    ),
    _mesh(
        "a query asks by a label that the proxy does not export",
        "traefik.py",
        'code!~"5.."',
        'status!~"5.."',
        "test_queries.py::test_a_query_asks_by_names_that_the_proxy_exports[traefik-CheckKind.SUCCESS_RATE]",
    ),
    _mesh(
        "an action is written into an Ingress that does not follow it",
        "alb.py",
        'get_text(path, "backend", "service", "port", "name") == _BY_ANNOTATION',
        "True",
        "own_providers/test_alb.py::test_an_ingress_whose_path_leads_to_the_port_of_the_service_is_refused",
    ),
    _mesh(
        "requests leave the canary before the primary is full again",
        "replicas.py",
        "        return self.primary.serving >= self.replicas\n",
        "        return self.primary.desired >= self.replicas\n",
        "own_providers/test_replicas.py::test_a_return_fills_the_primary_before_it_takes_the_requests_away",
    ),
    Defect(
        "a split by pods scales down before the other side is ready",
        "adapters/runtime/canarycore_runtime/workloads/pod_split.py",
        "replicas - min(canary.serving, goal.canary)",
        "goal.primary",
        "tests/adapters/mesh/own_providers/test_replicas.py::test_a_split_scales_up_before_it_scales_down",
    ),
    Defect(
        "a ready pod of a StatefulSet goes back while another one serves nothing",
        "adapters/kubernetes/canarycore_kubernetes/scaling/partition.py",
        "return surplus[-1] if all_serve and self.facts.ready >= self.facts.replicas else None",
        "return surplus[-1] if all_serve is not None else None",
        "tests/adapters/kubernetes/scaling/test_partition.py"
        "::test_one_pod_goes_back_at_a_time_and_none_while_another_serves_nothing",
    ),
    Defect(
        "a StatefulSet holds no later revision back at rest",
        "adapters/kubernetes/canarycore_kubernetes/scaling/partition.py",
        "if self.has_candidate else ALL_STABLE",
        "if self.has_candidate else 0",
        "tests/adapters/kubernetes/scaling/test_partition.py::test_the_partition_follows_from_the_object_alone",
    ),
    _manifest(
        "a StatefulSet may give all its pods to the canary",
        "_checks/_pods.py",
        "        if weight > MOST_WEIGHT:\n",
        "        if weight > MOST_WEIGHT + 1:\n",
        "test_resolve.py::test_a_stateful_set_is_refused_where_its_partition_cannot_do_it",
    ),
    # ----------------------------------------------------------------------------- rollouts that are not Deployments
    _core(
        "a rollout in place is promoted before it has all requests",
        "_ladder.py",
        "        if above is None and (self.in_place or self.bake) and rung.permille < MOST_PERMILLE:\n",
        "        if above is None and (self.in_place or self.bake) and rung.permille > MOST_PERMILLE:\n",
        "cycle/test_in_place.py::test_a_rollout_in_place_promotes_the_version_that_has_all_requests",
    ),
    _core(
        "a weight in tenths counts as percent",
        "_observation.py",
        "    return weight if tenths else 10 * weight\n",
        "    return 10 * weight\n",
        "data/test_ladder.py::test_the_same_share_is_the_same_rung_in_either_unit",
    ),
    _runtime(
        "a candidate that changed is promoted under its former name",
        "workloads/instant.py",
        "            return\n        await self._check_candidate(rollout, revision)\n        await self.set_stable",
        "            return\n        await self.set_stable",
        "contracts/test_instant.py::test_a_candidate_that_changes_is_not_promoted_under_its_former_name",
    ),
    # ------------------------------------------------------------------------------------------------------ data planes
    _planes(
        "an error names the first part only that a machine lacks",
        "rehearsal/requirements.py",
        "    missing = tuple(find_missing(name, data_plane))\n",
        "    missing = tuple(find_missing(name, data_plane))[:1]\n",
        "test_requirements.py::test_one_error_names_all_missing_parts_with_remedies",
    ),
    # ------------------------------------------------------------------------------------------------------ one machine
    _local(
        "a stale commit wins",
        "store.py",
        "WHERE key = ? AND version = ?",
        "WHERE key = ? AND version <> -?",
        "test_store.py::TestTheStoreContract::test_a_stale_commit_is_a_conflict_and_writes_nothing",
    ),
    _local(
        "requests of before the window count",
        "envoy/metrics.py",
        "now.at - check.window, question.revision)",
        "0.0, question.revision)",
        "envoy/test_metrics.py::test_requests_before_the_window_do_not_count",
    ),
    _local(
        "a window without requests is a perfect one",
        "envoy/metrics.py",
        "            return MetricAnswer()\n        return MetricAnswer(value=_VALUES",
        "            return MetricAnswer(value=100.0)\n        return MetricAnswer(value=_VALUES",
        "envoy/test_metrics.py::test_no_request_in_the_window_is_no_data",
    ),
    _local(
        "a rollback hook without a gate requests a rollback",
        "hooks.py",
        "        return await self._gate(question, default=False)\n",
        "        return await self._gate(question, default=True)\n",
        "test_hooks.py::test_a_rollback_hook_requests_one_only_if_its_gate_says_so",
    ),
)
