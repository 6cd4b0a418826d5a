"""Gives the tensors of an old model their places in 1.0, and says which have none."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import attrs

from modelplug_migrators.resnet_bk.checkpoints.naming import place_of
from modelplug_migrators.resnet_bk.checkpoints.reading.plain import Ref
from modelplug_migrators.resnet_bk.checkpoints.scalars import (
    ETA_FLOOR,
    float_tensor,
    numbers_of,
    repeated,
    rho_of_eta,
    softplus,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug_migrators.resnet_bk.checkpoints.architecture import Architecture

__all__ = ["Mapped", "map_model"]

ENERGY = 2.0
"""The energy of the old chain, whose Laplacian had -2 on its diagonal where that of 1.0 has 0."""

_LAYER = re.compile(r"(blocks\.\d+\.bk_layer\.)(.+)")
# What was added to the width before 1.0: less in the versions whose feed-forward is called `moe_ffn`.
_FLOORS = {"moe_ffn": 1e-6, "ffn": 1e-4}


@attrs.define(kw_only=True)
class Mapped:
    """An old model under the names of 1.0.

    Attributes:
        tensors: Its tensors by name.
        dropped: Name in the source -> why it has no place.
        unknown: Names that no version with a place in 1.0 had.
        low_rank: Names of tensors that 1.0 has nothing for, and that a model near it does without.
        renamed: Old name -> new name of everything that has the same values.
    """

    tensors: dict[str, Ref] = attrs.field(factory=dict)
    dropped: dict[str, str] = attrs.field(factory=dict)
    unknown: list[str] = attrs.field(factory=list)
    low_rank: list[str] = attrs.field(factory=list)
    renamed: dict[str, str] = attrs.field(factory=dict)


def map_model(model: Mapping[str, Ref], width: int) -> Mapped:
    """Give every tensor its place.

    Args:
        model: The tensors by old name.
        width: Width of the residual stream.

    Raises:
        ValueError: A tensor does not hold what one of its name has to.
    """
    mapped = Mapped()
    for name, ref in model.items():
        place = place_of(name)
        if place.action == "move":
            mapped.tensors[place.name] = ref
            mapped.renamed[name] = place.name
        elif place.action == "scale":
            mapped.tensors[place.name] = _scale(ref, width)
            mapped.renamed[name] = place.name
        elif place.action == "drop":
            mapped.dropped[ref.key] = place.why
        elif place.action == "low_rank":
            mapped.low_rank.append(name)
            mapped.dropped[ref.key] = place.why
        elif place.action == "unknown":
            mapped.unknown.append(name)
    _map_widths(model, mapped)
    return mapped


def _scale(ref: Ref, width: int) -> Ref:
    if ref.tensor.shape == (width,):
        return ref
    if math.prod(ref.tensor.shape) != 1:
        raise ValueError(f"{ref.key} has the shape {list(ref.tensor.shape)}")
    how = f"one number for all channels becomes the same for each of {width}"
    return attrs.evolve(ref, tensor=repeated(ref.tensor, width), how=how)


def _map_widths(model: Mapping[str, Ref], mapped: Mapped) -> None:
    """Give each layer its energy and width, from `z`, or from `epsilon_param` and `gamma`."""
    layers = dict.fromkeys(found[1] for name in model if (found := _LAYER.fullmatch(name)))
    for layer in layers:
        number = layer.split(".")[1]
        mixer = f"model.layers.{number}.mixer."
        z, epsilon, gamma = (model.get(f"{layer}{name}") for name in ("z", "epsilon_param", "gamma"))
        decay = 0.0
        if gamma is not None:
            decay = _only_number(gamma).real
            mapped.dropped[gamma.key] = f"it is part of {mixer}rho"
        if z is not None:
            _from_z(mixer, z, decay, mapped)
        elif epsilon is not None:
            _from_epsilon(mixer, layer, epsilon, decay, model, mapped)
        else:
            mapped.tensors[f"{mixer}energy"] = _made(ENERGY, "the energy that every model of that time had")
            mapped.tensors[f"{mixer}rho"] = _made(
                rho_of_eta(1.0), "the width that every model of that time had"
            )


def _from_z(mixer: str, z: Ref, decay: float, mapped: Mapped) -> None:
    value = _only_number(z)
    eta = value.imag + decay
    if not (eta > ETA_FLOOR and math.isfinite(eta) and math.isfinite(value.real)):
        raise ValueError(f"{z.key} is {value}, which is no energy with a width")
    how = f"z = {value:g}: the energy is its real part and the {ENERGY:g} of the old chain"
    energy = attrs.evolve(z, tensor=float_tensor([ENERGY + value.real], (1,)), how=how)
    mapped.tensors[f"{mixer}energy"] = energy
    mapped.tensors[f"{mixer}rho"] = _made(
        rho_of_eta(eta), f"the width, which was the imaginary part of {z.key}"
    )


def _from_epsilon(
    mixer: str, layer: str, epsilon: Ref, decay: float, model: Mapping[str, Ref], mapped: Mapped
) -> None:
    kind = "ffn" if any(name.startswith(f"{layer}ffn.") for name in model) else "moe_ffn"
    eta = softplus(_only_number(epsilon).real) + _FLOORS[kind] + decay
    if not (eta > ETA_FLOOR and math.isfinite(eta)):
        raise ValueError(f"{epsilon.key} and gamma make no width: {eta}")
    name = f"{mixer}rho"
    if decay == 0 and _FLOORS[kind] == ETA_FLOOR:
        how = "the same number, as a vector of one"
        mapped.tensors[name] = attrs.evolve(epsilon, tensor=repeated(epsilon.tensor, 1), how=how)
        mapped.renamed[f"{layer}epsilon_param"] = name
    else:
        how = "the width it made, with gamma, in the way of 1.0"
        mapped.tensors[name] = attrs.evolve(epsilon, tensor=float_tensor([rho_of_eta(eta)], (1,)), how=how)
    mapped.tensors[f"{mixer}energy"] = _made(ENERGY, "the energy that every model of that time had")


def _only_number(ref: Ref) -> complex:
    values = numbers_of(ref.tensor) if ref.tensor.size <= 16 else []
    if len(values) != 1:
        raise ValueError(f"{ref.key} is no number")
    return values[0]


def _made(value: float, why: str) -> Ref:
    return Ref("", float_tensor([value], (1,)), how=why)


def differences(mapped: Mapped, architecture: Architecture) -> list[str]:
    """What keeps mapped tensors from being the model of an architecture; nothing if they are it.

    Args:
        mapped: The tensors.
        architecture: The architecture.
    """
    found, wanted = mapped.tensors, architecture.shapes
    problems = [f"{name} is missing" for name in wanted if name not in found]
    problems += [f"{name} has no place" for name in found if name not in wanted]
    problems += [
        f"{name} is {list(found[name].tensor.shape)} instead of {list(shape)}"
        for name, shape in wanted.items()
        if name in found and found[name].tensor.shape != shape
    ]
    return problems
