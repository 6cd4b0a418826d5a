"""The account of every tensor: where it went, how it was changed, or why it is gone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import attrs

from modelplug.migration.account import Fate, KeyFate
from modelplug.migration.checkpoints.source import TensorData

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TensorFate", "counts_of", "key_fate"]


@attrs.frozen(kw_only=True)
class TensorFate:
    """What becomes of one tensor.

    Attributes:
        kind: `moved` (the same bytes), `transformed`, `inlined` (its values stand in a text of the result),
            `dropped`, or `added` (there was no such tensor).
        origin: Its name in the source; empty if it is added.
        target: Its name in the result, or the place in a text; empty if it is dropped.
        why: How it is changed, why it is gone, or what it is for.
        tensor: What is written; None if no tensor is.
    """

    kind: Literal["moved", "transformed", "inlined", "dropped", "added"]
    origin: str = ""
    target: str = ""
    why: str = ""
    tensor: TensorData | None = attrs.field(default=None, repr=False)


def counts_of(fates: Iterable[TensorFate]) -> dict[str, int]:
    """How many tensors had each fate."""
    found = Counter(fate.kind for fate in fates)
    return {kind: found[kind] for kind in ("moved", "transformed", "inlined", "dropped", "added")}


def key_fate(fate: TensorFate) -> KeyFate:
    """A tensor's fate as the account of a plan puts it.

    Args:
        fate: That of a tensor of the source.
    """
    if fate.kind == "dropped":
        return KeyFate(key=fate.origin, fate=Fate.DROPPED, why=fate.why)
    same = fate.kind == "moved" and fate.origin == fate.target
    return KeyFate(key=fate.origin, fate=Fate.KEPT if same else Fate.MAPPED, target=fate.target, why=fate.why)
