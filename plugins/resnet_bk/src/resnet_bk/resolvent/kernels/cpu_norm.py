"""The compiled root mean square norm of rows, as `native/norm.h` has it."""

from __future__ import annotations

from torch import Tensor

from resnet_bk.resolvent.kernels.cpu_library import Library, Problem, block, load

__all__ = ["norm", "norm_backward"]

# Rows that one thread takes at a time; the weight's gradient is summed over them first.
BLOCK = 256


def norm(rows: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The normed rows, and what each was multiplied with.

    Args:
        rows: (..., D), contiguous.
        weight: (D,), contiguous.
        eps: What is added to the mean of squares.
    """
    library = load()
    result, scales = rows.new_empty(rows.shape), rows.new_empty(rows.shape[:-1])
    problem = _problem(library, rows)
    problem.norm_eps = eps
    library.call("norm", rows.dtype, problem, [block(tensor) for tensor in (rows, weight, result, scales)])
    return result, scales


def norm_backward(rows: Tensor, weight: Tensor, scales: Tensor, cotangent: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of rows and weight; all arguments are contiguous."""
    library = load()
    problem = _problem(library, rows)
    rows_hat, weight_hat = rows.new_empty(rows.shape), rows.new_empty(problem.shape[2], len(weight))
    arrays = (rows, weight, scales, cotangent, rows_hat, weight_hat)
    library.call("norm_backward", rows.dtype, problem, [block(tensor) for tensor in arrays])
    return rows_hat, weight_hat.sum(0)


def _problem(library: Library, rows: Tensor) -> Problem:
    count = rows.numel() // rows.shape[-1]
    problem = library.problem((-(-count // BLOCK),), count, rows.dtype)
    problem.values, problem.chunk = rows.shape[-1], BLOCK
    return problem
