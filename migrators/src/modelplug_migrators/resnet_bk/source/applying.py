"""Applies rules to one file: reads the program in it, lets the rules look, and puts the result back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from modelplug.migration.account import Severity
from modelplug_migrators.resnet_bk.source.deadline import SECONDS, Deadline, TooSlow
from modelplug_migrators.resnet_bk.source.files import open_file
from modelplug_migrators.resnet_bk.source.parsing import Unreadable, parse
from modelplug_migrators.resnet_bk.source.program import Program, Told
from modelplug_migrators.resnet_bk.source.subject import Subject, subject_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug.migration.sources import SourceEditor
    from modelplug.migration.steps import StepContext

__all__ = ["Rule", "apply_rules"]


class Rule(Protocol):
    """One change to programs: a module."""

    MARKERS: frozenset[str]
    """Words without any of which a program has nothing for this rule."""

    def apply(self, subject: Subject) -> None:
        """Note the changes to a program, and what to tell about it."""


def apply_rules(
    artifact: SourceEditor, context: StepContext, rules: Sequence[Rule], *, seconds: float = SECONDS
) -> None:
    """Change one file. One that can't be read, or takes too long, is told and stays as it is.

    Args:
        artifact: The file.
        context: Where it is.
        rules: What to do, in this order.
        seconds: How long it may take.
    """
    wanted = [rule for rule in rules if any(marker in artifact.text for marker in rule.MARKERS)]
    if not wanted:
        return
    try:
        _apply(artifact, context, wanted, Deadline(seconds))
    except Unreadable as error:
        _tell(artifact, Told(Severity.TODO, f"this can't be read, and stays as it is: {error}", error.line))
    except RecursionError:
        _tell(artifact, Told(Severity.TODO, "this stays as it is: it is nested too deeply", None))
    except TooSlow as error:
        _tell(artifact, Told(Severity.TODO, f"this stays as it is: {error}", None))


def _apply(artifact: SourceEditor, context: StepContext, rules: Sequence[Rule], deadline: Deadline) -> None:
    file = open_file(context.path, artifact.text)
    program = Program(file.code, kept=file.kept, pieces=file.pieces, line_of=file.line_of, deadline=deadline)
    subject = subject_of(program)
    for rule in rules:
        rule.apply(subject)
        deadline.check()
    for line, reason in file.unread:
        _tell(artifact, Told(Severity.TODO, reason, line))
    for told in sorted(program.told, key=lambda each: each.line or 0):
        _tell(artifact, told)
    if program.edits:
        _verify(program.edits.apply(file.code))
        artifact.text = file.put_back(program.edits)


def _tell(artifact: SourceEditor, told: Told) -> None:
    """Pass on what was told, unless an earlier step told it already."""
    if any((each.message, each.line) == (told.message, told.line) for each in artifact.findings):
        return
    tell = {Severity.TODO: artifact.todo, Severity.WARNING: artifact.warn}
    tell.get(told.severity, artifact.note)(told.message, told.line)


def _verify(after: str) -> None:
    """Make sure that a changed program is one.

    Raises:
        RuntimeError: It is not; a fault of a rule.
    """
    try:
        parse(after)
    except Unreadable as error:
        msg = f"the changed program can't be read: line {error.line}: {error}"
        raise RuntimeError(msg) from error
