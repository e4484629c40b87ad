"""The differences from Flagger, each tied to a row of docs/differences.md by its id.

A row rewrites what was recorded into what we promise instead, or takes out what only we say; then both stories must be
the same. So a row is no licence to differ: where it applies, doing as Flagger did is a failure too. Rows look at what
happens in a story, never at the name of a scenario. They are applied in the order of `ROWS`, and a row is used when it
changes anything.
"""

from __future__ import annotations

from collections.abc import Iterable

from canarycore.errors import Problem
from canarycore.notices import NoticeKind
from tests.conformance.rows import looks, promises
from tests.conformance.rows.case import Row
from tests.conformance.rows.promises import only_ours, same_words

DROPPING: tuple[tuple[str, Row], ...] = (
    ("D02", looks.threshold_in_the_same_cycle),
    ("D26", looks.no_step_back_at_a_gate),
    ("D13", looks.weights_set_by_hand),
)

ROWS: tuple[tuple[str, Row], ...] = (
    ("D28", promises.looked_too_early),
    ("D27", promises.settings_are_told_by_lint),
    ("D01", promises.withdrawn),
    ("D09", promises.initialises(promises.SERVICE_REFUSED)),
    ("D11", promises.initialises(promises.ROUTE_REFUSED)),
    ("D40", promises.initialising_is_no_rollout),
    ("D10", promises.mirror_goes_on),
    ("D08", promises.primary_at_zero_is_noticed),
    ("D19", promises.no_revision_is_lost),
    ("D23", promises.rollback_hooks_are_always_asked),
    ("D13", promises.route_is_not_lost),
    ("D13", only_ours(NoticeKind.REPAIRING, NoticeKind.RETURNING)),
    ("D04", promises.deadline_is_told),
    ("D06", promises.failed_promotion_is_taken_back),
    ("D06", only_ours(NoticeKind.TAKING_BACK, NoticeKind.STRANDED)),
    ("D123", promises.weight_of_a_failover),
    ("D07", only_ours(NoticeKind.FAILOVER, NoticeKind.FAILOVER_ALERT, NoticeKind.NO_CAPACITY)),
    ("D14", promises.skipped_by_the_same_way),
    ("D24", promises.weight_of_all_traffic),
    ("D15", promises.true_weight_at_a_gate),
    ("D16", promises.terminated),
    ("D22", promises.phase_told_at_a_gate),
    ("D22", promises.one_alert_per_closed_gate),
    ("D25", promises.phase_after_a_rollout),
    ("D29", only_ours(NoticeKind.SCALED_BY_HAND)),
    ("D30", same_words(
        (r"error unmarshaling result: .*, '(.*)'$", r"error unmarshaling result: '\1'"),
        (r"^(?:Metric query failed for \S+: m|M)etric template (\S+?)(?: error: .*)? not found$",
         r"metric template \1 not found"),
        (r"^(Error checking metric providers): .*", r"\1"),
        (r"(deployment|daemonset|service) (\S+) get query error: .*not found", r"\1 \2 not found: waiting for it"),
    )),
    ("D30", promises.client_words),
    ("D31", promises.in_daemonsets(same_words(
        (r"^(?:primary daemonset )?(\S+-primary\.\S+ not ready): .*", r"\1"),
        (r"^canary dae?monset (\S+ not ready)(?: with retryable \w+)?: .*", r"canary daemonset \1"),
        (r"((?:P|p)rogress deadline exceeded) .*", r"\1"),
    ))),
    ("D33", promises.told_again_after_a_restart),
)  # fmt: skip

REFUSALS = {"no-step": "D18", "rising": "D32"}
"""Canaries that Flagger takes and that can never work: the rule by which they are refused, and the row."""


def refusal(problems: Iterable[Problem]) -> tuple[str, ...]:
    """The rows by which a canary is refused; a problem without one raises KeyError."""
    return tuple(sorted({REFUSALS[problem.rule] for problem in problems if problem.severity == "error"}))
