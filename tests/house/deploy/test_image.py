"""The images have the pinned packages that their distributions need, and nothing to install others with."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.projects import ROOT

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
STAGES = re.findall(r"^FROM (\S+)(?: AS (\S+))?\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
PIN = re.compile(r"^(\S+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def constraints() -> ModuleType:
    spec = importlib.util.spec_from_file_location("constraints", ROOT / "deploy" / "constraints.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins(name: str) -> dict[str, str]:
    """Return the version of each package in a file of `constraints`, whose every line is a pin with hashes."""
    text = (ROOT / "constraints" / f"{name}.txt").read_text().partition("\n")[2]
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    assert PIN.sub("", text).strip() == ""
    return {canonicalize_name(package): version for package, version, _ in PIN.findall(text)}


@pytest.mark.parametrize("image", ["build", "controller", "loadtester"])
def test_the_pins_of_an_image_fulfil_the_requirements_of_its_distributions(image: str):
    module, versions = constraints(), pins(f"image-{image}")
    lines = module.build_requirements() if image == "build" else module.requirements(image)
    requirements = [Requirement(line) for line in lines]
    assert len(requirements) >= 1
    missing = [
        str(each)
        for each in requirements
        if not each.specifier.contains(versions.get(canonicalize_name(each.name), "0"))
    ]
    assert missing == [], "run python deploy/constraints.py"


def test_the_base_is_given_by_digest():
    (outside,) = {source for source, _, _ in STAGES} - {name for _, name, _ in STAGES}
    assert re.fullmatch(r"python:3\.13-slim@sha256:[0-9a-f]{64}", outside)


def test_every_package_from_outside_has_a_hash():
    installs = re.findall(r"pip (?:--python \S+ )?(?:install|wheel) (.*?)(?:&&|\n(?! {4}))", DOCKERFILE, re.DOTALL)
    assert len(installs) == 6
    assert all("--require-hashes" in install or "--no-index" in install for install in installs)


@pytest.mark.parametrize("name", ["", "loadtester"])
def test_an_image_runs_as_a_user_without_rights_and_without_pip(name: str):
    stages = {stage: (source, text) for source, stage, text in STAGES}
    source, text = stages[name]
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == ["10001:10001"]
    assert source == "run"
    assert "pip uninstall -y" in stages["run"][1]
    assert "rm -rf /usr/local/lib/python3.13/ensurepip" in stages["run"][1]
    assert "venv --without-pip /opt/canary" in stages["build"][1]
    for label in ("title", "description"):
        assert f"org.opencontainers.image.{label}=" in text
    for label in ("version", "revision", "licenses"):
        assert f"org.opencontainers.image.{label}=" in stages["run"][1]


def test_the_context_has_only_the_copied_files():
    copied = {
        source for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for source in line.split()
    }
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied
