"""The compiled kernel for the CPU: operations in one pass over memory, any strides, OpenMP over sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from resnet_bk.resolvent.kernels.cpu_library import Library, Operand, Problem, block, load, operand, pairs
from resnet_bk.resolvent.kernels.limits import Requirement, limits_of, refusal
from resnet_bk.resolvent.kernels.protocol import CausalGradients, GateGradients, SiteGradients, StateGradients

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

__all__ = [
    "causal",
    "causal_backward",
    "gates",
    "gates_backward",
    "green_diagonal",
    "green_diagonal_backward",
    "state",
    "state_backward",
]

# Sites between two stored matrix states: the states in between are computed again on the way back.
CHUNK = 64
_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


def _per_site(tensor: Tensor | None, length: int) -> Operand:
    return operand(tensor, "t", shared=tensor is not None and tensor.shape[-1] == 1 and length > 1)


def _complex_like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, dtype=_COMPLEX[tensor.dtype])


def _shared_like(tensor: Tensor, *, shared: bool) -> Tensor:
    return tensor.new_empty((*tensor.shape[:-1], 1)) if shared else torch.empty_like(tensor)


def _run(
    library: Library,
    name: str,
    dtype: torch.dtype,
    problem: Problem,
    operands: Sequence[Operand],
    checks: Callable[[], Sequence[tuple[Requirement, Tensor | None]]] = tuple,
) -> None:
    """Call a kernel; `checks` gives what it checks, in the order of the bits that it sets."""
    bits = library.call(name, dtype, problem, operands)
    if not bits:
        return
    for number, (requirement, tensor) in enumerate(checks()):
        if bits >> number & 1 and tensor is not None:
            raise refusal(requirement, tensor)


def green_diagonal(potential: Tensor, coupling: Tensor, energy: Tensor, eta: Tensor) -> Tensor:
    """See `Kernel.green_diagonal`."""
    library, limits = load(), limits_of(potential.dtype)
    *lead, length = potential.shape
    result = _complex_like(potential)
    sites = [_per_site(tensor, length) for tensor in (potential, coupling, energy, eta)]
    _run(
        library,
        "green_diagonal",
        potential.dtype,
        library.problem(lead, length, potential.dtype),
        [*sites, operand(result, "t")],
        lambda: [
            (Requirement.potential(limits), potential),
            (Requirement.coupling(limits), coupling),
            (Requirement.energy(limits), energy),
            (Requirement.eta(limits), eta),
        ],
    )
    return result


def green_diagonal_backward(
    potential: Tensor, coupling: Tensor, energy: Tensor, eta: Tensor, cotangent: Tensor
) -> SiteGradients:
    """See `Kernel.green_diagonal_backward`."""
    library = load()
    *lead, length = potential.shape
    results = SiteGradients(
        torch.empty_like(potential),
        torch.empty_like(potential),
        _shared_like(potential, shared=energy.shape[-1] != length),
        _shared_like(potential, shared=eta.shape[-1] != length),
    )
    sites = [_per_site(tensor, length) for tensor in (potential, coupling, energy, eta)]
    _run(
        library,
        "green_diagonal_backward",
        potential.dtype,
        library.problem(lead, length, potential.dtype),
        [*sites, operand(cotangent, "t"), *(_per_site(tensor, length) for tensor in results)],
    )
    return results


def causal(
    potential: Tensor,
    hopping: Tensor | None,
    coupling: Tensor | None,
    energy: Tensor,
    eta: Tensor,
    inputs: Tensor | None,
    initial_diagonal: Tensor | None,
    initial_values: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """See `Kernel.causal`."""
    library, limits = load(), limits_of(potential.dtype)
    *lead, length = potential.shape
    diagonal = _complex_like(potential)
    values = None if inputs is None else _complex_like(inputs)
    problem = library.problem(lead, length, potential.dtype)
    problem.values = 0 if inputs is None else inputs.shape[-1]
    _run(
        library,
        "causal",
        potential.dtype,
        problem,
        [
            *(_per_site(tensor, length) for tensor in (potential, hopping, coupling, energy, eta)),
            operand(inputs, "tc"),
            operand(initial_diagonal, ""),
            operand(initial_values, "c"),
            operand(diagonal, "t"),
            operand(values, "tc"),
        ],
        lambda: [
            (Requirement.potential(limits), potential),
            (Requirement.coupling(limits), coupling),
            (Requirement.energy(limits), energy),
            (Requirement.eta(limits), eta),
            (Requirement.hopping(limits), hopping),
            (Requirement.finite("inputs", limits), inputs),
        ],
    )
    return diagonal, values


def causal_backward(
    hopping: Tensor | None,
    coupling: Tensor | None,
    diagonal: Tensor,
    values: Tensor | None,
    initial_diagonal: Tensor | None,
    initial_values: Tensor | None,
    diagonal_cotangent: Tensor | None,
    values_cotangent: Tensor | None,
    *,
    energy_shared: bool,
    eta_shared: bool,
) -> CausalGradients:
    """See `Kernel.causal_backward`."""
    library = load()
    *lead, length = diagonal.shape
    real = diagonal.real.dtype
    like_site = hopping if hopping is not None else coupling
    assert like_site is not None
    if values is not None and values_cotangent is None:
        values_cotangent = torch.zeros_like(values)
    site = torch.empty_like(diagonal, dtype=real)
    gradients = CausalGradients(
        torch.empty_like(site),
        None if hopping is None else torch.empty_like(site),
        None if coupling is None else torch.empty_like(site),
        _shared_like(site, shared=energy_shared),
        _shared_like(site, shared=eta_shared),
        None if values is None else torch.empty_like(values, dtype=real),
        None if initial_diagonal is None else torch.empty_like(initial_diagonal),
        None if initial_values is None else torch.empty_like(initial_values),
    )
    problem = library.problem(lead, length, real)
    problem.values = 0 if values is None else values.shape[-1]
    _run(
        library,
        "causal_backward",
        real,
        problem,
        [
            _per_site(hopping, length),
            _per_site(coupling, length),
            operand(diagonal, "t"),
            operand(values, "tc"),
            operand(initial_diagonal, ""),
            operand(initial_values, "c"),
            operand(diagonal_cotangent, "t"),
            operand(values_cotangent, "tc"),
            *(_per_site(tensor, length) for tensor in gradients[:5]),
            operand(gradients.inputs, "tc"),
            operand(gradients.initial_diagonal, ""),
            operand(gradients.initial_values, "c"),
        ],
    )
    return gradients


def gates(
    potential: Tensor,
    hopping: Tensor,
    energy: Tensor,
    eta: Tensor,
    initial: Tensor | None,
    *,
    complex_phase: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `Kernel.gates`."""
    library, limits = load(), limits_of(potential.dtype)
    *lead, length = potential.shape
    alpha = _complex_like(potential) if complex_phase else torch.empty_like(potential)
    beta, x, q = (torch.empty_like(potential) for _ in range(3))
    problem = library.problem(lead, length, potential.dtype)
    problem.complex_phase = int(complex_phase)
    _run(
        library,
        "gates",
        potential.dtype,
        problem,
        [
            *(_per_site(tensor, length) for tensor in (potential, hopping, energy, eta)),
            pairs(initial),
            *(operand(tensor, "t") for tensor in (alpha, beta, x, q)),
        ],
        lambda: [
            (Requirement.potential(limits), potential),
            (Requirement.hopping(limits), hopping),
            (Requirement.energy(limits), energy),
            (Requirement.eta(limits), eta),
        ],
    )
    return alpha, beta, x, q


