"""Notices: the events and alerts of a rollout, in one table of texts.

A notice is past tense and has a stable key, so a receiver recognises a repeat. Texts, types and severities are Flagger
1.44's where Flagger has one; the rows below the line in the table are our own. A notice formats its text on demand.
`Rollout.texts` replaces texts of the table by the embedder's own, for things that are no Deployments.
"""

from __future__ import annotations

from string import Formatter
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from canarycore._enum import TextEnum
from canarycore._fields import OPTIONAL_TEXT, REQUIRED_TEXT, FieldRule, describe_value, fault, instance
from canarycore._record import record
from canarycore._reference import Reference
from canarycore.text import enumerate_some, shorten

if TYPE_CHECKING:
    from canarycore.errors import Problem
    from canarycore.phases import Phase


class Severity(TextEnum):
    """The severity of an alert, rising (Flagger: `alerts[].severity`)."""

    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@frozen(kw_only=True)
class Alert:
    """A receiver of alerts (Flagger: `alerts[]`)."""

    name: str = field(validator=REQUIRED_TEXT)
    """The owner's name for it."""
    provider: Reference = field(validator=instance(Reference))
    """The AlertProvider that delivers the alerts."""
    severity: Severity = field(default=Severity.INFO, validator=instance(Severity))
    """The lowest severity that is delivered."""
    channel: str = field(default="", validator=OPTIONAL_TEXT)
    """The channel of the provider that gets the alerts; empty for the provider's own."""


class Channel(TextEnum):
    """The way of a notice: events go to the rollout's record (Kubernetes Events, event hooks), alerts to chats."""

    EVENT = "event"
    ALERT = "alert"


@frozen
class NoticeText:
    """One row of the table of texts."""

    template: str
    """The text with its placeholders."""
    warning: bool = False
    """Whether the event has the type Warning."""
    severity: Severity | None = None
    """The severity of an alert; None for an event."""
    details: bool = False
    """Whether an alert comes with the main figures of the policy."""

    @property
    def channel(self) -> Channel:
        return Channel.EVENT if self.severity is None else Channel.ALERT


def _event(template: str) -> NoticeText:
    return NoticeText(template)


def _warning(template: str) -> NoticeText:
    return NoticeText(template, warning=True)


def _alert(severity: Severity, template: str, *, details: bool = False) -> NoticeText:
    return NoticeText(template, severity=severity, details=details)


