"""The size of a canary: its number of replicas on a step, apart from the step's share of the requests."""

from __future__ import annotations

from attrs import Attribute, field, frozen

from canarycore._fields import PERCENT, fault, refuse, whole
from canarycore.bounds import COUNT


@frozen(kw_only=True, cache_hash=True)
class CanarySize:
    """A number of replicas, or a percentage of the number that the target's owner wants.

    Raises FieldError if a value does not fit its field, or unless exactly one of both is above 0.
    """

    replicas: int = field(default=0, validator=whole(0, COUNT.most))
    """The number of replicas; 0 uses `percent`."""
    percent: int = field(default=0, validator=PERCENT)
    """Percent of the owner's number, rounded up to at least one replica; 0 uses `replicas`."""

    @percent.validator
    def _check_one(self, _: Attribute[int], __: int) -> None:
        if bool(self.replicas) == bool(self.percent):
            found = f"replicas {self.replicas} and percent {self.percent}"
            expected = "one of them above 0: a canary without pods can serve no request"
            refuse(self, "percent", fault(found, expected, "Set one of them.", "step-size"))

    def count(self, own: int) -> int:
        """Return the number of replicas. own: the number that the target's owner wants."""
        return self.replicas or max(-(-own * self.percent // 100), 1)

    def __str__(self) -> str:
        return f"{self.percent}%" if self.percent else str(self.replicas)


FULL_SIZE = CanarySize(percent=100)
"""The number of replicas that the target's owner wants."""
