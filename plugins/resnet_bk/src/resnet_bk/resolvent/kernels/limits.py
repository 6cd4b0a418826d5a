"""Which values each floating-point type can hold in the recurrences, and the check that inputs keep to it.

Denominators reach s / eta and are squared: the limits keep that inside the type's range. They are far from
anything a model computes; outside them the type is the wrong one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch

from resnet_bk.errors import InvalidInputError
from resnet_bk.resolvent.selection import exporting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Limits", "Requirement", "limits_of", "refusal", "verify"]


@attrs.frozen
class Limits:
    """Bounds on the inputs.

    Attributes:
        site: Largest absolute potential and energy, and largest eta.
        hopping: Largest absolute hopping.
        coupling: Largest coupling, the product of two hoppings; the smallest is 0.
        eta_floor: Smallest eta.
        largest: Largest absolute value of anything else.
    """

    site: float
    hopping: float
    coupling: float
    eta_floor: float
    largest: float


_LIMITS = {
    torch.float32: Limits(2.0**40, 2.0**16, 2.0**32, 2.0**-30, torch.finfo(torch.float32).max),
    torch.float64: Limits(2.0**400, 2.0**150, 2.0**300, 2.0**-200, torch.finfo(torch.float64).max),
}


def limits_of(dtype: torch.dtype) -> Limits:
    """The bounds for float32 or float64."""
    return _LIMITS[dtype]


@attrs.frozen
class Requirement:
    """What the values of one input must lie between.

    Attributes:
        name: The argument's name.
        low: The smallest value allowed.
        high: The largest.
    """

    name: str
    low: float
    high: float

    @classmethod
    def potential(cls, limits: Limits) -> Requirement:
        """Any number the type can square."""
        return cls("potential", -limits.site, limits.site)

    @classmethod
    def energy(cls, limits: Limits) -> Requirement:
        """Like the potential."""
        return cls("energy", -limits.site, limits.site)

    @classmethod
    def eta(cls, limits: Limits) -> Requirement:
        """Positive: the resolvent needs an energy above the real axis."""
        return cls("eta", limits.eta_floor, limits.site)

    @classmethod
    def coupling(cls, limits: Limits) -> Requirement:
        """Not negative: otherwise the bound Im d <= -eta is lost."""
        return cls("coupling", 0.0, limits.coupling)

    @classmethod
    def hopping(cls, limits: Limits) -> Requirement:
        """Any number the type can raise to the fourth power."""
        return cls("hopping", -limits.hopping, limits.hopping)

    @classmethod
    def finite(cls, name: str, limits: Limits) -> Requirement:
        """Any finite number."""
        return cls(name, -limits.largest, limits.largest)

    @classmethod
    def share(cls, limits: Limits) -> Requirement:
        """beta: positive."""
        return cls("beta", torch.finfo(torch.float64).tiny, limits.largest)


def verify(checks: Sequence[tuple[Requirement, Tensor | None]]) -> None:
    """Refuse values that can't be computed with; costs one pass over each tensor and one transfer in all.

    Nothing is looked at while PyTorch records operations for an export.

    Raises:
        InvalidInputError: A tensor holds NaN, an infinity or a value out of bounds; it is named.
    """
    if exporting():
        return
    present = [(requirement, tensor) for requirement, tensor in checks if tensor is not None]
    flags = [
        ((part >= requirement.low) & (part <= requirement.high)).all()
        for requirement, tensor in present
        for part in [torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor]
    ]
    if all(flags) if len(flags) < 2 else bool(torch.stack(flags).all()):
        return
    index = next(index for index, flag in enumerate(flags) if not flag)
    raise refusal(*present[index])


def refusal(requirement: Requirement, tensor: Tensor) -> InvalidInputError:
    """The error for a tensor that does not meet its requirement."""
    values = torch.view_as_real(tensor.detach().resolve_conj()) if tensor.is_complex() else tensor.detach()
    name = requirement.name
    if not bool(torch.isfinite(values).all()):
        bad = "NaN" if bool(torch.isnan(values).any()) else "an infinity"
        return InvalidInputError(
            f"`{name}` holds {bad}",
            tensor=name,
            advice="Find where it comes from; `torch.autograd.set_detect_anomaly(True)` helps in training.",
        )
    low, high = values.amin().item(), values.amax().item()
    if name in {"eta", "beta"} and low <= 0:
        return InvalidInputError(
            f"`{name}` holds {low:g}, and must be positive",
            tensor=name,
            why="the resolvent is taken at an energy above the real axis" if name == "eta" else "",
            advice=f"Keep it positive, for example as softplus(...) + 1e-6 ({name}).",
        )
    if name == "coupling" and low < 0:
        return InvalidInputError(
            f"`coupling` holds {low:g}, and must not be negative",
            tensor=name,
            why="with a negative product of hoppings the denominators lose their bound and can vanish",
            advice="Pass the product of the two hoppings with equal signs, or the square of one.",
        )
    return InvalidInputError(
        f"`{name}` ranges from {low:g} to {high:g}, outside {requirement.low:g} to {requirement.high:g}",
        tensor=name,
        why=f"squares of the denominators would leave the range of {values.dtype}",
        advice="Use float64, or scale the problem: (H - z)^-1 = (H/t - z/t)^-1 / t.",
    )
