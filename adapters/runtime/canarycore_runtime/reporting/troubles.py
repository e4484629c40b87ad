"""The log of troubles: one warning with a traceback for each trouble, and repeats at debug.

    with troubles.watch("router.set_routes"):
        ...                         # an error is logged, and goes on

A trouble is a port of a rollout and a type of error. A trouble that has ended, and comes back for another revision of
the rollout, is logged anew: the process may live for months.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import define, field

from canarycore.errors import Conflict
from canarycore_runtime._calls import AdapterFault, describe

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY_CONFLICTS = 3
"""Conflicts in a row that are a trouble. Fewer are ordinary: another process was first."""

ROLLOUT_LOGGER = "canarycore.runner.rollouts"
"""The logger of the troubles of rollouts. Those of the runner itself are in its parent."""


@define(eq=False)
class TroubleLog:
    """The log of the troubles of one rollout, or of the runner itself."""

    subject: str
    """The key of the rollout, or the name of another subject of the log lines."""

    _log: logging.Logger = field(factory=lambda: logging.getLogger(ROLLOUT_LOGGER))

    _known: set[tuple[str, type[BaseException]]] = field(factory=set, init=False)
    """The logged troubles."""

    _recovered: set[str] = field(factory=set, init=False)
    """The ports that have answered since their last trouble."""

    _revision: str = field(default="", init=False)
    _conflicts: int = field(default=0, init=False)
    """Conflicts since the last commit."""

    @contextmanager
    def watch(self, port: str) -> Iterator[None]:
        """Log an error of the body as a trouble of this port, and raise it again."""
        try:
            yield
        except Exception as error:
            self.report(port, error)
            raise
        if self._known:
            self._recovered.add(port)
        if port == COMMIT:
            self._conflicts = 0

    def report(self, port: str, error: BaseException) -> None:
        """Log an error of a port."""
        trouble = port, type(error.__cause__ or error)
        self._recovered.discard(port)
        is_known = trouble in self._known
        if isinstance(error, Conflict):
            self._conflicts += 1
            is_known = is_known or self._conflicts < MANY_CONFLICTS
        if not is_known:
            self._known.add(trouble)
        level = logging.DEBUG if is_known else logging.WARNING
        self._log.log(level, "%s: %s: %s", self.subject, port, _explain(port, error), exc_info=error)

    def begin_revision(self, revision: str) -> None:
        """Log the troubles that have ended anew, if this is another revision."""
        if revision != self._revision:
            self._revision = revision
            for port in self._recovered:
                self.end(port)
            self._recovered.clear()

    def end(self, port: str) -> None:
        """Log the next trouble of a port anew, as this one has ended."""
        self._known = {trouble for trouble in self._known if trouble[0] != port}


COMMIT = "store.commit"


def _explain(port: str, error: BaseException) -> str:
    text = describe(error).removeprefix(f"{port} ")
    if isinstance(error, AdapterFault) and port.startswith(_HOLDING) and port != "store.keys":
        return f"{text}. The rollout is held until the adapter is mended"
    return text


_HOLDING = ("store.", "workload.", "router.", "metrics.", "hooks.")
"""The ports whose faults hold a rollout."""
