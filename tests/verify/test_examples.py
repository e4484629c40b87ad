"""The Canaries of examples/ under every single fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from canarycore.manifest import load, resolve
from canarycore.verification import verify

MANIFESTS = Path(__file__).parents[2] / "examples" / "manifests"
FOLDERS = sorted(folder.name for folder in MANIFESTS.iterdir())


def canaries(folder: str) -> list:
    """Return the rollout of each Canary in a folder."""
    files = [(path.name, path.read_text()) for path in sorted((MANIFESTS / folder).glob("*.yaml"))]
    return [resolve(canary) for canary in load(files).canaries]


def test_no_single_fault_breaks_a_canary_of_the_examples():
    assert verify(canaries("eks-appmesh-korean")[0]).violations == ()


@pytest.mark.deep
@pytest.mark.parametrize("folder", FOLDERS)
def test_no_single_fault_breaks_any_canary_of_the_examples(folder):
    rollouts = canaries(folder)
    assert rollouts, f"no Canary in {folder}"
    assert [verify(rollout).violations for rollout in rollouts] == [()] * len(rollouts)