def gates_backward(
    hopping: Tensor,
    eta: Tensor,
    x: Tensor,
    q: Tensor,
    initial: Tensor | None,
    alpha_cotangent: Tensor,
    beta_cotangent: Tensor,
    last_cotangent: Tensor | None,
    *,
    energy_shared: bool,
) -> GateGradients:
    """See `Kernel.gates_backward`."""
    library = load()
    *lead, length = x.shape
    gradients = GateGradients(
        torch.empty_like(x),
        torch.empty_like(x),
        _shared_like(x, shared=energy_shared),
        _shared_like(x, shared=eta.shape[-1] != length),
        None if initial is None else torch.empty(initial.shape, dtype=x.dtype),
    )
    problem = library.problem(lead, length, x.dtype)
    problem.complex_phase = int(alpha_cotangent.is_complex())
    _run(
        library,
        "gates_backward",
        x.dtype,
        problem,
        [
            *(_per_site(tensor, length) for tensor in (hopping, eta)),
            *(operand(tensor, "t") for tensor in (x, q)),
            pairs(initial),
            *(_per_site(tensor, length) for tensor in (alpha_cotangent, beta_cotangent)),
            pairs(last_cotangent),
            *(_per_site(tensor, length) for tensor in gradients[:4]),
            pairs(gradients.initial),
        ],
    )
    return gradients


