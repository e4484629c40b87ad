"""Hooks by the scheme of their URL: those of http and https at one port, those of plug-ins at their own.

async with SchemeHooks(webhooks) as hooks:
...                                       # acme://gates/smoke goes to the plug-in acme
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from canarycore.errors import UnknownProvider
from canarycore_runtime.pool import Pool
from canarycore_runtime.registry import AdapterLoader, load

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import TracebackType

    from canarycore import Rollout
    from canarycore.questions import HookAnswer, HookQuestion
    from canarycore_runtime.http import AllowedHosts
    from canarycore_runtime.ports import HookPort

WEB = ("http", "https")


class SchemeHooks:
    """The port HookPort for all schemes, while its context is open."""

    def __init__(
        self,
        web: HookPort,
        allowed: AllowedHosts,
        *,
        adapter: Callable[[str], Callable[..., Any]] = lambda scheme: load("hooks", scheme),
        wrap: Callable[[str, HookPort], HookPort] = lambda _, port: port,
    ) -> None:
        """Call hooks of http and https by `web`, which the caller closes.

        Args:
            web: The port for http and https.
            allowed: The hosts that a plug-in may call.
            adapter: Returns the factory of a scheme's port.
            wrap: Returns the port to use for a scheme, such as one that measures.
        """
        self._allowed = allowed
        self._loader = AdapterLoader(adapter)
        self._wrap = wrap
        self._web = wrap(WEB[0], web)
        self._ports: Pool[str, HookPort] = Pool(self._open, group=lambda scheme: scheme)

    async def __aenter__(self) -> Self:
        await self._ports.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._ports.__aexit__(kind, error, trace)

    async def call(self, rollout: Rollout, question: HookQuestion) -> HookAnswer:
        """Call the hook of a question at the port of its scheme."""
        scheme, separator, _ = question.hook.url.partition("://")
        if not separator or scheme.lower() in WEB:
            return await self._web.call(rollout, question)
        try:
            async with self._ports.lend(scheme.lower()) as port:
                return await port.call(rollout, question)
        except UnknownProvider:
            return await self._web.call(rollout, question)  # it refuses the address without showing it

    @asynccontextmanager
    async def _open(self, scheme: str) -> AsyncGenerator[HookPort, None]:
        factory = await self._loader.factory(scheme)
        async with factory(self._allowed) as port:
            yield self._wrap(scheme, port)
