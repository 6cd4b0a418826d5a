"""Writes the import statements that an import plan asks for, and keeps the layout of those there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import libcst as cst

from modelplug_migrators.resnet_bk.source.edits import removals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modelplug_migrators.resnet_bk.source.program import Program

__all__ = ["ImportChange", "Name", "newline_of", "write"]

_HEAD = "from resnet_bk import "


@attrs.frozen(order=True)
class Name:
    """A name of `resnet_bk` as a program imports it.

    Attributes:
        name: What it is called there.
        local: What it is called in the program.
    """

    name: str
    local: str

    def __str__(self) -> str:
        return self.name if self.name == self.local else f"{self.name} as {self.local}"


@attrs.define(eq=False)
class ImportChange:
    """What becomes of one import statement.

    Attributes:
        statement: The statement; or another one, before which names are imported.
        gone: The parts that go.
        slots: What stands in the place of a part that goes.
        added: Names that are imported besides.
        lines: Further imports, which come before it.
    """

    statement: cst.CSTNode
    gone: list[cst.ImportAlias] = attrs.field(factory=list)
    slots: dict[cst.ImportAlias, Name] = attrs.field(factory=dict)
    added: list[Name] = attrs.field(factory=list)
    lines: list[str] = attrs.field(factory=list)

    @property
    def names(self) -> list[Name]:
        """Everything that is imported from `resnet_bk`, sorted."""
        return sorted({*self.slots.values(), *self.added})


def newline_of(text: str) -> str:
    """How the lines of a text end."""
    return "\r\n" if "\r\n" in text else "\n"


def write(program: Program, changes: Iterable[ImportChange]) -> None:
    """Note the changes to import statements.

    Args:
        program: The program.
        changes: What becomes of each.
    """
    # Blocks of a Markdown file are read one by one: each that had an import keeps one.
    seen: set[tuple[cst.CSTNode | None, int, Name]] = set()
    last: _Writer | None = None
    for change in sorted(changes, key=lambda each: program.span(each.statement)):
        block = program.parent(program.line_of(change.statement))
        piece = program.piece(program.span(change.statement)[0])
        change.added = [name for name in change.added if (block, piece, name) not in seen]
        seen.update((block, piece, name) for name in change.names)
        writer = _Writer(program, change)
        if last is not None and writer.joins(last):
            last.change.added += change.names
            change.slots.clear()
            change.added.clear()
            last.end = program.span(change.statement)[1]
            continue
        if last is not None:
            last.write()
        last = writer
    if last is not None:
        last.write()


class _Writer:
    def __init__(self, program: Program, change: ImportChange) -> None:
        self.program = program
        self.change = change
        self.statement = change.statement
        self.start, self.end = program.span(change.statement)

    def joins(self, before: _Writer) -> bool:
        """Whether it can become part of the statement before: both go, and nothing lies between."""
        return (
            self.goes()
            and before.goes()
            and not self.change.lines
            and not self.program.text[before.end : self.start].strip(" \t\r\n")
            and self.program.text.count("\n", before.end, self.start) == 1
        )

    def goes(self) -> bool:
        """Whether the whole statement goes, and stands on a line of its own."""
        line = self.program.line_of(self.statement)
        return (
            isinstance(self.statement, cst.ImportFrom)
            and not isinstance(self.statement.names, cst.ImportStar)
            and all(alias in self.change.gone for alias in self.statement.names)
            and self.is_plain(self.statement)
            and isinstance(line, cst.SimpleStatementLine)
            and len(line.body) == 1
        )

    def write(self) -> None:
        for line in self.change.lines:
            self.line_before(line)
        names = self.change.names
        if not isinstance(self.statement, (cst.Import, cst.ImportFrom)):
            if names:
                self.line_before(_HEAD + ", ".join(map(str, names)))
            return
        aliases = self.statement.names
        if isinstance(aliases, cst.ImportStar) or any(alias not in self.change.gone for alias in aliases):
            self.take_out(aliases, names)
        elif isinstance(self.statement, cst.Import) or self.is_plain(self.statement):
            self.rewrite(names)
        else:
            self.rewrite_in_place(self.statement, aliases)

    def is_plain(self, statement: cst.ImportFrom) -> bool:
        """Whether it stands on one line."""
        return "\n" not in self.program.code(statement)

    def rewrite(self, names: Sequence[Name]) -> None:
        start, end = self.start, self.end
        if names:
            text = ", ".join(map(str, names))
            bracketed = isinstance(self.statement, cst.ImportFrom) and self.statement.lpar
            self.program.edits.replace(start, end, _HEAD + (f"({text})" if bracketed else text))
        elif self.is_alone():
            line, after = self.program.whole_lines(start, end)
            self.program.edits.delete(line, after)
        else:
            self.program.edits.replace(start, end, "pass")

    def is_alone(self) -> bool:
        """Whether it has a line of its own, and the block has other statements."""
        line = self.program.line_of(self.statement)
        block = self.program.parent(line)
        if not isinstance(line, cst.SimpleStatementLine) or len(line.body) != 1:
            return False
        if self.program.comment_behind(self.program.span(line)[1]):
            return False
        inner = isinstance(block, cst.IndentedBlock) and len(block.body) > 1
        return inner or isinstance(block, cst.Module)

    def rewrite_in_place(self, statement: cst.ImportFrom, aliases: Sequence[cst.ImportAlias]) -> None:
        """Change the module and the names, and leave parentheses, lines and comments."""
        program, slots = self.program, dict(self.change.slots)
        added = [name for name in self.change.names if name not in slots.values()]
        if not slots and not added:
            self.rewrite([])
            return
        start, _ = program.span(statement)
        spans = [program.span(alias) for alias in aliases]
        module_end = program.text.rindex("import", start, spans[0][0])
        program.edits.replace(start, module_end, _HEAD.removesuffix("import "))
        last = max((i for i, alias in enumerate(aliases) if alias in slots), default=0)
        kept = [alias for alias in aliases if alias in slots] or [aliases[0]]
        for index, alias in enumerate(aliases):
            own = slots.get(alias)
            if alias not in kept:
                continue
            texts = ([str(own)] if own else []) + ([str(each) for each in added] if index == last else [])
            text = self.joined(texts, spans[index][0])
            if text != program.code(alias):
                program.edits.replace(*spans[index], text)
        gone = [i for i, alias in enumerate(aliases) if alias not in kept]
        program.edits.extend(removals(program.text, spans, gone))

    def joined(self, texts: Sequence[str], at: int) -> str:
        """Names one after the other; each on its own line where the first one is."""
        text = self.program.text
        lead = text[text.rfind("\n", 0, at) + 1 : at]
        return (", " if lead.strip() else f",{newline_of(text)}{lead}").join(texts)

    def take_out(self, aliases: Sequence[cst.ImportAlias] | cst.ImportStar, names: Sequence[Name]) -> None:
        """Take some names out of a statement that stays, and import them in one behind it."""
        program = self.program
        if not isinstance(aliases, cst.ImportStar):
            spans = [program.span(alias) for alias in aliases]
            gone = [index for index, alias in enumerate(aliases) if alias in self.change.gone]
            program.edits.extend(removals(program.text, spans, gone))
        if names:
            self.line_behind(_HEAD + ", ".join(map(str, names)))

    def line_before(self, text: str) -> None:
        line = self.program.line_of(self.statement)
        start, _ = self.program.span(line)
        if isinstance(line, cst.SimpleStatementSuite):
            self.program.edits.insert(start, f"{text}; ")
        else:
            first = self.program.text.rfind("\n", 0, start) + 1
            indent = self.program.text[first:start]
            self.program.edits.insert(first, f"{indent}{text}{newline_of(self.program.text)}")

    def line_behind(self, text: str) -> None:
        line = self.program.line_of(self.statement)
        start, end = self.program.span(line)
        if isinstance(line, cst.SimpleStatementSuite):
            self.program.edits.insert(self.program.span(self.statement)[1], f"; {text}")
            return
        source = self.program.text
        first = source.rfind("\n", 0, start) + 1
        found = source.find("\n", end)
        stop = len(source) if found < 0 else found - (source[found - 1] == "\r")
        self.program.edits.insert(stop, f"{newline_of(source)}{source[first:start]}{text}")
