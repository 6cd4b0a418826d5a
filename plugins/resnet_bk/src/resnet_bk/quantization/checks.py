"""Refuses layers and weights that can't be quantised, before anything is changed."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from resnet_bk.errors import InvalidInputError
from resnet_bk.modeling.green_gates import GreenGates
from resnet_bk.quantization.errors import QuantizationError
from resnet_bk.quantization.layers import QuantizedGates, QuantizedMatrix
from resnet_bk.quantization.parts import Place
from resnet_bk.quantization.rounding import RoundedLayer

__all__ = ["check_place"]

_LARGEST_HALF = torch.finfo(torch.float16).max


def check_place(place: Place, bits: int) -> None:
    """Make sure that what is at some place can be quantised.

    Args:
        place: The place.
        bits: Bits of a weight.

    Raises:
        QuantizationError: It is quantised already, or is not a layer of this package.
        InvalidInputError: It has weights that can't be stored.
    """
    layer = place.module
    if isinstance(layer, (QuantizedMatrix, QuantizedGates, RoundedLayer)):
        raise QuantizationError(
            f"{place.name} is quantised already",
            key=place.part,
            advice="Quantise the model that it was made from, or what `dequantize()` gives.",
        )
    if type(layer) not in (nn.Linear, nn.Embedding, GreenGates):
        raise QuantizationError(
            f"{place.name} is not a layer of this package",
            key=place.part,
            why=f"it is a {type(layer).__name__}",
            advice=f"Leave {place.part} as it is, or quantise the model before its layers are replaced.",
        )
    if not layer.weight.is_meta:
        _check_weight(place, layer.weight.detach(), bits)


def _check_weight(place: Place, weight: Tensor, bits: int) -> None:
    largest = float(weight.abs().max())
    if not math.isfinite(largest):
        raise InvalidInputError(
            f"{place.name} has a weight of {largest}",
            tensor=place.name,
            why="a weight that is not finite can't be rounded, and spoils its whole group",
            advice="Go back to weights from before the training failed.",
        )
    if bits == 16 and largest > _LARGEST_HALF:
        raise InvalidInputError(
            f"{place.name} has a weight of {largest:g}",
            tensor=place.name,
            why=f"16 bits hold {_LARGEST_HALF:g} at most",
            advice=f"Use 8 bits for {place.part}, or leave it as it is.",
        )
