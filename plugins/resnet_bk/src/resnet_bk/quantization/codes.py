"""Matrices as small whole numbers with a scale for each group of a row, and back."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["BITS", "decode", "encode", "pack", "unpack"]

BITS = (4, 8, 16)
"""Bits that a weight can be stored in; 16 are those of a float16."""

# Symmetric: as many steps below 0 as above.
_LARGEST = {4: 7, 8: 127}


def encode(weight: Tensor, bits: int, group_size: int | None) -> tuple[Tensor, Tensor]:
    """Round a matrix to codes, |weight - scale * code| <= scale / 2.

    Args:
        weight: (rows, columns).
        bits: One of `BITS`.
        group_size: Neighbours in a row that share a scale, the last of a row perhaps fewer; None for whole
            rows.

    Returns:
        The codes, int8 (rows, columns), uint8 (rows, columns / 2) for 4 bits, or int16 (rows, columns) that
        hold float16 numbers; and the scales, (rows, groups) of the weight's own dtype, none for 16 bits.
    """
    if bits == 16:
        # As whole numbers they stay what they are when a model is converted to another dtype.
        return weight.to(torch.float16).view(torch.int16), weight.new_empty(weight.shape[0], 0)
    groups = _groups(weight.to(_exact(weight.dtype)), group_size)
    largest = _LARGEST[bits]
    scales = (groups.abs().amax(-1) / largest).to(weight.dtype)
    steps = scales.to(groups.dtype).unsqueeze(-1)
    codes = torch.where(steps > 0, groups / steps, 0.0).round().clamp(-largest, largest)
    codes = codes.flatten(1)[:, : weight.shape[1]].to(torch.int8)
    return pack(codes) if bits == 4 else codes.contiguous(), scales


def decode(codes: Tensor, scales: Tensor, *, bits: int, group_size: int | None, columns: int) -> Tensor:
    """The matrix that codes stand for, (rows, columns), of the dtype of the scales.

    Args:
        codes: As `encode` gives them, or some rows of them.
        scales: Likewise.
        bits: As `encode` was given it.
        group_size: Likewise.
        columns: Of the matrix.
    """
    if bits == 16:
        return codes.view(torch.float16).to(scales.dtype)
    numbers = unpack(codes, columns) if bits == 4 else codes
    groups = _groups(numbers.to(_exact(scales.dtype)), group_size)
    return (groups * scales.unsqueeze(-1)).flatten(1)[:, :columns].to(scales.dtype)


def pack(numbers: Tensor) -> Tensor:
    """Two numbers of 4 bits in a byte: the first half of a row in the lower halves of its bytes.

    Args:
        numbers: int8 from -8 to 7, (rows, columns).

    Returns:
        uint8, (rows, columns / 2 rounded up).
    """
    low, high = functional.pad(numbers, (0, numbers.shape[1] % 2)).chunk(2, 1)
    return ((high << 4) | (low & 15)).view(torch.uint8)


def unpack(packed: Tensor, columns: int) -> Tensor:
    """Undo `pack`.

    Args:
        packed: uint8, (rows, bytes).
        columns: How many numbers a row had.
    """
    signed = packed.view(torch.int8)
    return torch.cat([(signed << 4) >> 4, signed >> 4], 1)[:, :columns]


def _groups(matrix: Tensor, group_size: int | None) -> Tensor:
    """(rows, groups, group_size), with zeros where the last group ends early."""
    columns = matrix.shape[1]
    width = min(group_size or columns, columns)
    short = -columns % width
    return (functional.pad(matrix, (0, short)) if short else matrix).unflatten(1, (-1, width))


def _exact(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
