"""The file of the gates."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from canarycore_loadtester.gates import Gate, GateKind, Gates, InvalidState, TooManyGates

PODINFO = Gate(GateKind.APPROVAL.value, "test", "podinfo")
SHOP = Gate(GateKind.ROLLBACK.value, "prod", "shop")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "gates.json"


def test_only_the_owner_reads_the_file(file: Path):
    asyncio.run(Gates(file).open(PODINFO))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_the_file_has_the_open_gates(file: Path):
    gates = Gates(file)
    await gates.open(PODINFO)
    await gates.open(SHOP)
    await gates.close(PODINFO)
    again = Gates(file)
    assert again.is_open(SHOP)
    assert not again.is_open(PODINFO)
    assert len(again) == 1


async def test_changes_at_once_lose_nothing(file: Path):
    gates = Gates(file)
    many = [Gate(GateKind.APPROVAL.value, "test", str(number)) for number in range(20)]
    await asyncio.gather(*map(gates.open, many))
    assert all(map(Gates(file).is_open, many))


async def test_the_draft_of_a_killed_process_is_replaced(file: Path):
    file.parent.mkdir()
    file.with_name("gates.json.new").write_text("[[")
    gates = Gates(file)
    await gates.open(PODINFO)
    assert Gates(file).is_open(PODINFO)


async def test_the_draft_follows_no_link(file: Path, tmp_path: Path):
    file.parent.mkdir()
    (tmp_path / "other").write_text("mine")
    file.with_name("gates.json.new").symlink_to(tmp_path / "other")
    await Gates(file).open(PODINFO)
    assert (tmp_path / "other").read_text() == "mine"


@pytest.mark.parametrize("text", ["", "{", "{}x", "[1]", '[["a", "b", "c"]]', "[" * 100_000, '[["approval", "a"]]'])
def test_a_file_of_another_form_is_an_error_with_the_remedy(file: Path, text: str):
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(InvalidState, match="Delete it"):
        Gates(file)


async def test_the_number_of_open_gates_is_bounded(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("canarycore_loadtester.gates.MOST_GATES", 1)
    gates = Gates(file)
    await gates.open(PODINFO)
    with pytest.raises(TooManyGates):
        await gates.open(SHOP)
    await gates.close(PODINFO)
    await gates.open(SHOP)
