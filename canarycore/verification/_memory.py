"""The memory of a controller process as a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from canarycore.phases import Phase
    from canarycore.questions import Answer, Question

QuestionsAndAnswers = tuple[tuple["Question", "Answer"], ...]
"""Questions, each with its answer."""


@frozen(eq=False)
class ProcessMemory:
    """The memory of a process between two cycles: a frozen copy of `CycleMemory`."""

    answers: QuestionsAndAnswers = ()
    """Questions with their answers."""
    published: frozenset[str] = frozenset()
    """Keys of the notices that this process published."""
    last_goal: tuple[Phase, str] | None = None
    """Phase and revision of the last effects; None once confirmed current, by an observation or a commit."""


EMPTY_MEMORY = ProcessMemory()
"""The memory of a new process."""
