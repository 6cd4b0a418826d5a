"""Brings what callers pass into the one form that kernels take: one type, broadcast leading dimensions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from resnet_bk.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Sites", "flatten_lead", "prepare_sites", "working_dtype"]

# The kernels number sequences by this many leading dimensions.
LEADING = 3
_HALF = (torch.float16, torch.bfloat16)


def working_dtype(tensors: Mapping[str, Tensor | float | None]) -> torch.dtype:
    """float64 if any tensor is, else float32: half precision is never computed with.

    Raises:
        InvalidInputError: A tensor is neither real floating point nor, where that makes sense, complex.
    """
    result = torch.float32
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            continue
        if tensor.dtype in {torch.float64, torch.complex128}:
            result = torch.float64
        elif tensor.dtype not in {torch.float32, torch.complex64, *_HALF}:
            raise InvalidInputError(
                f"`{name}` is of type {tensor.dtype}",
                tensor=name,
                advice="Pass float32 or float64 (half precision is computed in float32).",
            )
    return result


class Sites:
    """The site quantities of an operation, in kernel form.

    Attributes:
        lead: The broadcast leading shape, as the caller sees it.
        length: Sites in a sequence.
        dtype: float32 or float64.
        device: Where everything is.
    """

    def __init__(self, lead: Sequence[int], length: int, dtype: torch.dtype, device: torch.device) -> None:
        self.lead = tuple(lead)
        self.length = length
        self.dtype = dtype
        self.device = device

    @property
    def complex_dtype(self) -> torch.dtype:
        """The complex partner of `dtype`."""
        return torch.complex64 if self.dtype == torch.float32 else torch.complex128

    def real(self, name: str, value: Tensor | float, *, shared: bool = False) -> Tensor:
        """A site quantity of shape (lead..., N), or (lead..., 1) with `shared` if all sites have one value.

        Raises:
            InvalidInputError: Its shape does not fit.
        """
        if isinstance(value, complex) or (isinstance(value, Tensor) and value.is_complex()):
            raise InvalidInputError(f"`{name}` is complex, and must be real", tensor=name)
        tensor = torch.as_tensor(value, dtype=self.dtype, device=self.device)
        if not tensor.dim():
            tensor = tensor.unsqueeze(0)
        length = 1 if shared and tensor.shape[-1] == 1 else self.length
        return self._fit(name, tensor, (length,))

    def gate(self, name: str, tensor: Tensor, kind: torch.dtype) -> Tensor:
        """A real or complex quantity of shape (lead..., N)."""
        return self._fit(name, tensor.to(kind), (self.length,))

    def channels(self, name: str, tensor: Tensor) -> Tensor:
        """A quantity of shape (lead..., N, channels)."""
        if tensor.dim() < 2:
            raise InvalidInputError(
                f"`{name}` has {tensor.dim()} dimension(s), and needs two at least: sites and channels",
                tensor=name,
            )
        return self._fit(name, tensor.to(self.dtype), (self.length, tensor.shape[-1]))

    def state(self, name: str, tensor: Tensor, tail: Sequence[int], kind: torch.dtype) -> Tensor:
        """A quantity without sites: (lead..., tail...)."""
        if tensor.is_complex() and not kind.is_complex:
            raise InvalidInputError(
                f"`{name}` is complex, and must be real", tensor=name, why="the gates are real"
            )
        return self._fit(name, tensor.to(kind), tail)

    def _fit(self, name: str, tensor: Tensor, tail: Sequence[int]) -> Tensor:
        try:
            wanted = (*self.lead, *tail)
            expanded = tensor if tensor.shape == wanted else tensor.expand(wanted)
        except RuntimeError as error:
            raise InvalidInputError(
                f"`{name}` has the shape {tuple(tensor.shape)}, which does not fit {(*self.lead, *tail)}",
                tensor=name,
                why="leading dimensions broadcast against those of the other arguments",
            ) from error
        return flatten_lead(expanded, len(tail))

    def restore(self, tensor: Tensor, tail: int) -> Tensor:
        """A kernel's result with the caller's leading dimensions."""
        return tensor.reshape(*self.lead, *tensor.shape[tensor.dim() - tail :])


def flatten_lead(tensor: Tensor, tail: int) -> Tensor:
    """At most three leading dimensions; the outer ones are joined."""
    extra = tensor.dim() - tail - LEADING
    return tensor.flatten(0, extra) if extra > 0 else tensor


def prepare_sites(
    tensors: Mapping[str, Tensor | float | None], channels: Mapping[str, Tensor | None], anchor: str
) -> Sites:
    """The common shape, type and device of an operation's arguments.

    Args:
        tensors: Quantities of shape (..., N); numbers and None are left out of account.
        channels: Quantities of shape (..., N, channels).
        anchor: The one of either that decides length and device.

    Raises:
        InvalidInputError: Shapes or types do not fit, or there are no sites.
    """
    everything = {**tensors, **channels}
    main = everything[anchor]
    if not isinstance(main, Tensor):
        raise InvalidInputError(f"`{anchor}` is not a tensor", tensor=anchor, advice="Pass a torch.Tensor.")
    tail = 2 if anchor in channels else 1
    if main.dim() < tail:
        raise InvalidInputError(
            f"`{anchor}` has {main.dim()} dimensions, and needs {tail} at least", tensor=anchor
        )
    length = main.shape[-tail]
    if length == 0:
        raise InvalidInputError(f"`{anchor}` has no sites", tensor=anchor, advice="Pass at least one site.")
    for name, tensor in everything.items():
        if isinstance(tensor, Tensor) and tensor.device != main.device:
            raise InvalidInputError(
                f"`{name}` is on {tensor.device}, and `{anchor}` on {main.device}", tensor=name
            )
    leads = [
        (name, tensor.shape[:-1] if name in tensors else tensor.shape[:-2])
        for name, tensor in everything.items()
        if isinstance(tensor, Tensor) and tensor.dim()
    ]
    lead: Sequence[int] = ()
    for name, shape in leads:
        if not lead or shape == lead:
            lead = shape
            continue
        try:  # a few names at most, and the one that does not fit is told
            lead = torch.broadcast_shapes(lead, shape)
        except RuntimeError as error:
            raise InvalidInputError(
                f"the leading dimensions {tuple(shape)} of `{name}` do not broadcast against {tuple(lead)}",
                tensor=name,
            ) from error
    if math.prod(lead) == 0:
        raise InvalidInputError(f"`{anchor}` holds no sequence", tensor=anchor, advice="Pass at least one.")
    return Sites(lead, length, working_dtype(everything), main.device)
