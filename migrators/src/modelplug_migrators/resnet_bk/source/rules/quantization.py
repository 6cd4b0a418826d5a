"""The bits of `MixedPrecisionQuantization` are given by `experts`, `bk_core` and `output`.

What it makes is a model, and so is a `QuantizedBirmanSchwinger`: that is for the rules of models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug_migrators.resnet_bk.source.items import dictionary_at
from modelplug_migrators.resnet_bk.source.uses import argument

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"MixedPrecisionQuantization", "QuantizedBirmanSchwinger"})

_RENAMED = {"moe_experts": "experts", "output_layers": "output"}


def apply(subject: Subject) -> None:
    """Give the parts in every configuration their names."""
    program = subject.program
    subject.models |= dict(subject.calls_of("MixedPrecisionQuantization", "QuantizedBirmanSchwinger"))
    calls = subject.calls_of("MixedPrecisionQuantization")
    users = [call for call, _ in calls]
    done = set()
    for call, _ in calls:
        given = argument(call, "config", 1)
        found = None if given is None else dictionary_at(program, given.value, users)
        if found is None or found.node in done:
            continue
        done.add(found.node)
        old = [item for item in found.items if item.name in _RENAMED]
        if not old:
            continue
        if found.shared or found.read & _RENAMED.keys():
            names = ", ".join(f"{item.name} is {_RENAMED[item.name]}" for item in old)
            program.todo(f"the parts have other names now ({names}), and others look them up", call)
            continue
        for item in old:
            if item.label is not None:
                start, end = program.span(item.label)
                quote = program.text[end - 1] if program.text[end - 1] in "'\"" else ""
                program.edits.replace(start, end, f"{quote}{_RENAMED[item.name]}{quote}")
