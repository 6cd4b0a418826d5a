"""`PrimeBumpPotential` takes its parameters in another order; its values are an attribute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug_migrators.resnet_bk.source.arguments import Parameters, fit, misfit
from modelplug_migrators.resnet_bk.source.uses import MODULE, Use, settle

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"PrimeBumpPotential"})

_MAKING = Parameters(("n_seq", "epsilon", "k_max", "scale"), kept=("n_seq", "scale", "epsilon", "k_max"))
_MEMBERS = MODULE | {"", "compute_potential", "epsilon", "k_max", "n_seq", "scale", "set_epsilon", "values"}


def apply(subject: Subject) -> None:
    """Change every potential, with all its uses or not at all."""
    program = subject.program
    calls, uses = settle(
        subject, subject.calls_of("PrimeBumpPotential"), _obstacle, lambda call: misfit(call, _MAKING)
    )
    for call in calls:
        fit(program, call, _MAKING)
    for use in uses:
        if use.member == "compute_potential" and use.call is not None:
            program.edits.replace(program.span(use.node)[1], program.span(use.call)[1], ".values")


def _obstacle(use: Use) -> str:
    if use.member not in _MEMBERS or (use.member == "compute_potential" and (not use.call or use.call.args)):
        return f"PrimeBumpPotential of resnet_bk has no {use.member}"
    return ""
