"""Settings that a `MambaKillerConfig` takes no longer, or not for long.

`use_hybrid_gradient` becomes `grad_blend`, `manual_seed` a call of `torch.manual_seed()`. The dense mode is
gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug_migrators.resnet_bk.source.items import items_of_call
from modelplug_migrators.resnet_bk.source.rules.manual_seed import move_seed
from modelplug_migrators.resnet_bk.source.translation import translate

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"manual_seed", "use_hybrid_gradient", "use_semiseparable"})

_OURS = frozenset({"manual_seed", "use_hybrid_gradient", "use_semiseparable", "grad_blend"})


def apply(subject: Subject) -> None:
    """Change every configuration that has one of them."""
    program = subject.program
    for call, reference in subject.calls_of("MambaKillerConfig"):
        if any(not each.keyword and not each.star for each in call.args):
            continue
        items = [item for item in items_of_call(call) if item.name in _OURS]
        made = translate(items)
        moved = []
        if made.seed is not None and move_seed(subject, made.seed, call, reference):
            moved = [made.seed]
        attrs.evolve(made, seed=None).write(program, without=moved)
        for warning in made.warnings:
            program.warn(warning, call)
