"""The limits of a check that is an analysis of its own, and its tally.

Such a check takes several measurements on a rung, fails by its own limits, and lets the rollout pass when it is
concluded. Its tally is in the status, so a new process goes on counting. A tally ends with its rung. `_measurements`
counts.
"""

from __future__ import annotations

from attrs import evolve, field, frozen

from canarycore._fields import COUNT_FROM_0, COUNT_FROM_1, FINITE, LONG_COUNT, LONG_SECONDS, REQUIRED_TEXT, optional


@frozen(kw_only=True)
class CheckLimits:
    """The measurements of a check on each rung, and the number of bad ones that it may have.

    The names are those of Argo Rollouts' AnalysisTemplate. A limit that is None leaves the answers of its kind to the
    policy's `threshold` and `no_data`. Raises FieldError if a value does not fit its field.
    """

    initial_delay: float = field(default=0.0, validator=LONG_SECONDS)
    """Seconds from the start of the analysis to the first measurement (`metrics[].initialDelay`)."""
    every: float = field(default=0.0, validator=LONG_SECONDS)
    """The least seconds between two measurements (`metrics[].every`); 0 measures in each analysis."""
    count: int = field(default=1, validator=COUNT_FROM_1)
    """The measurements that conclude the check on a rung (`metrics[].count`). An error is no measurement."""
    success_limit: int = field(default=0, validator=COUNT_FROM_0)
    """The passes in a row that conclude it early (`metrics[].consecutiveSuccessLimit`); 0 for none."""
    failure_limit: int | None = field(default=None, validator=optional(COUNT_FROM_0))
    """The most values out of range on a rung (`metrics[].failureLimit`): one more ends the rollout."""
    inconclusive_limit: int | None = field(default=None, validator=optional(COUNT_FROM_0))
    """The most measurements that are inconclusive or without data (`metrics[].inconclusiveLimit`): one more freezes the
    rollout for a human."""
    error_limit: int | None = field(default=None, validator=optional(COUNT_FROM_0))
    """The most errors in a row (`metrics[].consecutiveErrorLimit`): one more ends the rollout."""


PLAIN = CheckLimits()
"""No limits: the check passes or fails with each analysis, as in Flagger."""


@frozen(kw_only=True)
class CheckTally:
    """The measurements of one check on the rung of the status."""

    check: str = field(validator=REQUIRED_TEXT)
    """The place and name of the check, as in `Rollout.checks_by_place`."""
    at: float = field(validator=FINITE)
    """The time of the last question, in seconds."""
    measured: int = field(default=0, validator=LONG_COUNT)
    """The measurements: answers with a value, or without data."""
    failed: int = field(default=0, validator=LONG_COUNT)
    """The values out of range."""
    inconclusive: int = field(default=0, validator=LONG_COUNT)
    """The answers that are inconclusive or without data."""
    errors: int = field(default=0, validator=LONG_COUNT)
    """The errors in a row."""
    passes: int = field(default=0, validator=LONG_COUNT)
    """The passes in a row."""

    def shifted(self, seconds: float) -> CheckTally:
        """Return the tally with its time moved."""
        return evolve(self, at=self.at + seconds)
