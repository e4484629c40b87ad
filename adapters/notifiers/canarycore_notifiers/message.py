"""What an alert says, before it takes the shape of a chat's format."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Message:
    """One alert.

    about: whose it is, as `name.namespace`. fields: what is told beside the text, as (title, value). error: whether
    it is shown as one.
    """

    about: str
    text: str
    fields: tuple[tuple[str, str], ...] = ()
    error: bool = False
