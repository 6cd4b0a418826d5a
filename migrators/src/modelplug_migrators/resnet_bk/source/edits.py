"""Changes to spans of a text: collected in any order, applied together, and nothing else is touched."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Edit", "Edits", "removals"]


@attrs.frozen(order=True)
class Edit:
    """One span and what stands there afterwards.

    Attributes:
        start: Where the span begins.
        end: Where it ends; the same for an insertion.
        text: What stands there afterwards.
        rank: Of several insertions at one place, the one with the lowest rank comes first.
        behind: Whether an insertion belongs to what ends there, and goes with it.
    """

    start: int
    end: int
    text: str = ""
    rank: int = 0
    behind: bool = False


class Edits:
    """Changes to one text.

    Deletions may overlap: what any of them covers is gone. Other changes must not overlap each other; one
    that lies within a deletion goes with it.
    """

    def __init__(self) -> None:
        self._changes: list[Edit] = []
        self._deletions: list[Edit] = []

    def __bool__(self) -> bool:
        return bool(self._changes or self._deletions)

    def replace(self, start: int, end: int, text: str) -> None:
        """Put another text in the place of a span."""
        self._changes.append(Edit(start, end, text))

    def insert(self, at: int, text: str, *, rank: int = 0) -> None:
        """Put a text before the character at an offset; of equal rank, the first one comes first."""
        self._changes.append(Edit(at, at, text, rank))

    def append(self, at: int, text: str) -> None:
        """Put a text behind what ends at an offset; it goes if that goes."""
        self._changes.append(Edit(at, at, text, behind=True))

    def delete(self, start: int, end: int) -> None:
        """Take a span away."""
        self._deletions.append(Edit(start, end))

    def extend(self, edits: Iterable[Edit]) -> None:
        """Take in changes, those without a text as deletions."""
        for edit in edits:
            (self._changes if edit.text else self._deletions).append(edit)

    def merged(self) -> list[Edit]:
        """The changes from first to last, without any overlap.

        Raises:
            ValueError: Two changes contradict each other; a fault of who made them.
        """
        gone: list[Edit] = []
        for edit in sorted(self._deletions):
            if gone and edit.start <= gone[-1].end:
                gone[-1] = Edit(gone[-1].start, max(gone[-1].end, edit.end))
            else:
                gone.append(edit)
        kept = [edit for edit in self._changes if not any(_goes_with(edit, each) for each in gone)]
        # A stable sort: of insertions at one place the first one stays first.
        result = sorted([*gone, *kept], key=lambda edit: (edit.start, edit.end, edit.rank))
        for before, after in itertools.pairwise(result):
            if after.start < before.end:
                msg = f"the changes {before} and {after} overlap"
                raise ValueError(msg)
        return result

    def within(self, start: int, end: int, *, closed: bool) -> Edits:
        """The changes in a part of the text, as changes of that part alone.

        A deletion that goes on beyond the part, to the end of a line for example, ends with it.

        Args:
            start: Where the part begins.
            end: Where it ends.
            closed: Whether what is inserted at its end belongs to it, and not to the next part.
        """
        part = Edits()
        for edit in self.merged():
            first, last = edit.start, edit.end
            if not edit.text:
                first, last = max(first, start), min(last, end)
                if first >= last:
                    continue
            if start <= first and last <= end and (first < end or closed):
                part.extend([attrs.evolve(edit, start=first - start, end=last - start)])
        return part

    def apply(self, text: str) -> str:
        """The text with every change made."""
        parts, at = [], 0
        for edit in self.merged():
            parts += [text[at : edit.start], edit.text]
            at = edit.end
        return "".join([*parts, text[at:]])


def _goes_with(edit: Edit, gone: Edit) -> bool:
    """Whether a change is of something that goes."""
    within = gone.start < edit.end and edit.start < gone.end
    return within or (edit.behind and gone.start < edit.start == gone.end)


def removals(text: str, spans: Sequence[tuple[int, int]], gone: Iterable[int]) -> list[Edit]:
    """Deletions that take items out of a list with commas between them: arguments, keys, imported names.

    An item on a line of its own takes the line with it, and leaves its comment there. A trailing comma stays
    a trailing comma.

    Args:
        text: The text.
        spans: Where each item of the list begins and ends, without its comma.
        gone: The positions of the items that go.
    """
    which = set(gone)
    edits: list[Edit] = []
    for index in sorted(which):
        edit = _removal(text, spans, index, which)
        start, end = spans[index]
        if "#" in text[edit.start : start] + text[end : edit.end]:
            # Comments stay: only the item and its comma go.
            comma = _comma_after(text, end)
            edits += [Edit(start, end)] + ([] if comma is None else [Edit(comma, comma + 1)])
        else:
            edits.append(edit)
    return edits


def _removal(text: str, spans: Sequence[tuple[int, int]], index: int, which: set[int]) -> Edit:
    start, end = spans[index]
    comma = _comma_after(text, end)
    after = end if comma is None else comma + 1
    line = text.rfind("\n", 0, start) + 1
    line_end = _end_of_line(text, after)
    behind = text[after:line_end]
    if not text[line:start].strip() and not behind.strip():
        return Edit(line, _next_line(text, line_end))
    if not text[line:start].strip() and behind.lstrip().startswith("#"):
        return Edit(start, after + len(behind) - len(behind.lstrip()))
    between = text[after : spans[index + 1][0]] if index + 1 < len(spans) else "\n"
    if "\n" not in between or "\\" in between:
        return Edit(start, spans[index + 1][0])
    kept = [earlier for earlier in range(index) if earlier not in which]
    if kept:
        return Edit(spans[kept[-1]][1], end)
    return Edit(start, after)


def _comma_after(text: str, at: int) -> int | None:
    """Where the comma of an item that ends here is; None if it has none. Comments may stand before it."""
    while at < len(text):
        if text[at] == ",":
            return at
        if text[at] == "#":
            at = _end_of_line(text, at)
        elif not (text[at].isspace() or text[at] == "\\"):
            return None
        else:
            at += 1
    return None


def _end_of_line(text: str, at: int) -> int:
    found = text.find("\n", at)
    end = len(text) if found < 0 else found
    return end - 1 if end > at and text[end - 1] == "\r" else end


def _next_line(text: str, at: int) -> int:
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1
