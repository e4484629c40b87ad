"""A lab's page: its sections, their commands, and the events that it shows."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "labs"

_SECTION = re.compile(r"^## ", re.MULTILINE)
_COMMANDS = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_EVENTS = re.compile(r"^<!-- events: ([\w-]+) -->\n```text\n(.*?)^```", re.MULTILINE | re.DOTALL)


@frozen
class Section:
    """A section with commands."""

    title: str
    commands: tuple[str, ...]
    """The text of each shell block."""
    namespace: str = ""
    """The namespace of the Canary with these events."""
    events: tuple[str, ...] = ()


def read(name: str) -> list[Section]:
    """Return the sections of a page that have commands, in the page's order."""
    sections = [_section(text) for text in _SECTION.split((FOLDER / name).read_text())[1:]]
    return [section for section in sections if section.commands]


def _section(text: str) -> Section:
    shown = _EVENTS.findall(text)
    assert len(shown) <= 1, f"a section shows the events of one rollout: {text}"
    namespace, events = shown[0] if shown else ("", "")
    return Section(
        title=text.partition("\n")[0],
        commands=tuple(_COMMANDS.findall(text)),
        namespace=namespace,
        events=tuple(events.splitlines()),
    )
