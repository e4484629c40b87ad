"""A split by numbers of pods: the pods of each side for a weight, and the next step towards them that is safe.

Both sides share the requests, or the work of a queue, by their ready pods. The app has `replicas` pods in all, those
of the primary before the rollout:

    canary  = replicas * weight / 100, rounded, and at least one
    primary = replicas - canary, and at least one

A side loses pods only when the ready pods of both are `replicas` without them. So the sides never have fewer ready pods
together than the app had, whatever the order of the weights. An annotation of the primary records the split: another
process goes on with it.
"""

from __future__ import annotations

import re

from attrs import frozen

ANNOTATION = "canarycore/split"
"""The annotation of the primary that records the split."""

ALL = 100
"""The weight of a canary that serves everything."""

_TEXT = re.compile(r"weight=([0-9]{1,3})(?:,replicas=([0-9]{1,9}))?")


@frozen(kw_only=True)
class PodSplit:
    """The record of a split."""

    weight: int = 0
    """The canary's weight, 0 to 100 percent."""
    replicas: int = 0
    """The replicas of the app; 0 where they are all the primary's, whose number its owner may change."""

    def __str__(self) -> str:
        return f"weight={self.weight}" + (f",replicas={self.replicas}" if self.replicas else "")

    @classmethod
    def parse(cls, text: str) -> PodSplit | None:
        """Return the split that a text records; None if it is none."""
        match = _TEXT.fullmatch(text)
        if match is None or int(match[1]) > ALL:
            return None
        return cls(weight=int(match[1]), replicas=int(match[2] or 0))


@frozen(kw_only=True)
class Side:
    """The pods of one side."""

    desired: int = 0
    """The replicas of its spec."""
    total: int = 0
    """The pods that exist."""
    ready: int = 0
    """The pods that are available."""
    threshold: int = ALL
    """The percentage of ready pods that is enough, by the policy."""
    takes_part: bool = True
    """Whether requests, or the work of a queue, reach its ready pods."""

    @property
    def is_ready(self) -> bool:
        """Whether enough of its pods are available."""
        return self.ready > 0 and self.ready * ALL >= self.desired * self.threshold

    @property
    def serving(self) -> int:
        """The pods that serve, and stay when its number changes: all of them if enough are ready."""
        if not self.takes_part:
            return 0
        return self.desired if self.is_ready else min(self.ready, self.desired)


@frozen(kw_only=True)
class ReplicaCounts:
    """The replicas of both sides."""

    primary: int
    canary: int


def count_pods(replicas: int, weight: int) -> ReplicaCounts:
    """Return the pods of both sides for a weight above 0 and a number of replicas."""
    canary = max(1, (replicas * weight + ALL // 2) // ALL)
    if weight < ALL and replicas > 1:
        canary = min(canary, replicas - 1)
    return ReplicaCounts(primary=max(1, replicas - canary), canary=canary)


def divide(replicas: int, weight: int, primary: Side, canary: Side) -> ReplicaCounts:
    """Return the replicas of the next step towards a weight above 0. A primary at zero is its owner's decision."""
    goal = count_pods(replicas, weight)
    if primary.desired == 0:
        return ReplicaCounts(primary=0, canary=max(canary.desired, goal.canary))
    pods = _approach(primary, goal.primary, replicas - min(canary.serving, goal.canary))
    return ReplicaCounts(primary=pods, canary=_approach(canary, goal.canary, replicas - min(primary.serving, pods)))


def gather(replicas: int, primary: Side, canary: Side) -> ReplicaCounts:
    """Return the replicas of the next step of the way back. The canary keeps a pod until the rollout scales it down."""
    if primary.desired == 0:
        return ReplicaCounts(primary=0, canary=canary.desired)
    left = max(1, replicas - primary.serving)
    return ReplicaCounts(primary=max(primary.desired, replicas), canary=min(canary.desired, left))


def _approach(side: Side, goal: int, least: int) -> int:
    """Return the replicas of a side on the way to its goal, but not below `least` when they become fewer."""
    return goal if side.desired <= goal else min(side.desired, max(goal, least))
