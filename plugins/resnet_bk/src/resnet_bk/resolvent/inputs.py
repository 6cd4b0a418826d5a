"""Brings what callers pass into the one form that kernels take: one type, broadcast leading dimensions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from resnet_bk.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Sites", "flatten_lead", "prepare_sites"]

# The kernels number sequences by this many leading dimensions.
LEADING = 3
_HALF = (torch.float16, torch.bfloat16)


def _working_dtype(name: str, tensor: Tensor, so_far: torch.dtype) -> torch.dtype:
    """float64 if any tensor is, else float32: half precision is never computed with."""
    dtype = tensor.dtype
    if dtype is torch.float64 or dtype is torch.complex128:
        return torch.float64
    if dtype is torch.float32 or dtype is torch.complex64 or dtype in _HALF:
        return so_far
    raise InvalidInputError(
        f"`{name}` is of type {dtype}",
        tensor=name,
        advice="Pass float32 or float64 (half precision is computed in float32).",
    )


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
        """A site quantity, (lead..., N); with `shared`, (lead..., 1) or (1,) if all sites have one value.

        Raises:
            InvalidInputError: Its shape does not fit.
        """
        if isinstance(value, Tensor) and value.dtype == self.dtype:
            tensor = value if value.dim() else value.unsqueeze(0)
        elif isinstance(value, complex) or (isinstance(value, Tensor) and value.is_complex()):
            raise InvalidInputError(f"`{name}` is complex, and must be real", tensor=name)
        elif isinstance(value, Tensor):
            return self.real(name, value.to(self.dtype), shared=shared)
        else:
            tensor = torch.full((1,), value, dtype=self.dtype, device=self.device)
            if shared:  # kernels broadcast it
                return tensor
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
        wanted = (*self.lead, *tail)
        if tensor.shape != wanted:
            try:
                tensor = tensor.expand(wanted)
            except RuntimeError as error:
                raise InvalidInputError(
                    f"`{name}` has the shape {tuple(tensor.shape)}, which does not fit {wanted}",
                    tensor=name,
                    why="leading dimensions broadcast against those of the other arguments",
                ) from error
        return tensor if len(self.lead) <= LEADING else flatten_lead(tensor, len(tail))

    def restore(self, tensor: Tensor, tail: int) -> Tensor:
        """A kernel's result with the caller's leading dimensions."""
        if len(self.lead) <= LEADING:
            return tensor
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
    everything = {**tensors, **channels} if channels else tensors
    main = everything[anchor]
    if not isinstance(main, Tensor):
        raise InvalidInputError(f"`{anchor}` is not a tensor", tensor=anchor, advice="Pass a torch.Tensor.")
    tail = 2 if anchor in channels else 1
    if main.dim() < tail:
        raise InvalidInputError(
            f"`{anchor}` has {main.dim()} dimensions, and needs {tail} at least", tensor=anchor
        )
    length, device = main.shape[-tail], main.device
    if length == 0:
        raise InvalidInputError(f"`{anchor}` has no sites", tensor=anchor, advice="Pass at least one site.")
    lead: Sequence[int] = ()
    dtype = torch.float32
    for name, tensor in everything.items():
        if not isinstance(tensor, Tensor):
            continue
        if tensor.device != device:
            raise InvalidInputError(
                f"`{name}` is on {tensor.device}, and `{anchor}` on {device}", tensor=name
            )
        dtype = _working_dtype(name, tensor, dtype)
        shape = tensor.shape[:-1] if name in tensors else tensor.shape[:-2]
        if not lead:
            lead = shape
        elif shape != lead[len(lead) - len(shape) :]:  # mostly they are the last of those so far
            lead = _broadcast(name, shape, lead)
    if math.prod(lead) == 0:
        raise InvalidInputError(f"`{anchor}` holds no sequence", tensor=anchor, advice="Pass at least one.")
    return Sites(lead, length, dtype, device)


def _broadcast(name: str, shape: Sequence[int], lead: Sequence[int]) -> Sequence[int]:
    try:
        return tuple(torch.broadcast_shapes(lead, shape))
    except RuntimeError as error:
        raise InvalidInputError(
            f"the leading dimensions {tuple(shape)} of `{name}` do not broadcast against {tuple(lead)}",
            tensor=name,
        ) from error
