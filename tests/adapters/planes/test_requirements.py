"""A machine that lacks parts of a bench: one error names all of them, with remedies."""

from __future__ import annotations

from pathlib import Path

import pytest

from canarycore_planes.data_planes.catalog import DATA_PLANES
from canarycore_planes.go_programs import MissingProgram
from canarycore_planes.rehearsal.plan import RehearsalPlan, Stream
from canarycore_planes.rehearsal.requirements import MissingParts, build, demand_parts
from tests.controlplane.rights import installation


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with no program and an empty cache."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)


@pytest.mark.usefixtures("empty")
def test_one_error_names_all_missing_parts_with_remedies():
    with pytest.raises(MissingParts) as error:
        demand_parts("contour", DATA_PLANES["contour"])
    first, *lines = str(error.value).splitlines()
    assert first == f"--plane contour: this machine lacks {len(lines)} of its parts:"
    for part in ("unshare", "ip:", "etcd:", "prometheus:", "openssl:", "the control plane", "contour (v", "go:"):
        assert len([line for line in lines if line.startswith(f"  {part}")]) == 1, (part, lines)
    built = [line for line in lines if "not built yet" in line]
    assert len(built) == 3
    assert all(line.endswith("canary rehearse --plane contour --build") for line in built)


@pytest.mark.usefixtures("empty")
def test_a_build_without_go_names_the_remedy():
    reports: list[str] = []
    with pytest.raises(MissingProgram, match="install Go"):
        build(DATA_PLANES["skipper"], reports.append)
    assert reports == []


def test_a_plan_survives_its_json():
    plan = RehearsalPlan(
        plane="skipper",
        installation=installation("skipper"),
        namespaces=["test"],
        objects=[],
        deployment={"kind": "Deployment"},
        canary={"kind": "Canary"},
        versions={"v1": ["server", "${PORT}"]},
        host="shop.test",
        streams=[Stream(rate=20, headers={"x-a": "b"}), Stream(rate=1.5)],
        policy="fast",
        descriptions=["v1"],
    )
    copy = RehearsalPlan.load(plan.dump())
    assert copy.dump() == plan.dump()
    assert "\n" not in plan.dump()
    assert copy.rate == 21.5
