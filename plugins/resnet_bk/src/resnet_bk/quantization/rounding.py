"""Layers that compute with rounded weights and train the weights themselves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from resnet_bk.modeling.green_gates import GreenGates
from resnet_bk.quantization.codes import decode, encode

__all__ = ["RoundedLayer", "start_rounding", "stop_rounding"]


class RoundedLayer(nn.Module):  # type: ignore[misc]
    """A layer whose parameter `weight` is used as a quantised layer would use it.

    Its parameters keep their names, so its `state_dict` is that of a usual layer.

    Attributes:
        rounding: Bits of a weight, and neighbours in a row that share a scale; None for whole rows.
    """

    rounding: tuple[int, int | None]

    @property
    def weight(self) -> Tensor:
        """The weight, rounded; its gradient is that of the weight."""
        return _RoundWithGradient.apply(self._parameters["weight"], *self.rounding)


class _RoundedLinear(RoundedLayer, nn.Linear):  # type: ignore[misc]
    pass


class _RoundedEmbedding(RoundedLayer, nn.Embedding):  # type: ignore[misc]
    pass


class _RoundedGates(RoundedLayer, GreenGates):
    @property
    def weight(self) -> Tensor:
        # As quantised gates have it.
        weight = self._parameters["weight"]
        exact = weight.to(torch.promote_types(weight.dtype, torch.float32))
        return _RoundWithGradient.apply(exact, *self.rounding)


_CLASSES: dict[type[nn.Module], type[RoundedLayer]] = {
    nn.Linear: _RoundedLinear,
    nn.Embedding: _RoundedEmbedding,
    GreenGates: _RoundedGates,
}


def start_rounding(layer: nn.Module, bits: int, group_size: int | None) -> None:
    """Have a layer compute with its weight rounded.

    Args:
        layer: A linear layer, embeddings or gates.
        bits: Bits of a weight.
        group_size: Neighbours in a row that share a scale; None for whole rows.
    """
    rounded = _CLASSES[type(layer)]
    layer.rounding = (bits, group_size)
    layer.__class__ = rounded


def stop_rounding(layer: RoundedLayer) -> None:
    """Make it a usual layer again; what its weight has learned stays."""
    usual = {rounded: usual for usual, rounded in _CLASSES.items()}
    layer.__class__ = usual[type(layer)]
    del layer.rounding


class _RoundWithGradient(torch.autograd.Function):  # type: ignore[misc]
    """Rounding, with the gradient of the identity (the straight-through estimator)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bits: int, group_size: int | None) -> Tensor:  # noqa: ARG004
        codes, scales = encode(weight, bits, group_size)
        return decode(codes, scales, bits=bits, group_size=group_size, columns=weight.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # noqa: ARG004
        return gradient, None, None