class NoticeKind(TextEnum):
    """Every kind of notice with its text: {name}, {target}, {primary} are full names, {kind} is the target's kind."""

    SOURCES_ONLINE = _event("all the metrics providers are available!")
    SOURCES_OFFLINE = _warning("Error checking metric providers: {0}")
    PRIMARY_UNREADY = _warning("{primary} not ready: {0}")
    CANARY_UNREADY = _warning("canary {kind_lower} {target} not ready: {0}")
    PRIMARY_AT_ZERO = _warning("halt {name} advancement: primary {kind_lower} is scaled to zero")
    INITIALIZED = _event("Initialization done! {name}")
    INITIALIZED_ALERT = _alert(Severity.INFO, "New {kind} detected, initialization completed.", details=True)
    GATE_ROLLOUT_CLOSED = _warning("Halt {name} advancement waiting for approval {0}")
    GATE_ROLLOUT_ALERT = _alert(Severity.WARN, "Canary is waiting for approval.")
    GATE_ROLLOUT_PASSED = _event("Confirm-rollout check {0} passed")
    NEW_REVISION = _event("New revision detected! Scaling up {target}")
    NEW_REVISION_ALERT = _alert(Severity.INFO, "New revision detected, progressing canary analysis.", details=True)
    RESTARTED = _event("New revision detected! Restarting analysis for {target}")
    STEPS_SKIPPED = _event("Revision {0} of {target} was promoted before: its rollout skips to {1}")
    STARTING = _event("Starting canary analysis for {target}")
    PRE_ROLLOUT_PASSED = _event("Pre-rollout check {0} passed")
    PRE_ROLLOUT_FAILED = _warning("Halt {name} advancement pre-rollout check {0} failed {1}")
    ROLLOUT_HOOK_FAILED = _warning("Halt {name} advancement external check {0} failed {1}")
    CHECK_FAILED = _warning("{0}")
    GATE_INCREASE_CLOSED = _warning("Halt {name} advancement waiting for traffic increase approval {0}")
    GATE_INCREASE_ALERT = _alert(Severity.WARN, "Canary traffic increase is waiting for approval.")
    GATE_INCREASE_PASSED = _event("Confirm-traffic-increase check {0} passed")
    ADVANCED_WEIGHT = _event("Advance {name} canary weight {0}")
    ADVANCED_ITERATION = _event("Advance {name} canary iteration {0}/{1}")
    ALL_TO_CANARY = _event("Routing all traffic to canary")
    ALL_TO_CANARY_MIRRORED = _event("Stop traffic mirroring and route all traffic to canary")
    GATE_PROMOTION_CLOSED = _warning("Halt {name} advancement waiting for promotion approval {0}")
    GATE_PROMOTION_ALERT = _alert(Severity.WARN, "Canary promotion is waiting for approval.")
    GATE_PROMOTION_PASSED = _event("Confirm-promotion check {0} passed")
    COPYING = _event("Copying {target} template spec to {primary}")
    ALL_TO_PRIMARY = _event("Routing all traffic to primary")
    PRIMARY_WEIGHT = _event("Advance {name} primary weight {0}")
    SUCCEEDED = _event("Promotion completed! Scaling down {target}")
    SUCCEEDED_ALERT = _alert(Severity.INFO, "Canary analysis completed successfully, promotion finished.")
    SUCCEEDED_SKIPPED = _event("Promotion completed! Canary analysis was skipped for {target}")
    SUCCEEDED_SKIPPED_ALERT = _alert(Severity.INFO, "Canary analysis was skipped, promotion finished.")
    ROLLBACK_HOOK_PASSED = _warning("Rollback check {0} passed")
    ROLLBACK_HOOK_QUIET = _event("Rollback hook {0} not signaling a rollback")
    ROLLING_BACK_HOOK = _warning("Rolling back {name} manual webhook invoked")
    ROLLING_BACK_HOOK_ALERT = _alert(Severity.WARN, "Rolling back manual webhook invoked")
    ROLLING_BACK_CHECKS = _warning("Rolling back {name} failed checks threshold reached {0}")
    ROLLING_BACK_CHECKS_ALERT = _alert(Severity.ERROR, "Failed checks threshold reached {0}")
    ROLLING_BACK_DEADLINE = _warning("Rolling back {name} progress deadline exceeded {0}")
    ROLLING_BACK_DEADLINE_ALERT = _alert(Severity.ERROR, "Progress deadline exceeded {0}")
    FAILED = _warning("Canary failed! Scaling down {name}")
    PROMOTION_FAILED = _warning("Promotion of {target} failed, primary not ready: {0}")
    PROMOTION_FAILED_ALERT = _alert(Severity.ERROR, "Promotion failed, primary not ready: {0}")
    POST_ROLLOUT_PASSED = _event("Post-rollout check {0} passed")
    POST_ROLLOUT_FAILED = _warning("Post-rollout hook {0} failed {1}")
    SUSPENDED = _event("skipping canary run as object is suspended")
    TERMINATING = _event("Terminating canary {name}")
    TERMINATED = _event("Terminated canary {name}")
    # not Flagger's --------------------------------------------------------------------------------------------------
    TARGET_MISSING = _warning("{kind_lower} {target} not found: waiting for it")
    HELD = _warning("Holding {name}: the analysis is inconclusive ({0})")
    ROLLING_BACK_INCONCLUSIVE = _warning("Rolling back {name} inconclusive analyses reached {0}")
    ROLLING_BACK_INCONCLUSIVE_ALERT = _alert(Severity.ERROR, "Inconclusive analyses reached {0}")
    ROLLING_BACK_LIMIT = _warning("Rolling back {name} {0}")
    ROLLING_BACK_LIMIT_ALERT = _alert(Severity.ERROR, "Rolling back: {0}")
    FROZEN = _warning("Freezing {name} at canary weight {0} {1}")
    FROZEN_ALERT = _alert(Severity.ERROR, "Rollout frozen at canary weight {0} {1}")
    WITHDRAWN = _event("Rollout of {target} withdrawn: the target is back at the promoted revision")
    WITHDRAWN_ALERT = _alert(Severity.INFO, "Rollout withdrawn, the target is back at the promoted revision.")
    PROMOTING_BY_COMMAND = _event("Promoting {target} by command {0}")
    ABORTED = _warning("Rolling back {name} aborted by command {0}")
    ABORTED_ALERT = _alert(Severity.WARN, "Rolling back, aborted by command.")
    RETRYING = _event("Retrying {target} by command {0}")
    PAUSED = _event("Paused {name} by command {0}")
    RESUMED = _event("Resumed {name} by command {0}")
    HOLDING = _event("Hold {name} at canary weight {0} for {1}")
    APPROVAL_ASKED = _warning("Halt {name} advancement waiting for approval of canary weight {0}")
    APPROVAL_ALERT = _alert(Severity.WARN, "Canary weight {0} is waiting for approval.")
    APPROVED = _event("Approved canary weight {0} of {name} by command {1}")
    SKIPPED_TO = _event("Skipping {name} to canary weight {0} by command {1}")
    REFUSED = _warning("Refused command {0}: {1}")
    REPAIRING = _warning("Routes of {name} are found at {0}, setting {1}")
    RETURNING = _event("Setting the routes of {name} from {0} to {1}")
    ADOPTED = _event("Adopting the primary of {name}: its revision {0} counts as promoted")
    REPLACING_PRIMARY = _warning("The primary of {name} is down: replacing it with the new revision")
    FAILOVER = _warning("All traffic of {name} goes to the {0}: the {1} has no ready pods")
    FAILOVER_ALERT = _alert(Severity.ERROR, "All traffic goes to the {0}: the {1} has no ready pods")
    NO_CAPACITY = _warning("Holding traffic of {name}: {0}")
    TAKING_BACK = _warning("Taking {primary} back to revision {0}")
    RETURN_CUT_SHORT = _warning("The return of {name} ends early, all traffic goes to the primary at once: {0}")
    RETURN_CUT_SHORT_ALERT = _alert(
        Severity.ERROR, "The return ends early, all traffic goes to the primary at once: {0}"
    )
    STRANDED = _warning("All traffic of {name} stays on the canary: the primary is not ready and cannot be taken back")
    UNROUTED = _warning("Initialization of {name} exceeded the progress deadline, its routes are not in force: {0}")
    UNROUTED_ALERT = _alert(Severity.ERROR, "Progress deadline exceeded, the routes are not in force: {0}")
    SCALED_BY_HAND = _warning("{target} was scaled to {0} while nothing is under way: leaving it alone")


