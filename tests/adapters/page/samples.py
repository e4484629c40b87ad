"""Rollouts in several states, the page's source without a cluster, and a viewer whose rights a test chooses."""

from __future__ import annotations

from canarycore import Check, CheckKind, Ladder, Phase, Reason, Rollout, Rung, Status, TargetRef, Verdict
from canarycore.errors import WorldError
from canarycore.results import AnalysisResult, CheckResult, RolloutEnd
from canarycore_runtime.page.server import SignInRefused
from canarycore_runtime.page.views import ConditionView, EventView, WeightPoint, make_broken_row, make_details, make_row

NOW = 1_790_000_000.0
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'\u202egnp\x1b[31m"
"""The text of a tenant that would leave its element, an attribute, its line, and its direction."""


def rollout(name="podinfo", namespace="shop"):
    return Rollout(
        name=name,
        namespace=namespace,
        target=TargetRef(name=name),
        ladder=Ladder(step=10, top=50),
        threshold=5,
        checks=(Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0),),
    )


def analysis(name="request-success-rate", *, at=NOW - 30, value=97.25, verdict=Verdict.FAIL, error="", weight=20):
    latency = CheckResult("request-duration", Verdict.PASS, 120.0, None, 500.0, 1042)
    return AnalysisResult(
        at, "6f9c4d", weight, 0, (CheckResult(name, verdict, value, 99.0, None, 1042, error), latency)
    )


WEIGHTS = (
    WeightPoint(NOW - 300, 0),
    WeightPoint(NOW - 240, 10),
    WeightPoint(NOW - 180, 20),
    WeightPoint(NOW - 120, 30),
    WeightPoint(NOW - 60, 20),
)
PROGRESSING = Status(
    phase=Phase.PROGRESSING,
    since=NOW - 300,
    rung=Rung(weight=20),
    failed_checks=1,
    applied="6f9c4d",
    promoted="58b1aa",
    analysis=analysis(),
)
PAUSED = PROGRESSING.but(paused=True)
SUCCEEDED = Status(phase=Phase.SUCCEEDED, since=NOW - 900, applied="6f9c4d", promoted="6f9c4d")
FAILED = Status(
    phase=Phase.FAILED,
    reason=Reason.CHECKS,
    since=NOW - 60,
    applied="6f9c4d",
    promoted="58b1aa",
    end=RolloutEnd(NOW - 60, Phase.FAILED, Reason.CHECKS, "6f9c4d", "Rolling back", analysis()),
)
EVENTS = (
    EventView(at="2026-09-21T13:32:50Z", text="Halt podinfo.shop advancement: 97.25% < 99%", is_warning=True),
    EventView(at="2026-09-21T13:31:50Z", text="Advance podinfo.shop canary weight 20", count=2),
)  # fmt: skip
CONDITIONS = (
    ConditionView(type="Ready", status="Unknown", reason="Progressing", message="Progressing of 6f9c4d, weight 20"),
)


class Source:
    """Rollouts with fixed statuses: `statuses` by key, `broken` by key."""

    title = "Canaries"

    def __init__(self, statuses=None, *, broken=None, weights=WEIGHTS):
        self.statuses = statuses or {"shop/podinfo": PROGRESSING, "shop/cart": SUCCEEDED, "shop/pay": FAILED}
        self.broken, self.weights, self.reads = broken or {}, weights, 0

    def row(self, key):
        namespace, _, name = key.partition("/")
        return make_row(rollout(name, namespace), self.statuses[key], weights=self.weights)

    async def read_rows(self):
        self.reads += 1
        broken = [make_broken_row(key, "Cannot be used", text) for key, text in self.broken.items()]
        return [*map(self.row, self.statuses), *broken]

    async def read_details(self, key, viewer):
        if key not in self.statuses:
            return None
        namespace, _, name = key.partition("/")
        return make_details(
            rollout(name, namespace),
            self.statuses[key],
            self.row(key),
            now=NOW,
            facts=(("Policy", "10 to 50 percent by 10"),),
            analyses=(analysis(), analysis(at=NOW - 90, value=99.9, verdict=Verdict.PASS)),
            conditions=CONDITIONS,
            events=() if viewer is None else EVENTS,
            events_note="Sign in to read the events." if viewer is None else "",
        )


class Person:
    """A viewer. `refusal`: the API server's answer to each command; empty accepts it."""

    name = "jane"

    def __init__(self, *, may=True, refusal=""):
        self.may, self.refusal, self.sent = may, refusal, []

    async def may_command(self, key):
        return self.may

    async def send_command(self, key, kind):
        if self.refusal:
            raise WorldError(self.refusal)
        self.sent.append((key, kind.value))


class Gate:
    """A door with one secret."""

    prompt, help_text = "Key", "The key is in the printed address."

    def __init__(self, person, secret="sesame"):
        self.person, self.secret = person, secret

    async def admit(self, secret):
        if secret != self.secret:
            raise SignInRefused("This is not the key.")
        return self.person
