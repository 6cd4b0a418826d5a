"""What all renderers share: an edited tree beside its original text, and the comments in that text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.documents.delimited import chunks_of
from modelplug.documents.splices import line_start

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelplug.documents.delimited import Chunk, Comments
    from modelplug.documents.nodes import Entry, Node, Source

__all__ = ["Piece", "Renderer"]


@attrs.frozen
class Piece:
    """An entry written for a new place.

    Attributes:
        lead: The comments above it, up to the entry itself.
        core: Key and value.
        tail: The comments behind it on its line, with the blanks before them.
    """

    lead: str
    core: str
    tail: str


class Renderer(ABC):
    """An edited tree beside its original text.

    Args:
        text: The original text.
        root: The tree as it is now.
        comments: How the format writes comments.
        newline: How lines end.
        unit: One step of indentation.

    Attributes:
        colon: What the format writes between a new key and its value.
        alive: The identities of all entries in the tree.
        moved_away: The entries that are in another mapping than originally.
    """

    colon = ": "

    def __init__(self, text: str, root: Node, comments: Comments, *, newline: str, unit: str) -> None:
        self.text = text
        self.comments = comments
        self.newline = newline
        self.unit = unit
        self.alive: set[int] = set()
        self.moved_away: list[Entry] = []
        for entry in root.walk():
            self.alive.add(id(entry))
            if entry.home is not None and entry.home is not entry.parent:
                self.moved_away.append(entry)
        self._chunks: dict[int, list[Chunk]] = {}
        self._comments: list[tuple[int, int]] | None = None

    @abstractmethod
    def key_text(self, key: Any) -> str:
        """A key as the format writes it."""

    @abstractmethod
    def scalar_text(self, value: Any) -> str:
        """A scalar as the format writes it."""

    @abstractmethod
    def find_comments(self) -> Iterable[tuple[int, int]]:
        """Where the comments of the whole text stand, in order."""

    def chunks(self, source: Source) -> list[Chunk]:
        """The entries of a container with what belongs to each."""
        known = self._chunks.get(id(source))
        if known is None:
            known = self._chunks[id(source)] = chunks_of(self.text, source, self.comments)
        return known

    def starts_line(self, offset: int) -> bool:
        """Whether only blanks stand before a character on its line, and a line before that."""
        start = line_start(self.text, offset)
        return start > 1 and not self.text[start:offset].strip(" \t")

    def comments_between(self, start: int, end: int, outside: Iterable[tuple[int, int]] = ()) -> list[str]:
        """The comments in a part of the text, without those that moved away with an entry in it.

        Args:
            start: Where the part begins.
            end: Just past it.
            outside: Parts of that part whose comments don't count.
        """
        if self._comments is None:
            self._comments = list(self.find_comments())
        inside = [span for span in self._comments if start <= span[0] < end]
        if not inside:
            return []
        moved = [span for entry in self.moved_away for span in self.ranges(entry)]
        gone = [span for span in moved if not (span[0] <= start and end <= span[1])] + list(outside)
        return [
            self.text[first:last]
            for first, last in inside
            if not any(away[0] <= first < away[1] for away in gone)
        ]

    def ranges(self, entry: Entry) -> list[tuple[int, int]]:
        """What an entry that moved took along."""
        return [(chunk.first, chunk.stop) for chunk in self.chunks_for(entry)]

    def chunks_for(self, entry: Entry) -> list[Chunk]:
        """Where an entry stood, with what belongs to it; once for each time its name was there."""
        assert entry.home is not None
        assert entry.home.source is not None
        return [chunk for chunk in self.chunks(entry.home.source) if chunk.place.entry is entry]
