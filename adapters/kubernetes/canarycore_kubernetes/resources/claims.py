"""Which Canaries need the same names, and which of them has them.

    claims = Claims(canaries)
    objection = await claims.objection(rollout)        "" where no other Canary comes first

Two Canaries may name one target, or one Canary's `service.name` may be what another's copies are called. The one whose
rollout has begun comes first, of two such the older one. The other one waits until the names are free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Phase
from canarycore_kubernetes.resources.canaries import ValidCanary
from canarycore_runtime.mesh import RenderContext

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore import Rollout
    from canarycore_kubernetes.resources.canaries import Canaries, InvalidCanary

Name = tuple[str, str, str]
"""Namespace, kind and name of a target, or of the Service that users call: its copies are called after it."""

_SUFFIXES = ("-primary", "-canary")


class Claims:
    """An index of the names that the cluster's Canaries need."""

    def __init__(self, canaries: Canaries) -> None:
        self._canaries = canaries
        self._is_indexed = False
        self._names: dict[str, tuple[Name, ...]] = {}
        self._claimants: dict[Name, tuple[str, ...]] = {}

    async def objection(self, rollout: Rollout) -> str:
        """Return which other Canary comes first, and where; empty where none does."""
        await self._index()
        key = f"{rollout.namespace}/{rollout.name}"
        own = await self._rank(key)
        for name in self._names.get(key, ()):
            for clash in _clashing(name):
                for other in self._claimants.get(clash, ()):
                    if other != key and await self._rank(other) < own:
                        canary, (_, kind, called) = other.partition("/")[2], clash
                        return f"the Canary {canary} has the {kind} {called}, whose names this one needs"
        return ""

    async def _rank(self, key: str) -> tuple[bool, str, str]:
        """Return by what Canaries are ordered: those whose rollout has begun, then the older ones."""
        held = await self._canaries.find(key)
        if not isinstance(held, ValidCanary):
            return True, "", key
        return held.status.phase is Phase.INITIALIZING, held.created_at, key

    # the index --------------------------------------------------------------------------------------------------

    async def _index(self) -> None:
        """Take in all Canaries once; from then on each change is told."""
        if self._is_indexed:
            return
        keys = await self._canaries.keys()
        if self._is_indexed:  # by a call that waited for the same list
            return
        self._is_indexed = True
        self._canaries.follow(self._take)
        for key in keys:
            self._take(key, self._canaries.get(key))

    def _take(self, key: str, held: ValidCanary | InvalidCanary | None) -> None:
        before, now = self._names.get(key, ()), tuple(_needed(held)) if isinstance(held, ValidCanary) else ()
        if before == now:
            return
        for name in before:
            others = tuple(other for other in self._claimants.pop(name) if other != key)
            if others:
                self._claimants[name] = others
        for name in now:
            self._claimants[name] = (*self._claimants.get(name, ()), key)
        self._names.pop(key, None)
        if now:
            self._names[key] = now


def _needed(held: ValidCanary) -> Iterator[Name]:
    """Yield the names that the Canary's other names are made of."""
    target, namespace = held.manifest.spec.target_ref, held.manifest.namespace
    if target.knative:
        yield namespace, "Knative Service", target.name
        return
    yield namespace, target.kind, target.name
    apex = RenderContext(canary=held.manifest, rollout=held.rollout).apex
    if (target.kind, target.name) != ("Service", apex):
        yield namespace, "Service", apex


def _clashing(name: Name) -> Iterator[Name]:
    """Yield the names that need the same objects: the name itself, those of its copies, and whose copy it may be."""
    namespace, kind, called = name
    yield name
    for suffix in _SUFFIXES:
        yield namespace, kind, called + suffix
        if called.endswith(suffix):
            yield namespace, kind, called.removesuffix(suffix)
