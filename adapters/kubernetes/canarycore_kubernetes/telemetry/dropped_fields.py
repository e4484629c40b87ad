"""Fields that an owner applied and the cluster's definition of Canaries dropped.

kubectl and others keep the text that they applied in an annotation. A field that this text has and the Canary lacks was
dropped, or somebody has removed it since. So the definition decides: the report comes only if it lacks the field.
"""

from __future__ import annotations

import logging
import time
from itertools import islice
from typing import TYPE_CHECKING

from canarycore.bounds import FINDINGS
from canarycore.errors import WorldError
from canarycore.foreign import get_mapping, get_text, get_texts, parse_json
from canarycore.manifest import (
    DEFINITION,
    FLAGGERS_OMISSIONS,
    DroppedField,
    annotated_fields,
    find_dropped_fields,
    find_omissions,
    suggest_for_dropped,
)
from canarycore.text import enumerate_some, escape_controls
from canarycore_kubernetes.api.kinds import CUSTOM_RESOURCE_DEFINITION
from canarycore_runtime.mesh import LAST_APPLIED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_runtime.mesh import Json

DROPPED = "FieldsDropped"
"""Type of the condition of a Canary that has lost fields."""

DEFINITION_LIFETIME = 600.0
"""Seconds after which the controller reads the definition again."""

LONGEST_REPORT = 2048
"""Most characters of a report."""

_log = logging.getLogger("canarycore.kubernetes")


def find_lost_fields(body: Json, omissions: Collection[str] = FLAGGERS_OMISSIONS) -> tuple[DroppedField, ...]:
    """Return the first fields that the owner applied and the Canary lacks, without those that annotations carry."""
    applied = get_mapping(parse_json(get_text(body, "metadata", "annotations", LAST_APPLIED)), "spec")
    if not applied:
        return ()
    present = {dropped.path for dropped in find_dropped_fields(body.get("spec"), omissions)}
    annotated = annotated_fields(get_texts(body, "metadata", "annotations"))
    lost = (
        dropped
        for dropped in find_dropped_fields(applied, omissions)
        if dropped.path not in present and dropped.field not in annotated
    )
    return tuple(islice(lost, FINDINGS.most))


class DroppedFields:
    """The lost fields of Canaries, confirmed by the cluster's definition."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._omissions: frozenset[str] = frozenset()
        self._read_until = float("-inf")
        self._texts: dict[str, str] = {}

    async def look(self, key: str, lost: tuple[DroppedField, ...]) -> str:
        """Return the report about a Canary that has lost these fields; empty if the definition has them all."""
        omissions = await self._current() if lost else frozenset()
        dropped = [field for field in lost if field.field in omissions]
        if dropped:
            self._texts[key] = _describe(dropped)
        else:
            self._texts.pop(key, None)
        return self.text(key)

    def text(self, key: str) -> str:
        """Return the last report about a Canary."""
        return self._texts.get(key, "")

    def drop(self, key: str) -> None:
        """Forget a Canary that is gone."""
        self._texts.pop(key, None)

    async def _current(self) -> frozenset[str]:
        """Return the omissions of the definition; those of the last one that was readable, if it no longer is."""
        client = self._cluster.client
        if self._clock() >= self._read_until:
            self._read_until = self._clock() + DEFINITION_LIFETIME
            try:
                self._omissions = find_omissions(await client.get(CUSTOM_RESOURCE_DEFINITION, "", DEFINITION))
            except WorldError as error:
                _log.info("the definition of Canaries is unknown: %s", error)
        return self._omissions


def make_dropped_condition(text: str) -> Json:
    """Return the condition of a Canary that has lost fields."""
    return {"type": DROPPED, "status": "True", "reason": "UnknownFields", "message": text}


def _describe(dropped: list[DroppedField]) -> str:
    paths = enumerate_some(field.path for field in dropped)
    text = f"This cluster's definition of Canaries drops {paths}: the default applies. {suggest_for_dropped(dropped)}"
    return escape_controls(text, LONGEST_REPORT)
