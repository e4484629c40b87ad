"""The registry: an adapter is found by its name, and nothing stands in for one that is not installed."""

import asyncio
import threading
import tomllib
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from canarycore.errors import UnknownProvider
from canarycore_runtime import BrokenAdapter, installed, load, registry
from canarycore_runtime.registry import AdapterLoader

ADAPTERS = Path(__file__).parents[3] / "adapters"


class Installed(Distribution):
    """A distribution that exists in this test only."""

    def __init__(self, name, *entries):
        self._name = name
        self._text = "\n".join(f"[{group}]\n{name} = {value}" for group, name, value in entries)

    @property
    def metadata(self):
        return {"Name": self._name}

    def read_text(self, filename):
        return self._text if filename == "entry_points.txt" else None

    def locate_file(self, path):
        raise NotImplementedError


@pytest.fixture
def machine(monkeypatch):
    """Says which distributions are installed."""

    def has(*distributions):
        monkeypatch.setattr(registry, "distributions", lambda path: distributions)
        registry._read_entry_points.cache_clear()

    yield has
    registry._read_entry_points.cache_clear()


RUNNER = ("canarycore.routers", "fancy", "canarycore_runtime.runner:Runner")


def test_an_installed_adapter_is_loaded_by_its_name(machine):
    machine(Installed("fancy-router", RUNNER))
    assert load("routers", "fancy").__name__ == "Runner"
    assert installed("routers") == ("fancy",)


def test_a_name_is_of_one_port(machine):
    machine(Installed("fancy-router", RUNNER))
    with pytest.raises(UnknownProvider):
        load("metrics", "fancy")


def test_an_unknown_name_is_an_error_that_lists_the_installed_names(machine):
    machine(Installed("fancy-router", RUNNER), Installed("other", ("canarycore.routers", "contour", "x:y")))
    with pytest.raises(UnknownProvider, match=r"unknown routers 'istoi': installed are contour, fancy") as caught:
        load("routers", "istoi")
    assert caught.value.installed == ("contour", "fancy")


def test_a_name_of_ours_that_is_not_installed_tells_what_to_install(machine):
    machine()
    with pytest.raises(UnknownProvider, match="pip install canarycore-local"):
        load("stores", "sqlite")


def test_an_adapter_that_cannot_be_imported_says_whose_it_is_and_why(machine):
    machine(Installed("fancy-router", ("canarycore.routers", "fancy", "fancy_that_is_not_there:Router")))
    with pytest.raises(BrokenAdapter, match=r"of fancy-router .* cannot be loaded: No module named"):
        load("routers", "fancy")


def test_two_adapters_of_one_name_are_an_error_that_names_both(machine):
    machine(Installed("one", RUNNER), Installed("two", ("canarycore.routers", "fancy", "json:loads")))
    with pytest.raises(BrokenAdapter, match=r"one \(.*\) and by two \(.*\)"):
        load("routers", "fancy")


def test_one_adapter_found_twice_on_the_path_is_one(machine):
    machine(Installed("one", RUNNER), Installed("one", RUNNER))
    assert load("routers", "fancy").__name__ == "Runner"


def test_the_hints_are_what_our_distributions_declare():
    declared = {}
    for file in ADAPTERS.glob("*/pyproject.toml"):
        project = tomllib.loads(file.read_text())["project"]
        for group, entries in project.get("entry-points", {}).items():
            declared |= {(group.removeprefix("canarycore."), name): project["name"] for name in entries}
    assert declared == registry._DISTRIBUTIONS
    assert {port for port, _ in declared} <= set(registry.PORTS)


def test_the_distributions_are_read_once_until_the_path_changes(machine, monkeypatch, tmp_path):
    machine(Installed("one", RUNNER))
    assert installed("routers") == ("fancy",)
    monkeypatch.setattr(registry, "distributions", lambda path: [])
    assert installed("routers") == ("fancy",)
    monkeypatch.syspath_prepend(tmp_path)
    assert installed("routers") == ()


async def test_an_adapter_is_loaded_once_and_the_loop_goes_on_meanwhile():
    loads, is_running = [], asyncio.Event()
    loop = asyncio.get_running_loop()

    def load_slowly(name):
        loads.append(name)
        loop.call_soon_threadsafe(is_running.set)
        assert goes_on.wait(10), "the loop stands still while an adapter is loaded"
        return name.upper

    goes_on = threading.Event()
    loader = AdapterLoader(load_slowly)
    waiting = asyncio.create_task(loader.factory("slack"))
    await is_running.wait()
    goes_on.set()
    assert (await waiting)() == "SLACK"
    await loader.factory("slack")
    assert loads == ["slack"]