def state(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    alpha: Tensor,
    beta: Tensor,
    initial: Tensor | None,
    *,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """See `Kernel.state`. Kept are the states before each chunk, in the library's own order."""
    library, limits = load(), limits_of(queries.dtype)
    *lead, length = alpha.shape
    problem = _state_problem(library, queries, values, alpha)
    outputs = torch.empty_like(values)
    size = (keys.shape[-1], values.shape[-1])
    last = torch.empty((*lead, *size), dtype=alpha.dtype)
    kept = None
    if keep:
        lanes = problem.shape[0] * problem.shape[1] * problem.shape[2]
        kept = torch.empty((lanes, -(-length // CHUNK), 1 + alpha.is_complex(), *size), dtype=queries.dtype)
    _run(
        library,
        "state",
        queries.dtype,
        problem,
        [
            *(operand(tensor, "tc") for tensor in (queries, keys, values)),
            *(operand(tensor, "t") for tensor in (alpha, beta)),
            operand(initial, "rc"),
            operand(outputs, "tc"),
            operand(last, "rc"),
            block(kept),
        ],
        lambda: [
            (Requirement.finite("queries", limits), queries),
            (Requirement.finite("keys", limits), keys),
            (Requirement.finite("values", limits), values),
            (Requirement.finite("alpha", limits), alpha),
            (Requirement.share(limits), beta),
        ],
    )
    return outputs, last, kept


def _state_problem(library: Library, queries: Tensor, values: Tensor, alpha: Tensor) -> Problem:
    *lead, length = alpha.shape
    problem = library.problem(lead, length, queries.dtype)
    problem.keys, problem.values, problem.chunk = queries.shape[-1], values.shape[-1], min(CHUNK, length)
    problem.complex_phase = int(alpha.is_complex())
    return problem


def state_backward(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    alpha: Tensor,
    beta: Tensor,
    kept: Tensor,
    output_cotangent: Tensor | None,
    last_cotangent: Tensor | None,
    *,
    with_initial: bool,
) -> StateGradients:
    """See `Kernel.state_backward`."""
    library = load()
    if output_cotangent is None:
        output_cotangent = torch.zeros_like(values)
    problem = _state_problem(library, queries, values, alpha)
    gradients = StateGradients(
        torch.empty_like(queries),
        torch.empty_like(keys),
        torch.empty_like(values),
        torch.empty_like(alpha),
        torch.empty_like(beta),
        torch.empty((*alpha.shape[:-1], *kept.shape[-2:]), dtype=alpha.dtype) if with_initial else None,
    )
    _run(
        library,
        "state_backward",
        queries.dtype,
        problem,
        [
            *(operand(tensor, "tc") for tensor in (queries, keys, values)),
            *(operand(tensor, "t") for tensor in (alpha, beta)),
            block(kept),
            operand(output_cotangent, "tc"),
            operand(last_cotangent, "rc"),
            *(operand(tensor, "tc") for tensor in gradients[:3]),
            *(operand(tensor, "t") for tensor in gradients[3:5]),
            operand(gradients.initial, "rc"),
        ],
    )
    return gradients
