"""A file whose program stands in one part or in several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug_migrators.resnet_bk.source.vocabulary import mentions_old_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modelplug_migrators.resnet_bk.source.edits import Edits

__all__ = ["Part", "PartedFile"]


@attrs.frozen(eq=False)
class Part:
    """A part of a file with Python in it.

    Attributes:
        start: Where it begins in the file.
        end: Where it ends there.
        text: The Python, without what surrounds it in the file.
        kept: Whether it must stay as it is.
    """

    start: int
    end: int
    text: str
    kept: bool = False


class PartedFile:
    """A file and the program in it: its parts, one after the other.

    Args:
        text: The whole file.
        parts: The parts.
        unread: Parts that are no Python, with what they are.

    Attributes:
        code: The program.
        pieces: Where each part begins in it.
        kept: The spans in it that must stay as they are.
        unread: Line and reason of each part that can't be read and may matter.
    """

    def __init__(self, text: str, parts: Sequence[Part], unread: Iterable[tuple[Part, str]] = ()) -> None:
        self.text = text
        self.parts = parts
        self.pieces: list[int] = []
        self.kept: list[tuple[int, int]] = []
        texts, at = [], 0
        for part in parts:
            body = part.text if len(parts) == 1 or part.text.endswith("\n") else part.text + "\n"
            self.pieces.append(at)
            if part.kept:
                self.kept.append((at, at + len(body)))
            texts.append(body)
            at += len(body)
        self.code = "".join(texts)
        self.unread = [
            (self.line_in(part, 0), reason) for part, reason in unread if mentions_old_name(part.text)
        ]

    def line_of(self, offset: int) -> int:
        """The line of the file, from 1, that a place in the program stands on."""
        index = max(i for i, piece in enumerate(self.pieces) if piece <= offset)
        return self.line_in(self.parts[index], offset - self.pieces[index])

    def line_in(self, part: Part, offset: int) -> int:
        """The line of the file that a place in a part stands on."""
        return self.text.count("\n", 0, part.start) + part.text.count("\n", 0, offset) + 1

    def put_back(self, edits: Edits) -> str:
        """The file with a changed program."""
        whole: list[str] = []
        at = 0
        for part, piece in zip(self.parts, self.pieces, strict=True):
            end = piece + len(part.text)
            closed = not part.text.endswith("\n") or end == len(self.code)
            changed = edits.within(piece, end, closed=closed).apply(part.text)
            if not part.text.endswith("\n"):
                # Its last line is gone, or it ends as before.
                changed = changed.removesuffix("\n").removesuffix("\r")
            if not part.kept and changed != part.text:
                whole += [self.text[at : part.start], self.written(part, changed)]
                at = part.end
        return "".join([*whole, self.text[at:]])

    def written(self, part: Part, changed: str) -> str:  # noqa: ARG002  for subclasses
        """How a changed part stands in the file."""
        return changed
