"""Secrets with the credentials of providers: read on demand and cached for a minute.

The controller queries a provider far more often than its Secret changes. If a provider rejects cached credentials, its
client calls `forget`, so a renewed Secret takes effect at once. The cache needs no watch, and so no right to list
Secrets.
"""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING

from attrs import Factory, define

from canarycore.errors import Refused, WorldError
from canarycore_kubernetes.api.kinds import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from canarycore_kubernetes.api.cluster import Cluster

SECRET_LIFETIME = 60.0
"""Time for which a Secret is cached, in seconds."""

LARGEST_SECRET = 64 * 1024
"""Most characters of a Secret's names and encoded values; the longest key of a cloud provider has 4,000."""


class WithheldError(WorldError):
    """A Secret is needed, but this process may not read Secrets."""


@define(eq=False)
class _CachedSecret:
    """A Secret in the cache."""

    values: Mapping[str, str] = Factory(dict)
    """The decoded values by name."""
    until: float = 0.0
    """The expiry, in seconds on the monotonic clock."""
    reading: asyncio.Lock = Factory(asyncio.Lock)
    """The lock under which one task reads the Secret."""


class Secrets:
    """The Secrets of a cluster, as text. `readable` is whether this process may read Secrets; an observer may not."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic, *, readable: bool = True) -> None:
        self._cluster = cluster
        self._readable = readable
        self._clock = clock
        self._cache: dict[tuple[str, str], _CachedSecret] = {}

    async def read(self, namespace: str, name: str) -> Mapping[str, str]:
        """Return the values of a Secret by name.

        Raise Refused if it does not exist or is too large, WithheldError if Secrets are not readable, and WorldError.
        """
        if not self._readable:
            raise WithheldError(f"secret {name}.{namespace} is not read: an observer may not read Secrets")
        secret = self._cache.setdefault((namespace, name), _CachedSecret())
        async with secret.reading:
            if self._clock() >= secret.until:
                self._drop_expired()
                secret.values = await self._fetch(namespace, name)
                secret.until = self._clock() + SECRET_LIFETIME
            return secret.values

    def forget(self, namespace: str, name: str) -> None:
        """Remove a Secret from the cache, so that the next call reads it again."""
        self._cache.pop((namespace, name), None)

    async def _fetch(self, namespace: str, name: str) -> Mapping[str, str]:
        body = await self._cluster.get(SECRET, namespace, name)
        if body is None:
            raise Refused(f'secrets "{name}" not found')
        data = body.get("data") or {}
        if (size := sum(len(key) + len(value) for key, value in data.items())) > LARGEST_SECRET:
            raise Refused(
                f'secrets "{name}" has {size:,} characters, expected at most {LARGEST_SECRET:,}: '
                "put the provider's credentials into a Secret of their own"
            )
        return {key: _text(value) for key, value in data.items()}

    def _drop_expired(self) -> None:
        """Remove the expired Secrets; otherwise the cache would grow for ever."""
        now = self._clock()
        for place, secret in tuple(self._cache.items()):
            if now >= secret.until and not secret.reading.locked():
                del self._cache[place]


def _text(value: str) -> str:
    """Decode a value, without the line break that `echo` appends: headers and addresses cannot contain one."""
    return base64.b64decode(value).decode(errors="replace").rstrip("\r\n")
