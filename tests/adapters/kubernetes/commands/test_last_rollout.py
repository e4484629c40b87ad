"""The commands `canary describe`, `explain` and `wait` about the end of a rollout, on an API server in memory."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from canarycore import Observation, Phase, Reason, Rollout, Status, TargetRef, Verdict, Workload
from canarycore.results import AnalysisResult, CheckResult, RolloutEnd
from canarycore_cli.cluster.describe import observe_canary
from canarycore_cli.cluster.wait import RolloutResult, WaitGoal, find_exit_code, find_result
from canarycore_cli.main import app
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import CANARY, EVENT
from canarycore_kubernetes.controller import open_adapters
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_kubernetes.resources.status_codec import write_status
from tests.cluster.controller.test_controller import canary, target

NAMESPACE = "shop"
FAILED_AT = 1_700_000_000.0


def failure(revision):
    """Return a rollout of this revision that failed its checks."""
    check = CheckResult("request-success-rate", Verdict.FAIL, 92.5, 99.0, None, 40)
    analysis = AnalysisResult(FAILED_AT, revision, 20, checks=(check,))
    end = RolloutEnd(FAILED_AT, Phase.FAILED, Reason.CHECKS, revision, "Rolling back podinfo.shop", analysis)
    return Status(
        phase=Phase.FAILED,
        reason=Reason.CHECKS,
        since=FAILED_AT,
        analysed_at=FAILED_AT,
        applied=revision,
        promoted="0123456789",
        end=end,
    )


@pytest.fixture
def failed(api, kubeconfig, plane):
    """A Canary whose target has the revision that failed, without a controller."""
    api.create(target(NAMESPACE), NAMESPACE)
    api.create(canary(NAMESPACE) | {"spec": {**canary(NAMESPACE)["spec"], "provider": "kubernetes"}}, NAMESPACE)
    revision = asyncio.run(target_revision(kubeconfig))
    rollout = Rollout(name="podinfo", namespace=NAMESPACE, target=TargetRef(name="podinfo"), skip_analysis=True)
    put = lambda status: api.patch(  # noqa: E731
        f"{CANARY.path(NAMESPACE, 'podinfo')}/status", {"status": write_status(rollout, status, generation=1)}
    )
    put(failure(revision))
    return SimpleNamespace(api=api, revision=revision, put=put, plane=plane)


async def target_revision(kubeconfig):
    async with connect(str(kubeconfig)) as client, Cluster(client, namespace=NAMESPACE) as cluster:
        canaries = Canaries(cluster)
        async with open_adapters(cluster, canaries, Options()) as adapters:
            _, observation = await observe_canary(adapters, canaries, f"{NAMESPACE}/podinfo")
            return observation.target.revision


@pytest.fixture
def run(kubeconfig):
    def run(command, *arguments):
        options = ["--namespace", NAMESPACE, "--kubeconfig", str(kubeconfig)]
        return CliRunner().invoke(app, [command, "podinfo", *options, *arguments])

    return run


CAUSE = (
    "revision {} Failed (FailedChecks): Rolling back podinfo.shop; "
    "request-success-rate 92.5: fail (expected at least 99, 40 requests)"
)


def test_without_any_event_describe_and_explain_still_say_why_the_last_rollout_failed(failed, run):
    assert failed.api.list(EVENT.path(NAMESPACE)) == []
    for command in ("describe", "explain"):
        result = run(command)
        assert result.exit_code == 0, result.output
        assert CAUSE.format(failed.revision) in " ".join(result.output.split())


def test_describe_prints_the_results_as_json(failed, run):
    end = json.loads(run("describe", "--json").stdout)["last_end"]
    assert (end["reason"], end["revision"]) == ("FailedChecks", failed.revision)
    (check,) = end["analysis"]["checks"]
    assert (check["value"], check["minimum"], check["samples"]) == (92.5, 99.0, 40)


def test_explain_says_that_there_is_nothing_yet(failed, run):
    failed.put(Status(phase=Phase.INITIALIZED, since=FAILED_AT, applied="0123456789", promoted="0123456789"))
    result = run("explain")
    assert (result.exit_code, result.stdout) == (0, "shop/podinfo: no analysis and no end of a rollout yet\n")


@pytest.mark.parametrize(("goal", "code"), [("promoted", 3), ("finished", 0)])
def test_a_wait_for_a_revision_that_failed_ends_at_once_with_the_cause(failed, run, goal, code):
    mark = failed.plane.audit.mark()
    result = run("wait", "--for", goal, "--timeout", "30s")
    assert result.exit_code == code, result.output
    assert "shop/podinfo: rolled back" in result.stdout
    assert CAUSE.format(failed.revision) in " ".join(result.stdout.split())
    assert {verb for verb, _ in failed.plane.audit.since(mark)} <= {"get", "list", "watch"}


def test_a_wait_for_a_promoted_revision_ends_at_once(failed, run):
    failed.put(Status(phase=Phase.SUCCEEDED, since=FAILED_AT, applied=failed.revision, promoted=failed.revision))
    result = run("wait", "--timeout", "30s")
    assert (result.exit_code, result.stdout.startswith("shop/podinfo: promoted: Succeeded")) == (0, True), result.output


def test_an_earlier_success_does_not_end_a_wait(failed, run):
    """Right after `kubectl apply` the status is still about the revision before."""
    failed.put(Status(phase=Phase.SUCCEEDED, since=FAILED_AT, applied="0123456789", promoted="0123456789"))
    result = run("wait", "--timeout", "2s")
    assert result.exit_code == 5
    assert "shop/podinfo: not promoted within 2 s: Succeeded" in result.stderr


def test_a_wait_for_a_canary_or_a_time_that_does_not_exist_is_bad_input(failed, run):
    assert run("wait", "--timeout", "soon").exit_code == 2
    failed.api.delete(CANARY.path(NAMESPACE, "podinfo"))
    assert run("wait", "--timeout", "5s").exit_code == 2


def observed(revision):
    target_workload = None if revision is None else Workload(revision=revision, desired=1, updated=1, ready=1, total=1)
    return Observation(now=1.0, target=target_workload)


@pytest.mark.parametrize(
    ("phase", "applied", "promoted", "revision", "result"),
    [
        (Phase.INITIALIZED, "v1", "v1", "v1", RolloutResult.PROMOTED),
        (Phase.SUCCEEDED, "v2", "v2", "v2", RolloutResult.PROMOTED),
        (Phase.SUCCEEDED, "v1", "v1", "v2", RolloutResult.PENDING),
        (Phase.FAILED, "v2", "v1", "v2", RolloutResult.ROLLED_BACK),
        (Phase.FAILED, "v2", "v1", "v3", RolloutResult.PENDING),
        (Phase.FAILED, "v2", "v1", "v1", RolloutResult.PROMOTED),
        (Phase.FAILED, "v2", "v1", None, RolloutResult.PENDING),
        *(
            (phase, "v2", "v1", "v2", RolloutResult.PENDING)
            for phase in Phase
            if phase not in {Phase.INITIALIZED, Phase.SUCCEEDED, Phase.FAILED}
        ),
    ],
)
def test_the_result_is_about_the_present_revision_of_the_target(phase, applied, promoted, revision, result):
    status = Status(phase=phase, since=1.0, applied=applied, promoted=promoted)
    assert find_result(status, observed(revision)) is result


@pytest.mark.parametrize(
    ("goal", "result", "code"),
    [
        (WaitGoal.PROMOTED, RolloutResult.PROMOTED, 0),
        (WaitGoal.PROMOTED, RolloutResult.ROLLED_BACK, 3),
        (WaitGoal.PROMOTED, RolloutResult.PENDING, None),
        (WaitGoal.FINISHED, RolloutResult.PROMOTED, 0),
        (WaitGoal.FINISHED, RolloutResult.ROLLED_BACK, 0),
        (WaitGoal.FINISHED, RolloutResult.PENDING, None),
    ],
)
def test_each_result_has_its_exit_code(goal, result, code):
    assert find_exit_code(goal, result) == code
