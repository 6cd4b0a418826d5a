"""Texts that hold programs, or name modules to load, are told: what they are for can't be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug_migrators.resnet_bk.source.parsing import nodes_of
from modelplug_migrators.resnet_bk.source.texts import texts_that_import

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"src."})


def apply(subject: Subject) -> None:
    """Tell of all texts at once: of programs that are put together line by line there are many."""
    program = subject.program
    lines = list(dict.fromkeys(text.lineno for text in texts_that_import(nodes_of(program.python))))
    if not lines:
        return
    others = ", ".join(str(program.file_line(line)) for line in lines[1:])
    also = f", and so do those on lines {others}" if others else ""
    program.todo_at(f"this text names a module of the older package, and stays as it is{also}", lines[0])
