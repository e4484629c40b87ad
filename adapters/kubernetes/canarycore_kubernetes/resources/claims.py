"""Claims of Canaries to names of targets, Services and Ingresses, so that two Canaries never use the same objects.

    claims = Claims(canaries)
    objection = await claims.objection(rollout)        "" if no other Canary precedes it

Two Canaries may name one target or one Ingress, or one Canary's `service.name` may equal the name of another's copies.
An Ingress has one copy, with the weights of one app. The meshes that copy it cannot tell the canaries of two apps
apart: NGINX counts the requests of an Ingress, and Skipper prefers a copy for all paths of the original. The Canary
whose rollout has begun precedes the other; of two such Canaries the older one does. The other Canary waits until the
names are free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Phase
from canarycore.manifest.routing import copies_ingress
from canarycore_kubernetes.resources.canaries import ValidCanary
from canarycore_runtime.mesh import RenderContext

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore import Rollout
    from canarycore_kubernetes.resources.canaries import Canaries, InvalidCanary

Name = tuple[str, str, str]
"""Namespace, kind and name of a target, of the Service that users call, or of an Ingress. Copies derive their names
from it."""

_SUFFIXES = ("-primary", "-canary")
_INGRESS = "Ingress"
_INGRESS_SUFFIXES = ("-canary",)


class Claims:
    """An index of the names that the cluster's Canaries need."""

    def __init__(self, canaries: Canaries) -> None:
        self._canaries = canaries
        self._is_indexed = False
        self._names: dict[str, tuple[Name, ...]] = {}
        self._claimants: dict[Name, tuple[str, ...]] = {}

    async def objection(self, rollout: Rollout) -> str:
        """Return a clause about the Canary that precedes this rollout; empty if there is none."""
        await self._index()
        key = f"{rollout.namespace}/{rollout.name}"
        own = await self._rank(key)
        for name in self._names.get(key, ()):
            for clash in _clashing(name):
                for other in self._claimants.get(clash, ()):
                    if other != key and await self._rank(other) < own:
                        rival, (_, kind, plain_name) = other.partition("/")[2], clash
                        return f"the Canary {rival} has the {kind} {plain_name}, whose names this one needs"
        return ""

    async def _rank(self, key: str) -> tuple[bool, str, str]:
        """Return the sort key of a Canary: those whose rollout has begun come first, then the older ones."""
        canary = await self._canaries.find(key)
        if not isinstance(canary, ValidCanary):
            return True, "", key
        return canary.status.phase is Phase.INITIALIZING, canary.created_at, key

    # the index --------------------------------------------------------------------------------------------------

    async def _index(self) -> None:
        """Index all Canaries once, and follow their changes from then on."""
        if self._is_indexed:
            return
        keys = await self._canaries.keys()
        if self._is_indexed:  # another call waited for the same list
            return
        self._is_indexed = True
        self._canaries.follow(self._update)
        for key in keys:
            self._update(key, self._canaries.get(key))

    def _update(self, key: str, canary: ValidCanary | InvalidCanary | None) -> None:
        before, now = self._names.get(key, ()), tuple(_claimed_names(canary)) if isinstance(canary, ValidCanary) else ()
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


def _claimed_names(canary: ValidCanary) -> Iterator[Name]:
    """Yield the names from which a Canary derives its other names."""
    target, namespace = canary.manifest.spec.target_ref, canary.manifest.namespace
    ingress = canary.manifest.spec.ingress_ref
    if ingress is not None and copies_ingress(canary.rollout.provider):
        yield namespace, _INGRESS, ingress.name
    if target.knative:
        yield namespace, "Knative Service", target.name
        return
    yield namespace, target.kind, target.name
    apex = RenderContext(canary=canary.manifest, rollout=canary.rollout).apex
    if (target.kind, target.name) != ("Service", apex):
        yield namespace, "Service", apex


def _clashing(name: Name) -> Iterator[Name]:
    """Yield the names that share objects with a name: itself, its copies, and its possible originals."""
    namespace, kind, plain_name = name
    yield name
    for suffix in _INGRESS_SUFFIXES if kind == _INGRESS else _SUFFIXES:
        yield namespace, kind, plain_name + suffix
        if plain_name.endswith(suffix):
            yield namespace, kind, plain_name.removesuffix(suffix)
