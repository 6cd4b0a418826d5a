"""The compiled decoding step: one token through all layers of a model in one call.

The structure here mirrors `decode_t` in `native/problem.h`, the order of the addresses `native/decode.h`.
"""

from __future__ import annotations

import ctypes
from array import array

from torch import Tensor

from resnet_bk.resolvent.kernels.cpu_library import OUT_OF_MEMORY, load

__all__ = ["DecodeSizes", "decode"]


class DecodeSizes(ctypes.Structure):
    """`decode_t`: the sizes of a model, and the numbers in its formulas."""

    _fields_ = (
        ("layers", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("keys", ctypes.c_int64),
        ("values", ctypes.c_int64),
        ("taps", ctypes.c_int64),
        ("bound", ctypes.c_int64),
        ("vocabulary", ctypes.c_int64),
        ("copy_keys", ctypes.c_int64),
        ("token", ctypes.c_int64),
        ("norm_eps", ctypes.c_double),
        ("epsilon", ctypes.c_double),
        ("eta_gain", ctypes.c_double),
        ("eta_floor", ctypes.c_double),
        ("copy_gain", ctypes.c_double),
    )


def decode(sizes: DecodeSizes, addresses: array[int], embedding: int, logits: Tensor) -> None:
    """Compute the logits of the token after one, and change the states of all layers.

    Args:
        sizes: Of the model, and which token it is.
        addresses: Of contiguous float32 arrays: for each layer its weights and then its states, then the
            weight of the last norm, that of the output, and its bias or 0, then the weights and states of
            the copy memory if there is one.
        embedding: Address of the token's vector.
        logits: (vocabulary,), to be filled.

    Raises:
        MemoryError: There was no memory for it.
    """
    library = load()
    function = library.function("decode_f32")
    result = function(ctypes.byref(sizes), addresses.buffer_info()[0], embedding, logits.data_ptr())
    if result == OUT_OF_MEMORY:
        raise MemoryError("no memory for decoding a token")
