"""Counts of modules as a table in text."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["Row", "level_of", "table"]

_HEAD = ("module", "forward", "backward", "share")


@attrs.frozen
class Row:
    """FLOPs of a module.

    Attributes:
        forward: Outside of backward passes.
        backward: In backward passes.
    """

    forward: int = 0
    backward: int = 0

    def plus(self, flops: int, *, is_backward: bool) -> Row:
        """With some more."""
        return Row(self.forward + flops * (not is_backward), self.backward + flops * is_backward)

    def minus(self, other: Row) -> Row:
        """Without those of another."""
        return Row(self.forward - other.forward, self.backward - other.backward)


def level_of(name: str) -> int:
    """How many modules a module is inside of; 0 for the model, whose name is ""."""
    return name.count(".") + 1 if name else 0


def table(title: str, modules: Mapping[str, Row], total: Row) -> str:
    """The table; a module is indented below the one that it is in.

    Args:
        title: What the model is called.
        modules: Its modules by name, a module before those in it; the model is "".
        total: All that was counted.
    """
    lines = [_HEAD]
    for name, row in modules.items():
        lines.append(_line("  " * level_of(name) + (name.rpartition(".")[2] or title), row, total))
    outside = total.minus(modules.get("", Row()))
    if outside != Row():
        lines.append(_line("outside the model", outside, total))
    lines.append(_line("total", total, total))
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )


def _line(name: str, row: Row, total: Row) -> tuple[str, str, str, str]:
    flops, everything = row.forward + row.backward, total.forward + total.backward
    share = f"{flops / everything:.1%}" if everything else "-"
    return name, f"{row.forward:,}", f"{row.backward:,}", share
