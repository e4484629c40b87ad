"""The template of a plug-in works as it stands: its wheel is installed into an environment and used there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import frozen

from tests.house.projects import ROOT

TEMPLATE = ROOT / "examples" / "plugin"


@frozen
class Environment:
    """A virtual environment with the wheel; the other distributions are those of this process."""

    python: Path
    folder: Path

    def run(self, *arguments: str) -> str:
        sources = os.pathsep.join(path for path in sys.path if path)
        environment = {**os.environ, "PYTHONPATH": sources, "COLUMNS": "160"}
        command = [str(self.python), *arguments]
        result = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Environment:
    try:
        import hatchling.build  # noqa: F401 - the backend of the template
    except ImportError as error:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"the backend of the template is missing: {error}")
    folder = tmp_path_factory.mktemp("plugin")
    source = folder / "source"
    shutil.copytree(TEMPLATE, source, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": ""})
    shutil.rmtree(source)
    return Environment(python, folder)


def test_the_installed_plugins_roll_out_a_good_version_and_roll_back_a_bad_one(environment):
    result = json.loads(environment.run(str(ROOT / "tests" / "house" / "plugin" / "rollout.py")).splitlines()[-1])
    assert result["weights"][-1] == 0
    assert 50 in result["weights"]
    assert any("Canary analysis completed" in text for text in result["alerts"])
    assert any("Failed checks threshold reached" in text or "Canary failed" in text for text in result["alerts"])


def test_the_commands_know_the_installed_plugins(environment):
    listed = json.loads(environment.run("-m", "canarycore_cli", "plugins", "--json"))["plugins"]
    ours = [plugin for plugin in listed if plugin["distribution"] == "canarycore-acme"]
    assert sorted((plugin["kind"], plugin["problem"]) for plugin in ours) == [
        *(("mesh", ""), ("metric", ""), ("notifier", "")),
    ]
    exported = environment.run("-m", "canarycore_cli", "install", "--export", "--provider", "acme")
    assert "trafficshares.acme.example" in exported


def test_the_contract_suites_of_the_template_pass(environment):
    tests = ROOT / "examples" / "plugin" / "tests"
    options = ("-q", "-p", "no:cacheprovider", "-c", str(TEMPLATE / "pyproject.toml"), "--rootdir", str(tests))
    assert "failed" not in environment.run("-m", "pytest", *options, str(tests))
