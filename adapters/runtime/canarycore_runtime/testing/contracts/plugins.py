"""The contract of a plug-in: its entry point, its declaration and its factory.

    class TestMyPlugin(PluginContract):
        port, name = "metrics", "acme"

The distribution must be installed, such as by `pip install --no-deps -e .`.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from canarycore.notices import Notice
from canarycore_runtime.mesh import query_variables
from canarycore_runtime.plugins import PluginDeclaration, check_factory, list_plugins, load_declaration
from canarycore_runtime.registry import installed, load
from canarycore_runtime.reporting.inspection import check_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from canarycore import Rollout
    from canarycore_runtime.registry import Port


def _no_facts(_: Rollout, __: Notice) -> Iterable[tuple[str, str]]:
    return ()


_ADDRESS = "http://127.0.0.1:9"

_MESH_METHODS = ("refs", "is_route", "render", "original", "routes", "refusal", "refusals", "features", "gateways")


def _arguments(port: Port) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Return the arguments that the controller passes to a factory; None where it calls none of this port."""
    match port:
        case "meshes":
            return (), {}
        case "metrics":
            settings = {"headers": {}, "secret": {}, "region": "", "insecure_skip_verify": False}
            return (_ADDRESS,), {**settings, "query_variables": query_variables}
        case "notifiers":
            settings = {"token": "", "proxy": "", "channel": "general", "username": "canarycore"}
            return (_ADDRESS,), {**settings, "fields": _no_facts}
        case "hooks":
            from canarycore_runtime.http import AllowedHosts

            return (AllowedHosts(),), {}
        case _:
            return None


@pytest.mark.asyncio
class PluginContract:
    """A suite to derive from, with the port and the name of the plug-in."""

    port: ClassVar[Port]
    name: ClassVar[str]

    async def test_it_is_installed_under_its_name(self) -> None:
        assert self.name in installed(self.port)

    async def test_it_is_listed_with_its_distribution_and_without_a_problem(self) -> None:
        (plugin,) = (plugin for plugin in list_plugins() if (plugin.port, plugin.name) == (self.port, self.name))
        assert plugin.distribution
        assert plugin.version
        assert not plugin.problem

    async def test_its_declaration_is_valid(self) -> None:
        assert isinstance(load_declaration(self.port, self.name), PluginDeclaration)

    async def test_its_definitions_have_rights(self) -> None:
        declaration = load_declaration(self.port, self.name)
        places = {(right.group, right.resource) for right in declaration.rights}
        for definition in declaration.definitions:
            spec = definition["spec"]
            assert (spec["group"], spec["names"]["plural"]) in places

    async def test_its_factory_takes_the_arguments_of_the_controller(self) -> None:
        check_factory(self.port, self.name, load(self.port, self.name))

    async def test_its_factory_opens_an_adapter_of_its_port(self) -> None:
        call = _arguments(self.port)
        if call is None:
            pytest.skip("the controller opens no plug-in of this port")
        arguments, options = call
        factory: Callable[..., Any] = load(self.port, self.name)
        opened = factory(*arguments, **options)
        if self.port == "meshes":
            for method in _MESH_METHODS:
                assert callable(getattr(opened, method)), f"the mesh has no method {method}: derive from Mesh"
            return
        assert isinstance(opened, AbstractAsyncContextManager), "the result has no __aenter__ and __aexit__"
        async with opened as adapter:
            check_port(self.port, adapter)
