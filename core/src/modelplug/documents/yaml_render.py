"""Renders an edited YAML tree against its original text: blocks by their lines, the rest as brackets."""

from __future__ import annotations

from modelplug.documents.nodes import LIST, MAPPING, SCALAR, Entry, Node, Place
from modelplug.documents.splices import Splice, blanks_before, line_start
from modelplug.documents.yaml_block_render import YamlBlockRenderer
from modelplug.documents.yaml_blocks import is_compact, line_end, next_line
from modelplug.documents.yaml_reader import BLOCK, EMPTY, FLOW, PAIR, YamlSource
from modelplug.documents.yaml_scalars import scalar_text

__all__ = ["CLOSE", "KEEP", "QUOTE", "YamlRenderer", "is_text"]

KEEP, CLOSE, QUOTE = "keep", "close", "quote"


class YamlRenderer(YamlBlockRenderer):
    """Makes the text of an edited YAML tree.

    Args:
        text: The original text, ending with a line break.
        root: The tree as it is now.
        scalars: Where scalars stand in the text.
        newline: How lines end.
        is_single: Whether no other document follows.
        texts: How to write `|` and `>` texts: `KEEP` as they are, `CLOSE` so that blank lines below them
            don't count, `QUOTE` in quotation marks.
    """

    def __init__(
        self,
        text: str,
        root: Node,
        scalars: list[tuple[int, int]],
        *,
        newline: str,
        is_single: bool,
        texts: str,
    ) -> None:
        super().__init__(text, root, scalars, newline=newline)
        self.is_single = is_single
        self.texts = texts

    def splices(self, node: Node) -> list[Splice]:
        """What has to change in a value."""
        source = node.source
        if not isinstance(source, YamlSource) or node.kind == SCALAR:
            return []
        if source.style == EMPTY:
            return self.first_of_document(node, source)
        if source.style == PAIR:
            return self.pair_splices(node, source)
        is_empty = source.style == FLOW and not self.text[source.content + 1 : source.end - 1].strip()
        if is_empty and node.kind == MAPPING and node.entries and self.in_block(node):
            return self.opened(node, source)
        return super().splices(node)

    def entry_splices(self, place: Place) -> list[Splice]:
        """What has to change inside an entry that stays where it was."""
        entry = place.entry
        source = entry.home.source if entry.home else None
        if self.texts != KEEP and entry.value is entry.original and is_text(entry.value):
            renamed = [splice for splice in super().entry_splices(place) if splice.end <= place.key_end]
            return renamed + self.closed(entry.value)
        if source is None or source.style != BLOCK or entry.value is entry.original:
            return super().entry_splices(place)
        splices = []
        if entry.name != entry.original_name:
            splices.append(Splice(place.key_start, place.key_end, self.key_text(entry.key)))
        assert isinstance(source, YamlSource)
        return splices + self.replaced(place, source)

    def in_block(self, node: Node) -> bool:
        """Whether a value originally stood in a block."""
        home = node.owner.home if node.owner else None
        return home is not None and home.source is not None and home.source.style == BLOCK

    # Values that are replaced -----------------------------------------------------------------------------

    def replaced(self, place: Place, home: YamlSource) -> list[Splice]:
        """What has to change where an entry of a block has another value now."""
        entry = place.entry
        assert entry.original is not None
        old = entry.original.source
        assert isinstance(old, YamlSource)
        in_lines = not self.is_inline(entry.value)
        if old.style == BLOCK:
            return self.replaced_block(entry, old, home, in_lines=in_lines)
        anchor = f"&{old.anchor}" if old.anchor else ""
        header = self.header_comment(old)
        no_colon = entry.parent.kind == MAPPING and old.style == EMPTY and old.hook == place.key_end
        lead = f"{self.newline}{' ' * home.column}:" if no_colon else ""
        if not in_lines:
            text = f"{anchor} {self.inline_text(entry.value, old.style)}".lstrip(" ")
            gap = " " if self.text[old.start - 1] not in " \t" else ""
            return [Splice(old.start, old.end, lead + gap + text + header)]
        behind = self.text[old.end : line_end(self.text, old.end)] + header + anchor
        if entry.parent.kind == LIST and old.style != EMPTY and not behind.strip():
            column = old.start - line_start(self.text, old.start)
            lines = self.behind_dash(self.node_lines(entry.value, column), column)
            return [Splice(old.start, old.end, lines.removesuffix(self.newline))]
        lines = self.node_lines(entry.value, home.column + len(self.unit))
        named = f" {anchor}" if anchor else ""
        start, after = blanks_before(self.text, old.start), next_line(self.text, old.end)
        return [Splice(start, old.end, lead + named + header), Splice(after, after, lines)]

    def replaced_block(
        self, entry: Entry, old: YamlSource, home: YamlSource, *, in_lines: bool
    ) -> list[Splice]:
        """What has to change where another value takes the place of a block."""
        after = next_line(self.text, old.end)
        if is_compact(self.text, old):
            if in_lines:
                lines = self.behind_dash(self.node_lines(entry.value, old.column), old.column)
                return [Splice(old.content, after, lines)]
            return [Splice(old.content, after, self.inline_text(entry.value) + self.newline)]
        has_properties = old.start < old.hook
        anchor = f" &{old.anchor}" if old.anchor else ""
        start = blanks_before(self.text, old.start if has_properties else old.hook)
        begin = next_line(self.text, old.hook)
        lines = self.node_lines(entry.value, home.column + len(self.unit)) if in_lines else ""
        text = anchor if in_lines else f"{anchor} {self.inline_text(entry.value)}"
        return [Splice(start, old.hook, text), Splice(begin, after, lines)]

    def closed(self, node: Node) -> list[Splice]:
        """Writes a text so that what follows it has no say in where it ends."""
        source = node.source
        assert isinstance(source, YamlSource)
        end = line_end(self.text, source.content)
        header, blank, rest = self.text[source.content : end].partition(" ")
        mark = "" if node.scalar.endswith("\n") else "-"
        if self.texts == CLOSE and not node.scalar.endswith("\n\n"):
            return [Splice(source.content, end, header.rstrip("+-") + mark + blank + rest)]
        text = scalar_text(node.scalar, '"') + self.header_comment(source)
        return [Splice(source.content, source.end, text)]

    def header_comment(self, old: YamlSource) -> str:
        """The comment on the first line of a `|` or `>` text."""
        if old.style not in ("|", ">"):
            return ""
        comments = self.comments_between(old.content, line_end(self.text, old.content))
        return f" {comments[0]}" if comments else ""

    def replacement(self, place: Place) -> str:
        """The new value of an entry that stands in brackets."""
        entry = place.entry
        assert entry.original is not None
        old = entry.original.source
        assert isinstance(old, YamlSource)
        text = self.inline_text(entry.value, old.style)
        if old.anchor:
            text = f"&{old.anchor} {text}"
        if old.style == EMPTY and old.start == old.hook:
            return f" {text}" if old.hook > place.key_end else f": {text}"
        return text

    def comma_after(self, place: Place) -> str:
        """The comma to put behind an entry; a colon without a value needs a blank before it."""
        value = place.entry.original.source if place.entry.original else None
        is_bare = value is not None and value.style == EMPTY and place.entry.value is place.entry.original
        return " ," if is_bare and self.text[place.end - 1] == ":" else ","


def is_text(node: Node) -> bool:
    """Whether a value is a `|` or `>` text, whose end depends on what follows it."""
    return isinstance(node.source, YamlSource) and node.source.style in ("|", ">")
