"""Records: frozen classes whose objects are made by the dozen in every decision.

`attrs.frozen` keeps its promise while the program runs, and pays for it whenever an object is made: each field is set
in a roundabout way, which takes three times as long as an assignment. A record is frozen for type checkers, and has
equality and a hash by its fields; nothing else stands between it and a slip. It is for what each cycle makes and passes
on: observations, questions, judgements, plans, notices, reasons. What lasts (`Rollout`, `Status`) is frozen for good.

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
