"""A feature flag of flagd (examples/feature_flag.py): flagd's evaluator, its file, and measured shares of users."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
from math import sqrt
from pathlib import Path

import pytest

from canarycore import Phase, Routes
from canarycore.errors import Refused, WorldError
from canarycore_planes.go_programs import MissingProgram, build
from tests.e2e.examples import load_example

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]  # the first run builds flagd

FLAG = "checkout"
FLAGS = {
    "flags": {
        FLAG: {
            "state": "ENABLED",
            "variants": {"one": "one", "two": "two", "three": "three"},
            "defaultVariant": "one",
            "targeting": {},
            "metadata": {},
        },
        "other": {"state": "ENABLED", "variants": {"on": True}, "defaultVariant": "on"},
    }
}


@pytest.fixture(scope="module")
def flagd() -> Path:
    try:
        return build("flagd", Path(__file__).with_name("flagd"))
    except MissingProgram as missing:
        (pytest.fail if "CI" in os.environ else pytest.skip)(str(missing))


@pytest.fixture(scope="module")
def example():
    return load_example("feature_flag")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(FLAGS))
    return path


@pytest.fixture
def port(flagd: Path, path: Path):
    """Run flagd on the file; return its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    quiet = subprocess.DEVNULL
    command = [flagd, path, f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as process:
        try:
            wait_until(lambda: "variant" in evaluations(port, 1)[0])  # before, flagd knows no flag yet
            yield port
        finally:
            process.terminate()


def wait_until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        if time.monotonic() > end:
            raise TimeoutError("flagd does not follow its file")
        time.sleep(0.05)


def variants(port: int, users: int) -> list[str]:
    """Return the variant of each user."""
    return [answer["variant"] for answer in evaluations(port, users)]


def evaluations(port: int, users: int) -> list[dict]:
    """Return flagd's answer for each user, by OFREP over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    answers = []
    for user in range(users):
        body = json.dumps({"context": {"targetingKey": f"user-{user}"}})
        connection.request("POST", f"/ofrep/v1/evaluate/flags/{FLAG}", body)
        answers.append(json.loads(connection.getresponse().read()))
    connection.close()
    return answers


class Bench:
    """The flag in its file, and its owner."""

    def __init__(self, example, path: Path) -> None:
        self.file = example.FlagFile(path)
        self.adapter, self.rollout = example.Variants(self.file), example.policy(FLAG)
        self.router = example.FractionRouter(self.adapter)

    async def deploy(self, label: str) -> str:
        self.file.write(FLAG, {"metadata": {"candidate": label}})
        return label

    async def settle(self) -> None:
        """Nothing starts."""

    async def set_share(self, permille: int) -> None:
        await self.adapter.observe(self.rollout)
        await self.router.set_routes(self.rollout, Routes(weight=permille, tenths=True))


@pytest.fixture
def bench(example, path: Path) -> Bench:
    return Bench(example, path)


async def test_each_share_in_tenths_of_a_percent_of_the_users_gets_the_candidate(bench, port):
    """A user who has the candidate keeps it while its share grows."""
    users, before = 10_000, set()
    await bench.deploy("two")
    for permille in (1, 5, 200, 999, 1000):
        await bench.set_share(permille)
        assert await bench.router.observe(bench.rollout) == Routes(weight=permille, tenths=True)
        written = bench.file.read(FLAG)["targeting"]["fractional"]
        assert written == [["two", permille], ["one", 1000 - permille]]
        bench.file.write(FLAG, {"metadata": {"candidate": "two", "mark": permille}})
        wait_until(lambda mark=permille: evaluations(port, 1)[0]["metadata"].get("mark") == mark)
        answers, share = variants(port, users), permille / 1000
        now = {user for user, variant in enumerate(answers) if variant == "two"}
        assert abs(len(now) - share * users) <= 5 * sqrt(users * share * (1 - share)) + (permille == 1000)
        assert before <= now
        before = now


async def test_a_promotion_at_full_weight_changes_no_users_variant(bench, port):
    await bench.deploy("two")
    await bench.set_share(1000)
    wait_until(lambda: set(variants(port, 200)) == {"two"})
    await bench.adapter.promote(bench.rollout, "two")
    await bench.set_share(0)
    assert bench.file.read(FLAG)["targeting"] == {}
    wait_until(lambda: set(variants(port, 200)) == {"two"})


async def test_a_newer_candidate_gets_no_user_of_the_analysis_under_way(bench):
    await bench.deploy("two")
    await bench.adapter.observe(bench.rollout)
    await bench.deploy("three")  # after the observation
    await bench.router.set_routes(bench.rollout, Routes(weight=500, tenths=True))
    assert bench.file.read(FLAG)["targeting"]["fractional"][0][0] == "two"


async def test_a_candidate_that_is_no_variant_is_an_error_with_the_variants(bench):
    await bench.deploy("four")
    with pytest.raises(WorldError, match="has no variant four, expected one of"):
        await bench.adapter.observe(bench.rollout)


async def test_other_flags_stay_as_they_are(bench, path):
    await bench.deploy("two")
    await bench.set_share(5)
    assert json.loads(path.read_text())["flags"]["other"] == FLAGS["flags"]["other"]


async def test_a_mirror_is_refused(bench):
    with pytest.raises(Refused):
        await bench.router.set_routes(bench.rollout, Routes(mirrored=True))


async def test_the_example_promotes_the_candidate_with_texts_of_its_own(example, bench, path, port, capsys):
    await bench.deploy("two")
    assert await example.main(path, FLAG, f"http://127.0.0.1:{port}") is Phase.SUCCEEDED
    printed = capsys.readouterr().out
    assert "outcome: Succeeded, two is the default" in printed
    assert "0.1 % of the users get the candidate" in printed
    assert "Advance" not in printed
    wait_until(lambda: set(variants(port, 200)) == {"two"})
