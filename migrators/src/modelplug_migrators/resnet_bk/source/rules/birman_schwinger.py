"""`BirmanSchwingerCore.forward()` is given `z`: `core(v)` becomes `core(v, z=1.0j)`.

`enable_gradient_checkpointing`, and `use_bitnet` where it is off, go from where a core is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug_migrators.resnet_bk.source.arguments import Parameters, fit, misfit
from modelplug_migrators.resnet_bk.source.uses import Use, argument, settle

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"BirmanSchwingerCore"})

_OLD = (
    "n_seq", "epsilon", "use_mourre", "use_lap", "schatten_threshold", "precision_upgrade_threshold",
    "use_semiseparable", "semiseparable_rank", "enable_gradient_checkpointing", "use_bitnet",
)  # fmt: skip
_MAKING = Parameters(_OLD, kept=_OLD[:8], dropped={"enable_gradient_checkpointing"})
_GONE = frozenset(
    {
        "compute_optimal_batch_size", "condition_number_history", "estimate_memory_usage",
        "get_memory_profile", "get_statistics", "precision_upgrades", "schatten_s1_history", "semiseparable",
        "verify_schatten_bounds",
    }
)  # fmt: skip


def apply(subject: Subject) -> None:
    """Change every core, and every call of one."""
    program = subject.program
    cores, uses = settle(
        subject,
        subject.calls_of("BirmanSchwingerCore"),
        _obstacle,
        lambda call: misfit(call, _MAKING),
    )
    for call in cores:
        fit(program, call, _MAKING)
    for use in uses:
        if use.member == "forward" and use.call is not None and argument(use.call, "z", 1) is None:
            program.edits.append(program.span(use.call.args[-1])[1], ", z=1.0j")


def _obstacle(use: Use) -> str:
    if use.member in _GONE:
        return f"BirmanSchwingerCore of resnet_bk has no {use.member}"
    if use.member == "forward" and use.call is not None:
        if not use.call.args or any(each.star for each in use.call.args):
            return "whether z is given can't be seen"
        if argument(use.call, "gamma", 2) is not None:
            return "BirmanSchwingerCore of resnet_bk takes no gamma"
    return ""
