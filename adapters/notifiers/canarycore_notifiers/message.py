"""An alert, independent of a chat's format."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Message:
    """One alert."""

    about: str
    """The rollout, as `name.namespace`."""

    text: str
    """The text of the alert."""

    fields: tuple[tuple[str, str], ...] = ()
    """Additional facts, as (title, value)."""

    links: tuple[tuple[str, str], ...] = ()
    """Links below the fields, as (title, address)."""

    is_error: bool = False
    """Whether the chat shows it as an error."""
