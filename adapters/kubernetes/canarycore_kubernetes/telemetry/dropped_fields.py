"""Fields that an owner applied and the cluster's definition of Canaries dropped.

`kubectl apply` and others keep the text that they applied in an annotation. A field that this text has and the Canary
lacks was dropped, or somebody has removed it since. So the definition decides: the report comes only if it lacks the
field. A server-side apply refuses a field that the definition lacks. A Canary of other writers does not show whether it
has lost a field; then the report names the fields that the definition lacks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from itertools import islice
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.bounds import FINDINGS
from canarycore.errors import WorldError
from canarycore.foreign import get_items, get_mapping, get_text, get_texts, parse_json
from canarycore.manifest import (
    CARRIED_FIELDS,
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
    from collections.abc import Callable, Collection, Iterable

    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_runtime.mesh import Json

DROPPED = "FieldsDropped"
"""Type of the condition of a Canary that has lost fields."""

DEFINITION_LIFETIME = 600.0
"""Seconds after which the controller reads the definition again."""

LONGEST_REPORT = 2048
"""Most characters of a report."""

_log = logging.getLogger("canarycore.kubernetes")


@frozen
class DroppedReport:
    """A report about dropped fields."""

    text: str = ""
    """The report; empty if no field was dropped."""
    is_certain: bool = False
    """Whether the Canary has lost the fields, and does not only perhaps lack them."""

    @property
    def condition(self) -> Json:
        """The condition of the Canary."""
        status = "True" if self.is_certain else "Unknown"
        return {"type": DROPPED, "status": status, "reason": "UnknownFields", "message": self.text}


def find_lost_fields(body: Json, omissions: Collection[str] = FLAGGERS_OMISSIONS) -> tuple[DroppedField, ...] | None:
    """Return the first fields that the owner applied and the Canary lacks, without those that annotations carry.

    None means that the Canary does not show it.
    """
    text = get_text(body, "metadata", "annotations", LAST_APPLIED)
    if not text:
        return () if is_server_side(body) else None
    present = {dropped.path for dropped in find_dropped_fields(body.get("spec"), omissions)}
    annotated = annotated_fields(get_texts(body, "metadata", "annotations"))
    lost = (
        dropped
        for dropped in find_dropped_fields(get_mapping(parse_json(text), "spec"), omissions)
        if dropped.path not in present and dropped.field not in annotated
    )
    return tuple(islice(lost, FINDINGS.most))


def is_server_side(body: Json) -> bool:
    """Return whether a server-side apply wrote the spec."""
    entries = get_items(body, "metadata", "managedFields")
    return any(entry.get("operation") == "Apply" and get_mapping(entry, "fieldsV1", "f:spec") for entry in entries)


class DroppedFields:
    """The reports about the fields that Canaries lost."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._lock = asyncio.Lock()
        self._omissions: frozenset[str] = frozenset()
        self._read_until = float("-inf")
        self._reports: dict[str, DroppedReport] = {}

    async def look(
        self, key: str, lost: tuple[DroppedField, ...] | None, annotations: Iterable[str] = ()
    ) -> DroppedReport:
        """Return the report about a Canary that has lost these fields, and has annotations with these names.

        lost: None if it is unknown.
        """
        omissions = frozenset[str]() if lost == () else await self._current()
        annotated = annotated_fields(annotations)
        fields = _OWN if lost is None else lost
        dropped = [each for each in fields if each.field in omissions and each.field not in annotated]
        if dropped:
            self._reports[key] = DroppedReport(_describe(dropped, is_certain=lost is not None), lost is not None)
        else:
            self._reports.pop(key, None)
        return self.report(key)

    def report(self, key: str) -> DroppedReport:
        """Return the last report about a Canary."""
        return self._reports.get(key, DroppedReport())

    def drop(self, key: str) -> None:
        """Forget a Canary that is gone."""
        self._reports.pop(key, None)

    async def _current(self) -> frozenset[str]:
        """Return the omissions of the definition; those of the last one that was readable, if it no longer is."""
        async with self._lock:
            if self._clock() >= self._read_until:
                try:
                    definition = await self._cluster.client.get(CUSTOM_RESOURCE_DEFINITION, "", DEFINITION)
                    self._omissions = find_omissions(definition)
                except WorldError as error:
                    _log.info("the definition of Canaries is unknown: %s", error)
                self._read_until = self._clock() + DEFINITION_LIFETIME
            return self._omissions


_OWN = tuple(DroppedField(f"spec.{field}", field) for field in CARRIED_FIELDS)


def _describe(dropped: list[DroppedField], *, is_certain: bool) -> str:
    paths = enumerate_some(field.path for field in dropped)
    effect = "the default applies" if is_certain else "if the manifest has one of them, its default applies"
    text = f"This cluster's definition of Canaries drops {paths}: {effect}. {suggest_for_dropped(dropped)}"
    return escape_controls(text, LONGEST_REPORT)
