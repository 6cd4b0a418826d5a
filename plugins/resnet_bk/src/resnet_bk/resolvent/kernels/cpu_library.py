"""Loads the compiled CPU kernels and calls them; tensors go in as addresses and strides.

The structures here mirror `native/problem.h`.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import torch

from resnet_bk.resolvent.kernels.limits import limits_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Library", "Operand", "Problem", "load", "why_not"]

LEADING = 3
LEVELS = ("_baseline", "_avx2", "_avx512")
OUT_OF_MEMORY = -1
_FILE = Path(__file__).with_name("resolvent_kernels" + (".dylib" if sys.platform == "darwin" else ".so"))


class Problem(ctypes.Structure):
    """`problem_t`: the sizes."""

    _fields_ = (
        ("shape", ctypes.c_int64 * LEADING),
        ("length", ctypes.c_int64),
        ("keys", ctypes.c_int64),
        ("values", ctypes.c_int64),
        ("chunk", ctypes.c_int64),
        ("threads", ctypes.c_int64),
        ("complex_phase", ctypes.c_int64),
        ("site_limit", ctypes.c_double),
        ("hopping_limit", ctypes.c_double),
        ("coupling_limit", ctypes.c_double),
        ("eta_floor", ctypes.c_double),
    )


class Operand(ctypes.Structure):
    """`array_t`: one array."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("lane", ctypes.c_int64 * LEADING),
        ("time", ctypes.c_int64),
        ("row", ctypes.c_int64),
        ("column", ctypes.c_int64),
    )


@attrs.frozen
class Library:
    """The loaded library.

    Attributes:
        handle: What ctypes loaded.
        variant: The instruction set in use, the ending of the functions' names.
        threaded: Whether it was built with OpenMP.
    """

    handle: ctypes.CDLL
    variant: str
    threaded: bool

    def call(self, name: str, dtype: torch.dtype, problem: Problem, operands: Sequence[Operand]) -> int:
        """Run a kernel; gives a bit for each operand with values it can't compute with.

        Raises:
            MemoryError: There was no memory for the kernel's own use.
        """
        kind = "f32" if dtype == torch.float32 else "f64"
        function = getattr(self.handle, f"resolvent_{name}_{kind}{self.variant}")
        function.restype = ctypes.c_int64
        result: int = function(ctypes.byref(problem), (Operand * len(operands))(*operands))
        if result == OUT_OF_MEMORY:
            msg = f"no memory for the kernel {name}"
            raise MemoryError(msg)
        return result

    def problem(self, lead: Sequence[int], length: int, dtype: torch.dtype) -> Problem:
        """The sizes of a problem, with the limits of its type and PyTorch's number of threads."""
        limits = limits_of(dtype)
        shape = (*([1] * (LEADING - len(lead))), *lead)
        return Problem(
            (ctypes.c_int64 * LEADING)(*shape),
            length,
            0,
            0,
            0,
            torch.get_num_threads() if self.threaded else 1,
            0,
            limits.site,
            limits.hopping,
            limits.coupling,
            limits.eta_floor,
        )


@functools.cache
def _attempt() -> tuple[Library | None, str]:
    if not _FILE.is_file():
        reason = "this installation has no compiled kernels (it was built without a C compiler)"
        return None, reason
    try:
        handle = ctypes.CDLL(str(_FILE))
        level = int(handle.resolvent_level())
        while level and not hasattr(handle, f"resolvent_causal_f32{LEVELS[level]}"):
            level -= 1
        return Library(handle, LEVELS[level], bool(handle.resolvent_threaded())), ""
    except (OSError, AttributeError) as error:
        return None, f"the compiled kernels can't be loaded: {error}"


def why_not() -> str:
    """Why the compiled kernels can't be used; empty if they can."""
    return _attempt()[1]


def load() -> Library:
    """The library; ask `why_not` first."""
    library = _attempt()[0]
    assert library is not None
    return library


ABSENT = Operand()


def operand(tensor: Tensor | None, tail: str, *, shared: bool = False) -> Operand:
    """A tensor as the library sees it.

    Args:
        tensor: The tensor; None for an absent one. Its conjugation must be resolved.
        tail: What its last dimensions are after the leading ones: `t` sites, `r` rows, `c` columns or
            channels.
        shared: Whether one value stands for all sites.
    """
    if tensor is None:
        return ABSENT
    unit = 2 if tensor.is_complex() else 1
    strides = [unit * stride for stride in tensor.stride()]
    lead = strides[: len(strides) - len(tail)]
    by_kind = dict(zip(tail, strides[len(lead) :], strict=True))
    return Operand(
        tensor.data_ptr(),
        (ctypes.c_int64 * LEADING)(*([0] * (LEADING - len(lead))), *lead),
        0 if shared else by_kind.get("t", 0),
        by_kind.get("r", 0),
        by_kind.get("c", 0),
    )
