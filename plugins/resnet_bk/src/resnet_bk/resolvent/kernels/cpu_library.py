"""Loads the compiled CPU kernels and calls them; tensors go in as addresses and strides.

The structures here mirror `native/problem.h`. A call takes microseconds, so what surrounds it has to: arrays
are described by plain integers in one buffer.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from array import array
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import attrs
import torch
from torch import Tensor

from resnet_bk.resolvent.kernels.limits import limits_of

__all__ = ["Library", "Operand", "Problem", "block", "load", "operand", "pairs", "why_not"]

LEADING = 3
LEVELS = ("_baseline", "_avx2", "_avx512")
OUT_OF_MEMORY = -1
_FILE = Path(__file__).with_name("resolvent_kernels" + (".dylib" if sys.platform == "darwin" else ".so"))


_Shape = ctypes.c_int64 * LEADING
_ONES = tuple((1,) * (LEADING - present) for present in range(LEADING + 1))


class Problem(ctypes.Structure):
    """`problem_t`: the sizes."""

    _fields_ = (
        ("shape", _Shape),
        ("length", ctypes.c_int64),
        ("keys", ctypes.c_int64),
        ("values", ctypes.c_int64),
        ("chunk", ctypes.c_int64),
        ("threads", ctypes.c_int64),
        ("complex_phase", ctypes.c_int64),
        ("taps", ctypes.c_int64),
        ("site_limit", ctypes.c_double),
        ("hopping_limit", ctypes.c_double),
        ("coupling_limit", ctypes.c_double),
        ("eta_floor", ctypes.c_double),
        ("norm_eps", ctypes.c_double),
    )


class Operand(NamedTuple):
    """`array_t`: one array.

    Attributes:
        tensor: What the address belongs to: memory stays valid as long as the operand is there.
        words: Address, strides of the leading dimensions, of sites, of rows, and of columns or channels.
    """

    tensor: Tensor | None
    words: tuple[int, ...]


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
    _functions: dict[str, Callable[..., int]] = attrs.field(factory=dict, init=False, repr=False, eq=False)

    def call(self, name: str, dtype: torch.dtype, problem: Problem, operands: Sequence[Operand]) -> int:
        """Run a kernel; gives a bit for each operand with values it can't compute with.

        Raises:
            MemoryError: There was no memory for the kernel's own use.
        """
        function = self.function(f"{name}_{'f32' if dtype is torch.float32 else 'f64'}")
        arrays = array("q", chain.from_iterable(operand.words for operand in operands))
        result: int = function(ctypes.byref(problem), arrays.buffer_info()[0])
        if result == OUT_OF_MEMORY:
            msg = f"no memory for the kernel {name}"
            raise MemoryError(msg)
        return result

    def function(self, name: str) -> Callable[..., int]:
        """A function of the library, for the instruction set in use; its arguments are addresses."""
        if name not in self._functions:
            function = getattr(self.handle, f"resolvent_{name}{self.variant}")
            function.restype = ctypes.c_int64
            function.argtypes = (ctypes.c_void_p,) * (4 if name == "decode_f32" else 2)
            self._functions[name] = function
        return self._functions[name]

    def problem(self, lead: Sequence[int], length: int, dtype: torch.dtype) -> Problem:
        """The sizes of a problem, with the limits of its type and PyTorch's number of threads."""
        limits = limits_of(dtype)
        return Problem(
            _Shape(*_ONES[len(lead)], *lead),
            length,
            0,
            0,
            0,
            torch.get_num_threads() if self.threaded else 1,
            0,
            0,
            limits.site,
            limits.hopping,
            limits.coupling,
            limits.eta_floor,
            0.0,
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


ABSENT = Operand(None, (0,) * (LEADING + 4))
_NO_LEAD = tuple((0,) * (LEADING - present) for present in range(LEADING + 1))
# Where sites, rows and columns are among the last dimensions; -1 for none.
_PLACES = {"": (-1, -1, -1), "t": (0, -1, -1), "c": (-1, -1, 0), "tc": (0, -1, 1), "rc": (-1, 0, 1)}


def operand(tensor: Tensor | None, tail: str, *, shared: bool = False) -> Operand:
    """A tensor as the library sees it.

    Args:
        tensor: The tensor, in any layout; None for an absent one.
        tail: What its last dimensions are after the leading ones: `t` sites, `r` rows, `c` columns or
            channels.
        shared: Whether one value stands for all sites.
    """
    if tensor is None:
        return ABSENT
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    strides = tensor.stride()
    if tensor.is_complex():
        strides = tuple(2 * stride for stride in strides)
    count = len(strides) - len(tail)
    own = (*strides[count:], 0)
    time, row, column = _PLACES[tail]
    lead = _NO_LEAD[count] + strides[:count]
    return Operand(tensor, (tensor.data_ptr(), *lead, 0 if shared else own[time], own[row], own[column]))


def pairs(tensor: Tensor | None) -> Operand:
    """Numbers (..., 2) as complex ones without sites: the library reads them side by side."""
    return operand(None if tensor is None else torch.view_as_complex(tensor.contiguous()), "")


def block(tensor: Tensor | None) -> Operand:
    """A contiguous tensor in an order of the library's own."""
    return ABSENT if tensor is None else Operand(tensor, (tensor.data_ptr(), *ABSENT.words[1:]))
