"""Settings as a `MambaKillerConfig` takes them: by name, and without those that are deprecated.

`use_hybrid_gradient` becomes `grad_blend`, `manual_seed` a call of `torch.manual_seed()`. The dense mode is
gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug_migrators.resnet_bk.source.items import items_of_call
from modelplug_migrators.resnet_bk.source.rules.manual_seed import move_seed
from modelplug_migrators.resnet_bk.source.signatures import CONFIGURATION, bind
from modelplug_migrators.resnet_bk.source.translation import translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import libcst as cst

    from modelplug_migrators.resnet_bk.source.references import Reference
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"MambaKillerConfig"})

_OURS = frozenset({"manual_seed", "use_hybrid_gradient", "use_semiseparable", "grad_blend"})


def apply(subject: Subject) -> None:
    """Change every configuration."""
    for call, reference in subject.calls_of("MambaKillerConfig"):
        if any(each.star == "*" for each in call.args):
            subject.leave(reference, "which settings the positional arguments are can't be seen")
            continue
        order, obstacle = bind(subject.program, call, [CONFIGURATION])
        if obstacle:
            subject.leave(reference, obstacle)
            continue
        _name(subject, call, order)
        _change(subject, call, reference)


def _name(subject: Subject, call: cst.Call, order: Sequence[str]) -> None:
    plain = [each for each in call.args if not each.keyword and not each.star]
    for name, each in zip(order, plain, strict=True):
        subject.program.edits.insert(subject.program.span(each)[0], f"{name}=")


def _change(subject: Subject, call: cst.Call, reference: Reference) -> None:
    items = [item for item in items_of_call(call, CONFIGURATION) if item.name in _OURS]
    made = translate(items)
    moved = []
    if made.seed is not None and move_seed(subject, made.seed, call, reference):
        moved = [made.seed]
    attrs.evolve(made, seed=None).write(subject.program, without=moved)
    gone = {item.node for item in [*made.removed, *moved]}
    subject.settings[call] = [each for each in call.args if each not in gone]
    for warning in made.warnings:
        subject.program.warn(warning, call)
