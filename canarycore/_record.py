"""Records: frozen classes for the objects that each decision makes by the dozen.

`attrs.frozen` enforces its promise at run time and pays for it whenever it makes an object: it sets each field
indirectly, which takes three times as long as an assignment. A record is frozen for type checkers only, and has
equality and a hash by its fields. Use it for short-lived data: observations, questions, judgements, plans, notices,
explanations. Long-lived data (`Rollout`, `Status`) is frozen at run time.

After Tin Tvrtković, "Zero Overhead Frozen Attrs Classes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attrs import frozen as record
else:
    from functools import partial

    from attrs import define

    record = partial(define, unsafe_hash=True)

__all__ = ["record"]
