"""The size that a step has given a target, as an annotation of the target records it beside its owner's number.

The target's `spec.replicas` is the owner's field, and a step with a size writes it. One patch writes the replicas and
this record, so the owner's number survives a crash, and a later change by the owner shows: it is another number than
the written one.
"""

from __future__ import annotations

import re

from attrs import frozen

ANNOTATION = "canarycore/size"
"""The annotation of the target that records the size."""

_TEXT = re.compile(r"replicas=([0-9]{1,10}),own=([0-9]{1,10})")


@frozen(kw_only=True)
class WrittenSize:
    """The record of a size."""

    replicas: int
    """The replicas that the rollout wrote."""
    own: int
    """The replicas that the target's owner wants."""

    def __str__(self) -> str:
        return f"replicas={self.replicas},own={self.own}"

    @classmethod
    def parse(cls, text: str) -> WrittenSize | None:
        """Return the size that a text records; None if it is none."""
        match = _TEXT.fullmatch(text)
        return None if match is None else cls(replicas=int(match[1]), own=int(match[2]))

    def find_own(self, desired: int) -> int:
        """Return the owner's number for a spec with `desired` replicas: another number is the owner's, but for 0."""
        return self.own if desired in (0, self.replicas) else desired
