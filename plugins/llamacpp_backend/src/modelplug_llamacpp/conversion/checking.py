"""Reads a written file back and compares every tensor with its source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

from modelplug.errors import ConversionMismatchError
from modelplug_llamacpp.conversion.mapping import BLOCK, Target
from modelplug_llamacpp.conversion.weights import SourceWeights, blocks_of
from modelplug_llamacpp.conversion.writing import ROPE_DIVISORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_file"]


def check_file(
    path: Path,
    targets: list[Target],
    weights: SourceWeights,
    divisors: tuple[float, ...],
    progress: Callable[[int], None],
) -> None:
    """Make sure that a file holds what it should.

    F32 and F16 must be the source's numbers, the latter rounded to the nearest; a quantised weight may differ
    from its source by what one step of its block's scale explains.

    Args:
        path: The file.
        targets: The tensors it should hold.
        weights: Where their numbers come from.
        divisors: Of the rotary frequencies, if the file should hold any.
        progress: Told of every number of bytes read back.

    Raises:
        ConversionMismatchError: It holds something else.
    """
    reader = gguf.GGUFReader(path)
    found = {tensor.name: tensor for tensor in reader.tensors}
    expected = {target.name for target in targets} | ({ROPE_DIVISORS} if divisors else set())
    if set(found) != expected:
        raise _mismatch(path, f"it holds other tensors: {', '.join(sorted(set(found) ^ expected)[:3])}")
    for target in targets:
        tensor = found[target.name]
        shape = tuple(int(length) for length in tensor.shape[::-1])
        if tensor.tensor_type.name != target.type or shape != target.shape:
            raise _mismatch(path, f"{target.name} is {tensor.tensor_type.name} of the shape {shape}")
        for start, stop in blocks_of(target):
            source = weights.rows(target, start, stop)
            _compare(path, target, tensor.data[start:stop], source)
            progress(target.size * (stop - start) // target.shape[0])
    if divisors and not np.array_equal(found[ROPE_DIVISORS].data, np.array(divisors, np.float32)):
        raise _mismatch(path, f"{ROPE_DIVISORS} differs")


def _compare(path: Path, target: Target, stored: NDArray[Any], source: NDArray[np.float32]) -> None:
    if target.type in ("F32", "F16"):
        same = np.array_equal(stored, source.astype(stored.dtype))
    else:
        values = gguf.quants.dequantize(stored, gguf.GGMLQuantizationType[target.type])
        allowed = _allowed(source, target.type)
        distance = np.abs(values - source).reshape(-1, BLOCK)
        same = bool((distance <= allowed).all())
    if not same:
        raise _mismatch(path, f"{target.name} does not hold the numbers of {target.source}")


def _allowed(source: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """The largest distance of a quantised weight from its source, block by block."""
    largest = np.abs(source).reshape(-1, BLOCK).max(axis=1, keepdims=True)
    # Half a step where a weight lies between two values. Q4_0 has eight steps below zero and seven above, so
    # at the far end it may miss by a whole one. The scale itself is rounded to F16: relatively by 2**-11,
    # and below the normal numbers of F16 by 2**-25, times the number of steps.
    steps, miss = (127.0, 0.5) if kind == "Q8_0" else (8.0, 1.0)
    rounding = largest * 2.0**-10 + steps * 2.0**-24
    allowed: NDArray[np.float32] = largest / steps * miss + rounding
    return allowed


def _mismatch(path: Path, why: str) -> ConversionMismatchError:
    return ConversionMismatchError(
        "the written file is not what was to be written",
        path=path,
        why=why,
        advice="Try again; if it happens again, the disk or memory may be faulty.",
    )
