"""Strategies for policies and scenarios that cover every part of the simulator's model."""

from __future__ import annotations

from hypothesis import strategies as st

from canarycore import Check, CheckKind, Hook, HookType, Ladder, NoData, Rollout, Step, Strategy, TargetRef
from canarycore.policy import Behaviour, Scenario

INTERVALS = (30.0, 60.0)
GATES = (HookType.CONFIRM_ROLLOUT, HookType.CONFIRM_TRAFFIC_INCREASE, HookType.CONFIRM_PROMOTION)
CALLS = (HookType.PRE_ROLLOUT, HookType.ROLLOUT, HookType.POST_ROLLOUT, HookType.ROLLBACK)

ladders = st.one_of(
    st.builds(
        Ladder,
        step=st.sampled_from([10, 15, 25, 50]),
        top=st.sampled_from([20, 50, 60, 100]),
        mirror=st.booleans(),
        step_back=st.sampled_from([0, 0, 30]),
    ),
    st.builds(
        Ladder,
        steps=st.sets(st.sampled_from([1, 3, 7, 20, 45, 100]), min_size=1, max_size=4).map(lambda s: tuple(sorted(s))),
        step_back=st.sampled_from([0, 40]),
    ),
    st.builds(
        Ladder,
        steps=st.tuples(
            st.builds(Step, weight=st.just(5), hold=st.sampled_from([0.0, 20.0, 60.0, 100.0, 180.0])),
            st.builds(Step, weight=st.just(40), approval=st.booleans(), hold=st.sampled_from([0.0, 90.0])),
        ),
    ),
    st.builds(Ladder, strategy=st.just(Strategy.AB), iterations=st.integers(1, 4)),
    st.builds(
        Ladder,
        strategy=st.just(Strategy.BLUE_GREEN),
        iterations=st.integers(1, 3),
        mirror=st.booleans(),
        routed=st.booleans(),
    ),
)


def windows(interval: float, *, long: bool) -> st.SearchStrategy[float]:
    shares = [0.5, 1.0, 1.0] + ([1.5, 2.0, 3.25] if long else [])
    return st.sampled_from([share * interval for share in shares])


def checks(interval: float, *, long: bool) -> st.SearchStrategy[tuple[Check, ...]]:
    window = windows(interval, long=long)
    success = st.builds(
        Check,
        name=st.just("success"),
        kind=st.just(CheckKind.SUCCESS_RATE),
        minimum=st.sampled_from([90.0, 97.0, 99.0]),
        maximum=st.sampled_from([None, None, 99.9]),
        window=window,
    )
    duration = st.builds(
        Check,
        name=st.just("duration"),
        kind=st.just(CheckKind.DURATION),
        minimum=st.sampled_from([None, None, 200.0]),
        maximum=st.just(500.0),
        window=window,
    )
    own = st.builds(Check, name=st.just("own"), kind=st.just(CheckKind.TEMPLATE), maximum=st.just(5.0))
    wide = st.just(Check(name="wide", kind=CheckKind.QUERY, minimum=-1e9))
    some = st.tuples(*(st.none() | check for check in (success, success, duration, own, wide)))
    return some.map(lambda drawn: tuple(check for check in drawn if check is not None)).filter(
        lambda drawn: sum(check.kind is CheckKind.SUCCESS_RATE for check in drawn) < 2 or long
    )


@st.composite
def hooks(draw: st.DrawFn) -> tuple[Hook, ...]:
    kinds = draw(st.sets(st.sampled_from(GATES + CALLS), max_size=3))
    return tuple(Hook(name=kind.value, type=kind, url="http://hook/") for kind in sorted(kinds, key=lambda k: k.value))


@st.composite
def cases(draw: st.DrawFn, *, long: bool = True) -> tuple[Rollout, Scenario]:
    """Draw policies with scenarios. long: whether windows may be longer than the interval."""
    interval = draw(st.sampled_from(INTERVALS))
    rollout = Rollout(
        name="app",
        target=TargetRef(name="app"),
        interval=interval,
        ladder=draw(ladders),
        threshold=draw(st.integers(1, 4)),
        checks=draw(checks(interval, long=long)),
        hooks=draw(hooks()),
        mirror_weight=draw(st.sampled_from([100, 30])),
        no_data=draw(st.sampled_from(NoData)),
        min_samples=draw(st.sampled_from([0, 0, 0, 100])),
        inconclusive_limit=draw(st.sampled_from([0, 2, 5])),
        progress_deadline=draw(st.sampled_from([100.0, 600.0])),
        skip_analysis=draw(st.sampled_from([False] * 9 + [True])),
        drain=draw(st.sampled_from([0.0, 1.0, 45.0])),
    )
    names = [check.name for check in rollout.checks] + [hook.name for hook in rollout.hooks]
    failing = draw(st.sets(st.sampled_from(names))) if names else set()
    denied = draw(st.sampled_from([None] * 4 + [hook.name for hook in rollout.hooks]))
    scenario = Scenario(
        old=Behaviour(error_rate=draw(st.sampled_from([0.0, 0.002, 0.05]))),
        new=Behaviour(
            error_rate=draw(st.sampled_from([0.0, 0.005, 0.01, 0.02, 0.1, 1.0])),
            p99=draw(st.sampled_from([None, 0.0, 250.0, 460.0, 500.0, 600.0])),
        ),
        rps=draw(st.sampled_from([0.0, 0.7, 3.3, 10.0, 40.0])),
        test_rps=draw(st.sampled_from([0.0, 0.0, 1.7, 5.0])),
        ready_after=draw(st.sampled_from([0.0] * 5 + [20.0, 60.0, 75.0, 130.0, float("inf")])),
        match_share=draw(st.sampled_from([0.1, 0.37])),
        failures={name: draw(st.sampled_from([0.02, 0.3, 0.6])) for name in sorted(failing)},
        gates={} if denied is None else {denied: draw(st.booleans())},
    )
    return rollout, scenario
