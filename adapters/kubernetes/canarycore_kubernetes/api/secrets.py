"""Secrets that providers are reached with: read when they are needed, and good for a minute.

A provider is asked far more often than its Secret changes. Who is turned away with what is kept here calls `forget`, so
that a Secret that was renewed does no harm meanwhile. No watch is needed for it, and so no right to list Secrets.
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
"""Seconds for which a Secret is not read again."""


LARGEST = 64 * 1024
"""Characters of a Secret's names and values, as the API server gives them: the largest key of a cloud has 4,000."""


class WithheldError(WorldError):
    """A Secret is needed, and this process reads none."""


@define(eq=False)
class _CachedSecret:
    """A Secret's values, until when they are good (monotonic seconds), and the lock of who reads it."""

    values: Mapping[str, str] = Factory(dict)
    until: float = 0.0
    reading: asyncio.Lock = Factory(asyncio.Lock)


class Secrets:
    """The Secrets of a cluster, as text. readable: whether this process reads any; an observer does not."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic, *, readable: bool = True) -> None:
        self._cluster = cluster
        self._readable = readable
        self._clock = clock
        self._kept: dict[tuple[str, str], _CachedSecret] = {}

    async def read(self, namespace: str, name: str) -> Mapping[str, str]:
        """The Secret's values by their names.

        Raises Refused when there is none or it is too large, WithheldError, and WorldError.
        """
        if not self._readable:
            raise WithheldError(f"secret {name}.{namespace} is not read: an observer has no right to")
        kept = self._kept.setdefault((namespace, name), _CachedSecret())
        async with kept.reading:
            if self._clock() >= kept.until:
                self._drop_expired()
                kept.values = await self._fetch(namespace, name)
                kept.until = self._clock() + SECRET_LIFETIME
            return kept.values

    def forget(self, namespace: str, name: str) -> None:
        """Read it again when it is needed next."""
        self._kept.pop((namespace, name), None)

    async def _fetch(self, namespace: str, name: str) -> Mapping[str, str]:
        body = await self._cluster.get(SECRET, namespace, name)
        if body is None:
            raise Refused(f'secrets "{name}" not found')
        data = body.get("data") or {}
        if (size := sum(len(key) + len(value) for key, value in data.items())) > LARGEST:
            raise Refused(
                f'secrets "{name}" has {size:,} characters: expected at most {LARGEST:,}, so keep what the provider '
                "needs in a Secret of its own"
            )
        return {key: _text(value) for key, value in data.items()}

    def _drop_expired(self) -> None:
        """Forget the Secrets that nobody has needed for a while, or all that there ever were would be kept."""
        now = self._clock()
        for place, kept in tuple(self._kept.items()):
            if now >= kept.until and not kept.reading.locked():
                del self._kept[place]


def _text(value: str) -> str:
    """A value, without the line break that `echo` puts behind it and no header or address can carry."""
    return base64.b64decode(value).decode(errors="replace").rstrip("\r\n")
