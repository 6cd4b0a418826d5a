"""Carries the state of an optimizer from the parameters of an old model to those of 1.0, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from modelplug_migrators.resnet_bk.checkpoints.content import refs_in
from modelplug_migrators.resnet_bk.checkpoints.reading.plain import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["CarriedState", "carry_optimizer", "is_optimizer"]

_NAMES = "param_names"


@attrs.define(kw_only=True)
class CarriedState:
    """The state of an optimizer for another order of parameters.

    Attributes:
        state: The state; None if it can't be carried.
        dropped: Name of a tensor in the source -> why it is gone.
        why: Why it can't be carried; empty if it is.
    """

    state: dict[str, Any] | None = None
    dropped: dict[str, str] = attrs.field(factory=dict)
    why: str = ""


def is_optimizer(state: Any) -> bool:
    """Whether a state is that of an optimizer of torch's."""
    return (
        isinstance(state, dict)
        and isinstance(state.get("state"), dict)
        and isinstance(state.get("param_groups"), list)
        and all(
            isinstance(group, dict) and isinstance(group.get("params"), list)
            for group in state["param_groups"]
        )
    )


def carry_optimizer(
    state: Mapping[str, Any],
    before: Mapping[str, tuple[int, ...]],
    renamed: Mapping[str, str],
    after: Sequence[str],
    losses: Mapping[str, str],
) -> CarriedState:
    """Give what an optimizer knows of each parameter to the parameter that it is now.

    Args:
        state: The state, in the order of the old parameters.
        before: Old parameter -> its shape, in their order.
        renamed: Old parameter -> the new one that has its values.
        after: The new parameters, in their order.
        losses: New parameter -> why nothing of the old one's state fits it.

    Returns:
        The state in the order of the new parameters; those that are new have none yet.
    """
    order = _order_of(state, before)
    if isinstance(order, str):
        return CarriedState(why=order)
    made: dict[int, Any] = {}
    carried = CarriedState()
    numbers = {name: number for number, name in enumerate(after)}
    for index, name in order.items():
        known = state["state"].get(index)
        target = renamed.get(name, "")
        if known is None:
            continue
        if target not in numbers:
            carried.dropped.update({ref.key: f"{name} is no parameter any more" for ref in refs_in(known)})
        elif target in losses:
            carried.dropped.update({ref.key: losses[target] for ref in refs_in(known)})
        else:
            made[numbers[target]] = known
    carried.state = {
        **state,
        "state": dict(sorted(made.items())),
        "param_groups": _groups(state["param_groups"], order, renamed, after),
    }
    return carried


def _order_of(state: Mapping[str, Any], before: Mapping[str, tuple[int, ...]]) -> dict[int, str] | str:
    """Which parameter each number in the state means, or why that can't be told."""
    groups = state["param_groups"]
    indices = [index for group in groups for index in group["params"]]
    names = list(before)
    if all(isinstance(group.get(_NAMES), list) for group in groups):
        told = [name for group in groups for name in group[_NAMES]]
        stripped = [next((own for own in names if str(name).endswith(own)), "") for name in told]
        if len(told) != len(indices) or "" in stripped:
            return "its names of parameters are not those of the model"
        order = dict(zip(indices, stripped, strict=True))
    elif len(groups) != 1:
        return f"its {len(groups)} groups do not say which parameters they hold"
    elif len(indices) != len(names):
        return f"it holds {len(indices)} parameters, and the model has {len(names)}"
    else:
        order = dict(zip(indices, names, strict=True))
    for index, name in order.items():
        for ref in refs_in(state["state"].get(index)):
            if ref.tensor.shape not in ((), (1,), before[name]):
                return f"what it holds of parameter {index} has another shape than {name}"
    return order


def _groups(
    groups: Sequence[Mapping[str, Any]],
    order: Mapping[int, str],
    renamed: Mapping[str, str],
    after: Sequence[str],
) -> list[dict[str, Any]]:
    """The groups with the new parameters; those that are new are in the first one."""
    numbers = {name: number for number, name in enumerate(after)}
    placed: list[list[int]] = []
    for group in groups:
        targets = [renamed.get(order[index], "") for index in group["params"]]
        placed.append(sorted(numbers[target] for target in targets if target in numbers))
    fresh = set(numbers.values()) - {number for group in placed for number in group}
    placed[0] = sorted({*placed[0], *fresh})
    return [
        {**group, "params": own, _NAMES: [after[number] for number in own]}
        for group, own in zip(groups, placed, strict=True)
    ]


def renamed_refs(state: Any, names: Mapping[str, str]) -> Any:
    """A state by name of parameter, such as a moving average of a model, under other names.

    Args:
        state: The state.
        names: Old name -> new name.
    """
    return {names[name]: value for name, value in state.items() if isinstance(value, Ref) and name in names}
