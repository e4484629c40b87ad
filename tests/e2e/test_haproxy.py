"""A model behind HAProxy (examples/behind_haproxy.py): real processes, real requests, measured shares."""

from __future__ import annotations

import subprocess
import sys
from math import sqrt
from pathlib import Path

import pytest

from canarycore import Routes
from canarycore.errors import Refused
from canarycore_runtime.testing.contracts import WorkloadContract
from tests.e2e.examples import EXAMPLES, load_example

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def example():
    return load_example("behind_haproxy")


@pytest.fixture
async def bench(example, tmp_path: Path):
    """Return HAProxy with a stable version v1 and a candidate v2."""
    async with example.environment(tmp_path, ("v1", "v2")) as (proxy, port, ports):
        bench = Bench(example, proxy, port, ports, tmp_path)
        yield bench


class Bench:
    """The models behind the proxy, and their owner; the versions "one" and "two" of the contract are v1 and v2."""

    def __init__(self, example, proxy, port, ports, folder) -> None:
        self.example, self.proxy, self.port, self.ports = example, proxy, port, ports
        self.adapter, self.rollout = example.Models(proxy, folder / "models.json"), example.POLICY
        self.router = example.ShareRouter(self.adapter)

    async def deploy(self, label: str) -> str:
        version = {"one": "v1", "two": "v2"}[label]
        self.adapter.deploy(version, self.ports[version])
        return version

    async def settle(self) -> None:
        """Nothing starts."""

    async def start(self) -> None:
        await self.adapter.initialise(self.rollout, await self.deploy("one"))
        await self.deploy("two")
        await self.adapter.observe(self.rollout)


class TestModels(WorkloadContract):
    @pytest.fixture
    def bench(self, bench):
        return bench


@pytest.mark.parametrize("permille", [0, 1, 5, 200, 999, 1000])
async def test_a_share_in_tenths_of_a_percent_of_the_requests_goes_to_the_candidate(bench, permille):
    await bench.start()
    await bench.router.set_routes(bench.rollout, Routes(weight=permille, tenths=True))
    assert await bench.router.observe(bench.rollout) == Routes(weight=permille, tenths=True)
    requests, share = 20_000, permille / 1000
    answers = await bench.example.send_requests(bench.port, requests)
    assert answers.total() == requests
    assert abs(answers["v2"] - share * requests) <= 5 * sqrt(requests * share * (1 - share))


async def test_a_promotion_at_full_weight_moves_no_request_to_another_process(bench):
    await bench.start()
    await bench.router.set_routes(bench.rollout, Routes(weight=1000, tenths=True))
    await bench.adapter.promote(bench.rollout, "v2")
    assert set(await bench.example.send_requests(bench.port, 1000)) == {"v2"}
    await bench.router.set_routes(bench.rollout, Routes())
    assert set(await bench.example.send_requests(bench.port, 1000)) == {"v2"}


async def test_a_newer_candidate_gets_no_request_of_the_analysis_under_way(bench):
    await bench.start()
    bench.adapter.deploy("v3", 1)  # after the observation
    await bench.router.set_routes(bench.rollout, Routes(weight=500, tenths=True))
    assert set(await bench.example.send_requests(bench.port, 1000)) == {"v1", "v2"}


async def test_mirrors_are_refused(bench):
    with pytest.raises(Refused):
        await bench.router.set_routes(bench.rollout, Routes(mirrored=True))


def test_the_example_promotes_a_good_version_and_keeps_it_when_a_bad_one_comes():
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / "behind_haproxy.py")], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    outcomes = [line for line in result.stdout.splitlines() if line.startswith("outcome")]
    assert outcomes == [
        "outcome: Initialized, v1 is stable",
        "outcome: Succeeded, v2 is stable",
        "outcome: Failed, v2 is stable",
    ]
    assert "0.5 % of the requests go to the candidate" in result.stdout
    assert "Advance" not in result.stdout
