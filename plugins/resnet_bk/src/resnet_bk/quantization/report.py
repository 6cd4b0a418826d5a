"""How large a model is, and what quantising it changed."""

from __future__ import annotations

import math
from typing import Any

import attrs
import torch
from torch import nn

from resnet_bk.quantization.layers import QuantizedGates, QuantizedMatrix
from resnet_bk.quantization.parts import places_of
from resnet_bk.quantization.plan import PARTS, QuantizationPlan

__all__ = ["PartReport", "QuantizationReport", "report_of", "size_in_bytes"]

_REST = "the rest"


@attrs.frozen
class PartReport:
    """What became of the matrices of one part.

    Attributes:
        part: Its name; "the rest" for what is in no part.
        bits: Bits of a weight; None where it stayed as it was.
        matrices: How many there are.
        bytes_before: What they took.
        bytes_after: What they take, scales included.
        worst_error: The largest ||weight - quantised|| / ||weight|| of a matrix; None where nothing was
            rounded, and for a model that was read from files: they do not say.
        mean_error: Its mean over the matrices; likewise.
    """

    part: str
    bits: int | None
    matrices: int
    bytes_before: int
    bytes_after: int
    worst_error: float | None
    mean_error: float | None


@attrs.frozen
class QuantizationReport:
    """What quantising changed; as a text it is a table.

    Attributes:
        parts: Part by part, and what is in none.
    """

    parts: tuple[PartReport, ...]

    @property
    def bytes_before(self) -> int:
        """What the whole model took."""
        return sum(part.bytes_before for part in self.parts)

    @property
    def bytes_after(self) -> int:
        """What the whole model takes."""
        return sum(part.bytes_after for part in self.parts)

    def __str__(self) -> str:
        lines = [f"{'part':<10}{'bits':>6}{'bytes before':>15}{'after':>13}{'worst error':>13}{'mean':>9}"]
        for part in self.parts:
            errors = "".join(
                f"{'-' if error is None else f'{error:.2%}':>{width}}"
                for error, width in ((part.worst_error, 13), (part.mean_error, 9))
            )
            sizes = f"{part.bytes_before:>15,}{part.bytes_after:>13,}"
            lines.append(f"{part.part:<10}{part.bits or '-':>6}{sizes}{errors}")
        ratio = self.bytes_before / self.bytes_after
        lines.append(
            f"{'all':<10}{'':>6}{self.bytes_before:>15,}{self.bytes_after:>13,}   {ratio:.2f} times smaller"
        )
        return "\n".join(lines)


def size_in_bytes(model: nn.Module) -> int:
    """What all parameters and buffers take that are saved with a model, shared ones counted once."""
    tensors = {id(tensor): tensor for tensor in model.state_dict(keep_vars=True).values()}
    return sum(map(_bytes, tensors.values()))


def report_of(model: Any, plan: QuantizationPlan) -> QuantizationReport:
    """What quantising a model changed.

    Args:
        model: The quantised model.
        plan: How it was quantised.
    """
    found: dict[str, list[Any]] = {part: [] for part in PARTS}
    for place, _ in places_of(model, plan):
        layer = place.module
        found[place.part].append(layer.projection if isinstance(layer, QuantizedGates) else layer)
    parts = [_part(name, plan.bits.get(name), layers) for name, layers in found.items() if layers]
    rest = size_in_bytes(model) - sum(part.bytes_after for part in parts)
    return QuantizationReport((*parts, PartReport(_REST, None, 0, rest, rest, None, None)))


def _part(name: str, bits: int | None, layers: list[Any]) -> PartReport:
    before = after = 0
    errors = []
    for layer in layers:
        if isinstance(layer, QuantizedMatrix):
            before += layer.rows * layer.columns * layer.scales.element_size()
            after += _bytes(layer.codes) + _bytes(layer.scales)
            errors.append(layer.error)
        else:
            before += _bytes(layer.weight)
            after += _bytes(layer.weight)
    known = [error for error in errors if error is not None]
    worst, mean = (max(known), math.fsum(known) / len(known)) if known else (None, None)
    return PartReport(name, bits, len(layers), before, after, worst, mean)


def _bytes(tensor: torch.Tensor) -> int:
    return int(tensor.numel() * tensor.element_size())
