"""The fuzzer: it finds faults, reduces their cases, and repeats them; and the cases of past findings."""

import json
import time
from pathlib import Path

import pytest

from canarycore_runtime.registry import installed
from tests.adapters.mesh.meshes import ENTRIES, REFERENCES, VARIANTS
from tests.fuzz.everything import opened
from tests.fuzz.findings import STUCK, USUAL, judge, load, reduce, run, save
from tests.fuzz.mutation import expand, is_recipe, to_text
from tests.fuzz.session import Session, table
from tests.fuzz.targets import Target

CORPUS = sorted(Path(__file__, "..", "corpus").resolve().glob("*.json"))
SAMPLE = {"spec": {"weight": 10, "routes": [{"host": "a"}, {"host": "b"}]}, "name": "podinfo"}


def compute(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def target(call, **more):
    return Target(name="reader of tests", samples=lambda: (SAMPLE,), call=call, **more)


@pytest.fixture(scope="module")
def targets():
    with opened() as found:
        yield {one.name: one for one in found}


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_past_finding_is_fixed(targets, path):
    name, case = load(path)
    assert judge(targets[name], case, run(targets[name], case)) is None


def test_each_mesh_and_each_installed_provider_is_a_target(targets):
    metrics = {f"metrics {name}" for name in installed("metrics") if name != "local"}
    chats = {f"chat {name}" for name in installed("notifiers") if name != "webhook"}
    assert {f"mesh {provider}" for provider in (*ENTRIES, *VARIANTS, *REFERENCES)} | metrics | chats <= targets.keys()


def test_no_sample_is_a_finding(targets):
    for one in targets.values():
        for sample in one.samples():
            assert judge(one, sample, run(one, sample)) is None, one.name


def test_the_sample_of_each_metric_provider_has_a_number(targets):
    for name in installed("metrics"):
        if name != "local":
            one = targets[f"metrics {name}"]
            answer = one.call(one.prepare(one.samples()[0]))
            assert answer.value is not None, (name, answer.error)


# findings -----------------------------------------------------------------------------------------------------------


def test_an_undocumented_exception_is_found_and_its_case_reduced():
    reader = target(lambda body: len(body["spec"]["routes"]))
    report = Session([reader], seed=1, seconds=1.0, quiet=True).run()
    found = {finding.about.partition(" in ")[0]: finding.case for finding in report.findings}
    assert found["KeyError"] == {}
    assert "findings in 1 targets" in table(report)


def test_a_documented_error_is_no_finding():
    reader = target(lambda body: body["spec"]["routes"][0]["host"], allowed=(Exception,))
    assert not Session([reader], seed=1, seconds=0.3, quiet=True).run().findings


def test_a_slow_call_is_found(monkeypatch):
    monkeypatch.setattr("tests.fuzz.findings.SLOW", 0.02)
    reader = target(lambda body: compute(0.4))
    assert judge(reader, SAMPLE, run(reader, SAMPLE)).signature.startswith("slow")


def test_a_call_on_a_slow_machine_is_no_finding(monkeypatch):
    monkeypatch.setattr("tests.fuzz.findings.SLOW", 0.02)
    monkeypatch.setattr("tests.fuzz.findings._yardstick", lambda: 10 * USUAL)
    reader = target(lambda body: compute(0.1))
    assert judge(reader, SAMPLE, run(reader, SAMPLE)) is None


def test_an_endless_call_is_stopped(monkeypatch):
    monkeypatch.setattr("tests.fuzz.findings.STUCK", 0.2)
    reader = target(lambda body: time.sleep(STUCK))
    assert judge(reader, SAMPLE, run(reader, SAMPLE)).signature.startswith("endless")


def test_a_call_with_much_memory_is_found():
    reader = target(lambda body: len(b"a" * 150_000_000))
    assert judge(reader, SAMPLE, run(reader, SAMPLE)).signature.startswith("memory")


def test_an_endless_error_message_is_found():
    def refuse(body):
        raise ValueError("found " + "a" * 200_000)

    reader = target(refuse, allowed=(ValueError,))
    assert judge(reader, SAMPLE, run(reader, SAMPLE)).signature.startswith("long message")


def test_a_finding_repeats_from_its_file(tmp_path):
    reader = target(lambda body: body["spec"])
    finding = reduce(reader, judge(reader, {"a": 1, "b": [2]}, run(reader, {"a": 1, "b": [2]})))
    name, case = load(save(finding, tmp_path))
    assert (name, case) == (reader.name, {})
    assert judge(reader, case, run(reader, case)) == finding


def test_a_seed_repeats_its_cases():
    def session():
        cases = []
        Session([target(cases.append, prepare=lambda case: case)], seed=5, seconds=0.5, quiet=True).run()
        return [to_text(case) for case in cases]

    first, again = session(), session()
    shorter = min(len(first), len(again))
    assert shorter > 10
    assert first[:shorter] == again[:shorter]


@pytest.mark.parametrize(
    "recipe",
    [
        {"$text": ["ab", 5]},
        {"$digits": 20},
        {"$digits": -3},
        {"$list": [{"a": 1}, 3]},
        {"$keys": ["x", 2]},
        {"$deep_list": 3},
        {"$deep_map": 2},
    ],
    ids=str,
)
def test_a_recipe_is_the_same_as_a_value_and_as_text(recipe):
    assert is_recipe(recipe)
    assert json.loads(to_text([recipe])) == [expand(recipe)]
