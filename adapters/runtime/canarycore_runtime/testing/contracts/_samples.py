"""The rollouts, checks and notices of the suites."""

from __future__ import annotations

import json

from canarycore import Check, CheckKind, Hook, HookType, Ladder, Phase, Rollout, Step, Strategy, TargetRef
from canarycore.notices import Notice, NoticeKind
from canarycore.traffic import Match, StringMatch

OTHER_SHAPES: tuple[object, ...] = (None, True, 7, -0.5, "text", [], ["text"], [None], [{}], {}, {"text": []})
"""JSON of other shapes than an adapter expects."""

OTHER_BODIES = tuple(map(json.dumps, OTHER_SHAPES))
"""The same as texts."""


def rollout(name: str = "podinfo") -> Rollout:
    """Return a rollout by weights, with a check and a hook."""
    return Rollout(
        name=name,
        target=TargetRef(name=name),
        ladder=Ladder(step=20, top=60),
        interval=10,
        threshold=3,
        checks=(success_rate(),),
        hooks=(Hook(name="smoke", type=HookType.PRE_ROLLOUT, url="http://127.0.0.1/smoke"),),
    )


def by_header(name: str = "podinfo") -> Rollout:
    """Return a rollout by a header, as in A/B tests."""
    return Rollout(
        name=name,
        target=TargetRef(name=name),
        ladder=Ladder(strategy=Strategy.AB, iterations=3),
        match=(Match(headers=(("x-canary", StringMatch(kind="exact", value="insider")),)),),
    )


def by_header_and_weight(name: str = "podinfo") -> Rollout:
    """Return a rollout by steps with a header beside their weight: at 0 and 20 percent."""
    match = by_header().match
    ladder = Ladder(steps=(Step(weight=0, match=match), Step(weight=20, match=match), 50))
    return Rollout(name=name, target=TargetRef(name=name), ladder=ladder)


def success_rate() -> Check:
    """Return a check of the success rate, of at least 99 percent."""
    return Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=99)


def notice(key: str, kind: NoticeKind = NoticeKind.NEW_REVISION) -> Notice:
    """Return a notice, by default an event."""
    return Notice(kind, key, Phase.PROGRESSING, rollout().names)
