"""Imports come from `resnet_bk`; those that stay are told, with what there is in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst
from libcst.helpers import get_full_name_for_node

from modelplug_migrators.resnet_bk.source.subject import KEPT
from modelplug_migrators.resnet_bk.source.vocabulary import AREAS, is_old_module, resolve

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"import"})


def apply(subject: Subject) -> None:
    """Write down the changes to imports, when all other rules have looked."""
    subject.imports.finish()
    for node in subject.program.every(cst.ImportFrom):
        _look(subject, node)


def _look(subject: Subject, statement: cst.ImportFrom) -> None:
    module = subject.references.module_of(statement)
    known = module.lstrip(".").split(".")
    if isinstance(statement.names, cst.ImportStar):
        if resolve(f"{module}.LanguageModel") or resolve(f"{module}.ResNetBK"):
            message = f"which names come from {module} can't be seen: name them in place of *"
            subject.program.todo(message, statement)
        return
    missing, advice, is_old = [], [], False
    for alias in statement.names:
        name = get_full_name_for_node(alias.name) or ""
        found = resolve(f"{module}.{name}")
        below = known[0] == "src" and len(known) > 1 and known[1] in AREAS
        is_old |= found is not None and not found[0].is_ours
        if found is None and (not below or is_old_module(f"{module}.{name}")):
            continue
        if found is None or (not found[0].counterpart and not _is_replaced(subject, alias)):
            missing.append(name)
            advice += [found[0].advice] if found and found[0].advice else []
    if is_old and subject.program.is_kept(statement):
        subject.program.todo(KEPT, statement)
    elif missing:
        there = "; ".join(dict.fromkeys(advice))
        subject.program.todo(
            f"resnet_bk has no {', '.join(missing)}, so this import stays" + (f": {there}" if there else ""),
            statement,
        )


def _is_replaced(subject: Subject, alias: cst.ImportAlias) -> bool:
    """Whether the import goes, as all its uses found something else."""
    return any(
        binding.alias is alias and not subject.imports.stays(binding)
        for binding in subject.references.bindings
    )
