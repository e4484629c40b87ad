"""The logs that the guides show: the completed manifests of examples/ tell the same lines in the same order.

Each log is read from the guide's expected.md. The metrics answer what its halts say. Guides were written for older
versions of Flagger; `OLDER` rewrites the few lines whose words have changed since, and drops how pods were waited for.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from canarycore import Phase
from canarycore.manifest import load, resolve
from canarycore.simulation import Deploy, Scripted, SetMetrics, SimulatedCluster

ROOT = Path(__file__).parents[2]
SEEDS = ROOT.parent / "shared" / "seeds"
MANIFESTS = ROOT / "examples" / "manifests"

OLDER = (
    (r"^(Waiting for|canary deployment) .*$", ""),
    (r"^New revision detected! progressing canary analysis for (.*)$", r"New revision detected! Scaling up \1"),
    (r"request duration (\d)\.(\d)0s > 0\.5s", r"request duration \1.\2s > 500ms"),
    (r"request duration 1\.45s > 0\.5s", "request duration 1.45s > 500ms"),
    (r"advancement (error-rate|latency) (\d+) >", r"advancement \1 \2.00 >"),
    (r"^\.{3}$", ""),
    (r"(frontend\.prod canary iteration \d+)/10", r"\1/12"),  # the guide's own manifest says 12
)

LOGS = (
    # guide, a line that only this log has, the manifest
    ("flagger-appmesh-guide", "podinfo.test canary weight 45", "canary.yaml"),
    ("flagger-appmesh-guide", "success rate 69.17%", "canary.yaml"),
    ("flagger-appmesh-guide", "canary iteration 10/10", "abtest-header.yaml"),
    ("eks-gitops-appmesh", "Copying podinfo.apps template spec", "canary.yaml"),
    ("eks-gitops-appmesh", "success rate 98.82%", "abtest.yaml"),
    ("eks-appmesh-korean", "success rate 99.74%", "canary-success-rate-100.yaml"),
    ("eks-appmesh-korean", "5m54s (x3 over 68m)", "canary-success-rate-95.yaml"),
    ("appmesh-kustomize", "Pre-rollout check acceptance-test-token passed", "canary-tests.yaml"),
    ("gitops-istio", "error-rate 31 > 1", "frontend-metrics.yaml"),
)  # fmt: skip


def log(guide: str, mark: str) -> list[str]:
    """The lines of the one code block around `mark`, in today's words."""
    text = (SEEDS / guide / "expected.md").read_text()
    start = text.index(mark)
    begin, end = text.rindex("```\n", 0, start) + 4, text.index("\n```", start)
    lines = [re.sub(r"^(Normal|Warning) .* flagger +", "", line).strip() for line in text[begin:end].splitlines()]
    lines = [line.removeprefix("(combined from similar events): ") for line in lines if not line.startswith("Type ")]
    if (
        "(x2 over" in text[begin:end] and "Halt" in text[begin:end]
    ):  # events by age: those of other rollouts come before
        lines = lines[next(place for place, line in enumerate(lines) if line.endswith("canary weight 50")) :]
    for pattern, today in OLDER:
        lines = [re.sub(pattern, today, line) for line in lines]
    return [line for line in lines if line]


def answers(lines: list[str]) -> Scripted:
    """A pass for each advance past the first, then what the halts say, one metric each time; the last is repeated."""
    passing = {"request-success-rate": 100.0, "request-duration": 1.0, "error-rate": 0.0, "latency": 1.0}
    said: dict[str, list[float]] = {name: [] for name in passing}
    advances = [line for line in lines if line.startswith("Advance")]
    steps = [int(step) for step in re.findall(r"canary iteration (\d+)/", "\n".join(advances))]
    passes = max(steps, default=len(advances)) - 1 if len(advances) > 1 or steps else len(advances)
    halts = [line for line in lines if line.startswith("Halt")]
    for turn in ["pass"] * passes + halts:
        bad = dict[str, float]()
        if found := re.search(r"success rate ([\d.]+)%", turn):
            bad["request-success-rate"] = float(found[1])
        elif found := re.search(r"request duration ([\d.]+)s", turn):
            bad["request-duration"] = float(found[1]) * 1000
        elif found := re.search(r"(error-rate|latency) ([\d.]+) >", turn):
            bad[found[1]] = float(found[2])
        for name, value in passing.items():
            said[name].append(bad.get(name, value))
    if not halts:
        return Scripted()
    return Scripted(tuple((name, tuple(values)) for name, values in said.items()))


@pytest.mark.parametrize(("guide", "mark", "manifest"), LOGS, ids=[f"{guide}: {name}" for guide, _, name in LOGS])
def test_a_guides_log_is_told_line_by_line(guide, mark, manifest):
    if not SEEDS.is_dir():
        assert not os.environ.get("CI"), f"{SEEDS} is missing"
        pytest.skip(f"{SEEDS} is missing")
    folder = MANIFESTS / guide
    others = [(path.name, path.read_text()) for path in folder.glob("metrictemplates.yaml")]
    report = load(others)
    text = (folder / manifest).read_text()
    (canary,) = load([*others, (manifest, text)]).canaries
    rollout = resolve(canary, templates=report.templates)
    lines = log(guide, mark)
    world = SimulatedCluster(rollout).do(Deploy("v1"))
    world.run(until=Phase.INITIALIZED)
    world.do(Deploy("v2"), SetMetrics(answers(lines))).run()
    told = iter(world.texts)
    missing = [line for line in lines if line not in told]
    assert not missing, world.texts
