"""The factories of plug-ins: one Protocol for each kind, with the arguments that the controller passes.

An adapter is open while the context of its factory's result is open. `check_factory` checks the signature of a factory.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol

from canarycore_runtime.registry import BrokenAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager

    from canarycore import Rollout
    from canarycore.notices import Notice
    from canarycore_runtime.http import AllowedHosts
    from canarycore_runtime.mesh import Mesh
    from canarycore_runtime.ports import AlertContent, HookPort, MetricSource, Notifier
    from canarycore_runtime.registry import Port


class MeshFactory(Protocol):
    """Makes a mesh: an entry point of `canarycore.meshes`, named as manifests name it in `spec.provider`."""

    def __call__(self) -> Mesh:
        """Return a new mesh."""


class MetricSourceFactory(Protocol):
    """Makes a metric source: an entry point of `canarycore.metrics`, named as the `type` of a MetricTemplate."""

    def __call__(
        self,
        address: str,
        *,
        headers: Mapping[str, Iterable[str]],
        secret: Mapping[str, str],
        region: str,
        insecure_skip_verify: bool,
        query_variables: Callable[[Rollout], Mapping[str, str]],
    ) -> AbstractAsyncContextManager[MetricSource]:
        """Return a context with a source for the provider of a template.

        Args:
            address: The address of the template.
            headers: Its headers, each with its values.
            secret: The contents of its Secret; empty without one.
            region: Its region.
            insecure_skip_verify: Whether the source accepts any certificate of the server.
            query_variables: Returns the variables that a rollout's queries may name.
        """


class NotifierFactory(Protocol):
    """Makes a notifier: an entry point of `canarycore.notifiers`, named as the `type` of an AlertProvider."""

    def __call__(
        self,
        address: str,
        *,
        token: str,
        proxy: str,
        channel: str,
        username: str,
        content: Callable[[Rollout, Notice], AlertContent],
    ) -> AbstractAsyncContextManager[Notifier]:
        """Return a context with a notifier for an alert provider.

        Args:
            address: The address of the alert provider, or of its Secret.
            token: The token of its Secret; empty without one.
            proxy: Its proxy.
            channel: Its channel.
            username: The sender of its messages.
            content: Returns the text, the fields and the links of a notice.
        """


class HookFactory(Protocol):
    """Makes a port for hooks: an entry point of `canarycore.hooks`, named as the scheme of their URLs."""

    def __call__(self, allowed: AllowedHosts) -> AbstractAsyncContextManager[HookPort]:
        """Return a context with a port. It must call no host that `allowed` refuses."""


FACTORIES: dict[Port, type] = {
    "meshes": MeshFactory,
    "metrics": MetricSourceFactory,
    "notifiers": NotifierFactory,
    "hooks": HookFactory,
}
"""The Protocol of each kind of factory. The factories of other ports have no common arguments."""


def check_factory(port: Port, name: str, factory: Callable[..., Any]) -> None:
    """Raise BrokenAdapter unless a factory takes the arguments of its Protocol."""
    protocol = FACTORIES.get(port)
    if protocol is None:
        return
    expected = inspect.signature(protocol.__call__)
    parameters = list(expected.parameters.values())[1:]
    positional = [each.name for each in parameters if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    keywords = {each.name: None for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
    try:
        actual = inspect.signature(factory)
    except (TypeError, ValueError):
        return  # a factory of an extension module does not say what it takes
    try:
        actual.bind(*positional, **keywords)
    except TypeError as error:
        wish = inspect.Signature([each.replace(annotation=inspect.Parameter.empty) for each in parameters])
        raise BrokenAdapter(
            f"{port} {name!r}: found a factory that refuses the arguments ({error}), expected one that takes {wish}. "
            f"canarycore_runtime.plugins.{protocol.__name__} documents them."
        ) from None
