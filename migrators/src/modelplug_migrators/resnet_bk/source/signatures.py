"""Which settings the positional arguments of a model are: their order differed from version to version.

The first seven were the same ones always. What came after them is told by what the arguments are (a switch,
a whole number, a number), what they are called, and which other settings the program gives by name: a
program is written for one version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source import settings
from modelplug_migrators.resnet_bk.source.shapes import constant_key, is_constant

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from modelplug_migrators.resnet_bk.source.program import Program

__all__ = ["CONFIGURATION", "SIGNATURES", "bind"]

_FIRST = settings.POSITIONAL
_ROUTER = ("use_scattering_router", "scattering_scale")
_BUMPS = ("prime_bump_init", "prime_bump_scale")
_OPERATOR = (
    *_FIRST, *_ROUTER, "scattering_scale_warmup_steps", *_BUMPS, "use_birman_schwinger", "epsilon",
    "use_mourre", "use_lap", "schatten_threshold", "precision_upgrade_threshold", "k_max", "use_bitnet",
    "use_symplectic", "symplectic_dt",
)  # fmt: skip

SIGNATURES = (
    (*_FIRST, *_BUMPS),
    (*_FIRST, *_ROUTER, *_BUMPS),
    (*_OPERATOR, "use_gradient_checkpointing"),
    (
        *_OPERATOR, "symplectic_mode", "use_gradient_checkpointing", "use_hybrid_attention",
        "hyperbolic_window_size", "num_heads", "use_fused_moe_kernel",
    ),
)  # fmt: skip
"""The orders of the settings of `LanguageModel`, oldest first; a version in between had the first of one."""

CONFIGURATION = (
    "vocab_size", "d_model", "n_layers", "n_seq", "epsilon", "use_prime_bump", "prime_bump_scale", "k_max",
    "use_scattering_router", "num_experts", "top_k", "use_clark_measure", "use_mourre", "use_lap",
    "schatten_threshold", "precision_upgrade_threshold", "use_semiseparable", "low_rank", "use_cpu_offload",
    "use_act", "act_halt_threshold", "learning_rate", "batch_size", "gradient_checkpointing",
    "mixed_precision", "epsilon_schedule", "clark_measure_weight",
)  # fmt: skip
"""The order of the settings of a `MambaKillerConfig` before 1.0."""

_WHOLE = frozenset(
    {
        "d_model", "hyperbolic_window_size", "k_max", "n_layers", "n_seq", "num_experts", "num_heads",
        "scattering_scale_warmup_steps", "top_k", "vocab_size",
    }
)  # fmt: skip
_NUMBERS = frozenset(
    {
        "dropout_p", "epsilon", "precision_upgrade_threshold", "prime_bump_scale", "scattering_scale",
        "schatten_threshold", "symplectic_dt",
    }
)  # fmt: skip


def bind(
    program: Program,
    call: cst.Call,
    orders: Sequence[Sequence[str]] = SIGNATURES,
    *,
    alike: Collection[cst.Call] = (),
) -> tuple[Sequence[str], str]:
    """The order of a call's positional arguments, or why it can't be told.

    Args:
        program: The program.
        call: The call.
        orders: The orders there were.
        alike: Further calls of the same thing in the program.
    """
    plain = [argument.value for argument in call.args if not argument.keyword and not argument.star]
    if not plain:
        return (), ""
    count = len(plain)
    first = next((order[:count] for order in orders if len(order) >= count), None)
    if first is None:
        return (), f"no version took {count} settings without names"
    if all(order[:count] == first for order in orders if len(order) >= count):
        return first, ""
    known = {name for order in orders for name in order}
    named = _keywords(alike) & known
    own = _keywords([call])
    fitting = list(
        dict.fromkeys(
            tuple(order[:count])
            for order in orders
            if len(order) >= count
            and named <= set(order)
            and own.isdisjoint(order[:count])
            and all(_may_be(program, value, name, known) for value, name in zip(plain, order, strict=False))
        )
    )
    if len(fitting) == 1:
        return fitting[0], ""
    if not fitting:
        return (), f"no version took its {count} settings without names in this order"
    place = next(index for index in range(count) if len({order[index] for order in fitting}) > 1)
    names = " or ".join(dict.fromkeys(order[place] for order in fitting))
    return (), (
        f"setting {place + 1} without a name is {names}, which differed from version to version: give the "
        f"settings after the first {place} by name"
    )


def _keywords(calls: Collection[cst.Call]) -> set[str]:
    return {argument.keyword.value for call in calls for argument in call.args if argument.keyword}


def _may_be(program: Program, value: cst.BaseExpression, name: str, known: Collection[str]) -> bool:
    """Whether a value may be meant for a setting, by what it is called and what it is."""
    called = _called(value)
    if called in known or called in settings.RENAMED.values():
        return settings.RENAMED.get(called, called) == settings.RENAMED.get(name, name)
    if isinstance(value, cst.Name) and not is_constant(value, "True") and not is_constant(value, "False"):
        given = [program.value_of(assignment) for assignment in program.assignments(value)]
        return all(each is None or _fits(each, name) for each in given)
    return _fits(value, name)


def _called(value: cst.BaseExpression) -> str:
    """The last word of a name: of `config.top_k` and `config["top_k"]`, too."""
    if isinstance(value, cst.Attribute):
        return value.attr.value.lower()
    if isinstance(value, cst.Subscript):
        return str(constant_key(value)).lower()
    return value.value.lower() if isinstance(value, cst.Name) else ""


def _fits(value: cst.BaseExpression, name: str) -> bool:
    """Whether a constant is of the kind of a setting; what is no constant may be anything."""
    number = value.expression if isinstance(value, cst.UnaryOperation) else value
    if is_constant(value, "True") or is_constant(value, "False"):
        return name not in _WHOLE | _NUMBERS | {"symplectic_mode"}
    if isinstance(number, cst.Integer):
        return name in _WHOLE | _NUMBERS
    if isinstance(number, cst.Float):
        return name in _NUMBERS
    if isinstance(value, cst.SimpleString):
        return name == "symplectic_mode"
    return True