@record
class Notice:
    """One event or alert of a rollout."""

    kind: NoticeKind
    """The row of the table of texts. Stored data calls it `tell`."""
    key: str
    """A stable key: a repeat of the notice has the same one."""
    phase: Phase
    """The phase that receivers get."""
    names: tuple[tuple[str, str], ...] = field(repr=False)
    """The values for the named placeholders (`Rollout.names`)."""
    args: tuple[str, ...] = ()
    """The values for the numbered placeholders."""
    detail: str = field(default="", eq=False)
    """Why a rollout failed, for receivers of an alert: the checks with their values and ranges. Empty otherwise."""
    template: str = field(default="", eq=False, repr=False)
    """The embedder's own text with its placeholders (`Rollout.texts`); empty for the text of the table."""

    @property
    def channel(self) -> Channel:
        return self.kind.value.channel

    @property
    def type(self) -> str:
        """The Kubernetes event type: Normal or Warning."""
        return "Warning" if self.kind.value.warning else "Normal"

    @property
    def severity(self) -> Severity | None:
        return self.kind.value.severity

    @property
    def details(self) -> bool:
        """Whether an alert comes with the policy's main figures."""
        return self.kind.value.details

    @property
    def text(self) -> str:
        return format_notice(self.template or self.kind.value.template, self.args, self.names)


def format_notice(template: str, args: tuple[str, ...], names: tuple[tuple[str, str], ...]) -> str:
    """Return a text with its numbered placeholders filled from `args`, and its named ones from `names`."""
    return template.format(*args, **dict(names))


# texts of an embedder -----------------------------------------------------------------------------------------------

NAMES = ("name", "target", "primary", "kind", "kind_lower")
"""The named placeholders of every text; `Rollout.names` has their values."""


def placeholders(kind: NoticeKind) -> tuple[str, ...]:
    """Return the placeholders that a text of this kind may have: those of every text, and the numbers of its own."""
    numbers = {field for _, field, _, _ in Formatter().parse(kind.value.template) if field and field.isdecimal()}
    return (*NAMES, *sorted(numbers))


def _find_texts(value: Any) -> Problem | None:
    if not isinstance(value, tuple):
        return fault(describe_value(value), "a mapping from members of NoticeKind to texts", "Write a dict.")
    kinds = set()
    for pair in value:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], NoticeKind)):
            kind = pair[0] if isinstance(pair, tuple) and pair else pair
            return fault(describe_value(kind), "a member of NoticeKind", "Write {NoticeKind.SUCCEEDED: ...}.")
        kind, template = pair
        problem = _find_template(kind, template)
        if kind in kinds:
            problem = fault("two texts", "one text for each kind", "Remove one of them.", "repeated")
        if problem is not None:
            return evolve(problem, path=f"[{kind.name}]{problem.path}")
        kinds.add(kind)
    return None


def _find_template(kind: NoticeKind, template: object) -> Problem | None:
    problem = REQUIRED_TEXT.find(template)
    if problem is not None:
        return problem
    assert isinstance(template, str)
    known = placeholders(kind)
    expected = f"a text with the placeholders {enumerate_some(f'{{{name}}}' for name in known)}"
    remedy = "Use these only; write {{ and }} for braces."
    try:
        parts = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        return fault(f"{shorten(template)} ({error})", expected, remedy, "placeholder")
    for _, name, format_spec, conversion in parts:
        if name not in known or format_spec or conversion:
            written = f"{name}{'!' + conversion if conversion else ''}{':' + format_spec if format_spec else ''}"
            return fault(shorten(f"{{{written}}}"), expected, remedy, "placeholder")
    return None


TEXTS = FieldRule(_find_texts)
"""The rule of an embedder's texts: pairs of a NoticeKind and a template with the placeholders of its kind."""
