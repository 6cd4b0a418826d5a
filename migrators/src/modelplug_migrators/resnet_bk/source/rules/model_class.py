"""Where a program names the class of a model without making one: type hints, `isinstance`, subclasses.

What only says or asks for the type becomes `ResNetBK`. What makes models elsewhere, a subclass or a class
that is passed on, keeps `LanguageModel`, of `resnet_bk`, which does as before and is deprecated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.references import Reference
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"LanguageModel", "ResNetBK", "resnet_bk"})

_TESTS = ("builtins.isinstance", "builtins.issubclass")


def apply(subject: Subject) -> None:
    """Look at every mention of `LanguageModel` that is no call of it."""
    program = subject.program
    for reference, why in subject.unseen.items():
        if any(subject.imports.stays(binding) for binding in reference.bindings):
            told = f"LanguageModel was left as it is: {why}"
            program.todo(told, reference.node)
        else:
            program.todo(
                f"{why}: LanguageModel of resnet_bk takes older names too, and is deprecated; with today's "
                "names, write ResNetBK(MambaKillerConfig(...))",
                reference.node,
            )
    for reference in subject.references.of("LanguageModel"):
        parent = program.parent(reference.node)
        called = isinstance(parent, cst.Call) and parent.func is reference.node
        stays = any(subject.imports.stays(binding) for binding in reference.bindings)
        if called or stays or program.is_kept(reference.node):
            continue
        if isinstance(reference.node, cst.SimpleString):
            # A type hint in quotes; the name may be a part of it.
            start, end = program.span(reference.node)
            at = program.text.find("LanguageModel", start, end)
            if at >= 0:
                subject.imports.replace_part(reference, "ResNetBK", at, at + len("LanguageModel"))
        elif _is_type(subject, reference):
            subject.imports.replace(reference, "ResNetBK")
        else:
            what = "a subclass" if _is_base(subject, reference) else "passing the class on"
            program.todo(
                f"{what} keeps LanguageModel, of resnet_bk: it takes the older settings, gives a tensor of "
                "logits, and is deprecated; ResNetBK takes a MambaKillerConfig",
                reference.node,
            )


def _is_type(subject: Subject, reference: Reference) -> bool:
    """Whether a mention is part of a type hint, or of a test of a type."""
    for outer in subject.program.around(reference.node):
        if isinstance(outer, cst.Annotation):
            return True
        if isinstance(outer, cst.Call):
            return subject.program.is_called(outer, *_TESTS)
        if isinstance(outer, (cst.BaseSmallStatement, cst.BaseCompoundStatement)):
            return False
    return False


def _is_base(subject: Subject, reference: Reference) -> bool:
    parent = subject.program.parent(reference.node)
    return isinstance(parent, cst.Arg) and isinstance(subject.program.parent(parent), cst.ClassDef)
