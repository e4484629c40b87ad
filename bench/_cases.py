"""The quick cases. Each is a function that returns its row; `CASES` names them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from attrs import evolve
from transitions import Machine

from bench._measure import Row, duration, throughput
from canarycore import (
    Check,
    CheckKind,
    Decision,
    Inputs,
    Ladder,
    Observation,
    Phase,
    Rollout,
    Routes,
    Rung,
    Status,
    TargetRef,
    Workload,
    decide,
)
from canarycore.driver import deliberate
from canarycore.phases import ROWS, Rule
from canarycore.questions import Answer, Ask, MetricAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = Rollout(
    name="podinfo",
    target=TargetRef(name="podinfo"),
    ladder=Ladder(step=5, top=50),
    threshold=5,
    checks=(
        Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0),
        Check(name="request-duration", kind=CheckKind.DURATION, maximum=500.0),
    ),
)
"""The policy of the App Mesh guide's Canary, without its hooks."""

STATUS = Status(phase=Phase.PROGRESSING, since=0.0, analysed_at=0.0, rung=Rung(weight=10), applied="b", promoted="a")
OBSERVATION = Observation(
    now=60.0,
    target=Workload(revision="b", desired=2, updated=2, ready=2, total=2),
    primary=Workload(revision="a", desired=2, updated=2, ready=2, total=2),
    routes=Routes(weight=10),
)
VALUES = (MetricAnswer(value=99.8), MetricAnswer(value=212.0))

GUIDE = Path(__file__).parent.parent / "examples" / "manifests" / "flagger-appmesh-guide" / "canary.yaml"


# ------------------------------------------------------------------------------------------------------- decisions


def decision() -> Row:
    """Measure one decision of `cycle`: a rollout asks two checks, gets answers, and advances by one rung."""

    def ours() -> Decision:
        deliberation = deliberate(POLICY, STATUS, OBSERVATION)
        ask = next(deliberation)
        try:
            deliberation.send(_answers(ask))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # a generator's result
        raise AssertionError(ask)

    assert ours().status.rung.weight == 15
    return throughput("decision", "decisions", ours, PEER, _StateMachine().turn)


def deciding_twice() -> Row:
    """Measure the same decision as two calls of `decide`, by a driver without memory."""

    def ours() -> Decision:
        ask = decide(POLICY, STATUS, Inputs(OBSERVATION))
        assert isinstance(ask, Ask)
        decision = decide(POLICY, STATUS, Inputs(OBSERVATION, _answers(ask)))
        assert isinstance(decision, Decision)
        return decision

    assert ours().status.rung.weight == 15
    return throughput("decide", "decisions", ours, PEER, _StateMachine().turn)


PEER = "transitions.Machine over the same rows"


def _answers(ask: Ask) -> dict[str, Answer]:
    return {question.key: value for question, value in zip(ask.questions, VALUES, strict=True)}


class _StateMachine:
    """The same step as a state machine with guards, written with `transitions` alone."""

    state: str
    progressing_advanced: Callable[[], bool]

    def __init__(self) -> None:
        self.now, self.analysed_at, self.interval = 60.0, 0.0, 60.0
        self.ready, self.weight, self.routed = (2, 2), 10, 10
        self.metrics = {"request-success-rate": 99.8, "request-duration": 212.0}
        guards = [self._is_due, self._is_ready, self._is_routed, self._success_rate_holds, self._duration_holds]
        Machine(
            self,
            states=[phase.value for phase in Phase],
            initial=Phase.PROGRESSING.value,
            transitions=[
                {
                    "trigger": row.rule.name.lower(),
                    "source": source.value,
                    "dest": (row.target or source).value,
                    "conditions": guards if row.rule is Rule.ADVANCED else [],
                    "after": self._climb if row.rule is Rule.ADVANCED else [],
                }
                for row in ROWS
                for source in row.sources
            ],
            auto_transitions=False,
        )

    def turn(self) -> None:
        self.weight = 10
        advanced = self.advanced()  # type: ignore[attr-defined]  # a trigger that Machine adds
        assert advanced
        assert self.weight == 15

    def _is_due(self) -> bool:
        return self.now - self.analysed_at >= self.interval

    def _is_ready(self) -> bool:
        return all(self.ready)

    def _is_routed(self) -> bool:
        return self.weight == self.routed

    def _success_rate_holds(self) -> bool:
        return self.metrics["request-success-rate"] >= 99.0

    def _duration_holds(self) -> bool:
        return self.metrics["request-duration"] <= 500.0

    def _climb(self) -> None:
        self.weight += 5


# ---------------------------------------------------------------------------------------------------- import times


def imports() -> Row:
    """Measure `import canarycore` in a fresh interpreter, without the interpreter's own start."""
    return duration("import", "imports", _import("canarycore"), "import attrs", _import("attrs"))


def start() -> Row:
    """Measure a whole `python -c "import canarycore"`, beside an interpreter that does nothing."""
    return duration("start", "interpreters", _start("import canarycore"), "bare python", _start("pass"))


def _import(module: str) -> Callable[[], float]:
    program = f"from time import perf_counter as c; t = c(); import {module}; print(c() - t)"
    command = [sys.executable, "-c", program]
    return lambda: float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _start(program: str) -> Callable[[], float]:
    def timer() -> float:
        before = perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True)
        return perf_counter() - before

    return timer


# ------------------------------------------------------------------------------------------------------- manifests


def manifest() -> Row:
    """Measure the App Mesh guide's Canary from text to rollout, beside a plain YAML loader."""
    from ruamel.yaml import YAML

    from canarycore.manifest import load, resolve

    text = GUIDE.read_text()

    def ours() -> Rollout:
        return resolve(load([("canary.yaml", text)]).canaries[0])

    return throughput("manifest", "manifests", ours, "ruamel.yaml load", lambda: YAML(typ="safe", pure=True).load(text))


# ------------------------------------------------------------------------------------------------- model checking


def verification() -> Row:
    """Measure edges of the graph a second, on one core: every single fault at every step of the smallest trial."""
    from canarycore.verification import SITUATIONS, STRATEGIES, verify

    trial = SITUATIONS["skipAnalysis"]("canary", STRATEGIES["canary"])
    report = verify(trial)
    assert not report.violations
    row = throughput("verify", "transitions", lambda: verify(trial))
    assert row.per_second is not None
    return evolve(row, per_second=row.per_second * report.transitions)


CASES: dict[str, Callable[[], Row]] = {
    "decision": decision,
    "decide": deciding_twice,
    "import": imports,
    "start": start,
    "manifest": manifest,
    "verify": verification,
}
