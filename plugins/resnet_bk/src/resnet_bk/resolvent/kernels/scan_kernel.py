"""Every operation as elementwise PyTorch around two recurrences, which come from wherever they are fast."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from resnet_bk.resolvent.kernels.protocol import (
    CausalGradients,
    GateGradients,
    SiteGradients,
    StateGradients,
)

__all__ = ["MatrixState", "ScanKernel", "Scans"]


class Scans(Protocol):
    """The recurrences: what `resnet_bk.resolvent.kernels.scans` offers."""

    def denominators(
        self, detuning: Tensor, coupling: Tensor, eta: Tensor, before: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """The continued fraction."""

    def linear_scan(self, multiplier: Tensor, addend: Tensor, before: Tensor | None) -> Tensor:
        """t_i = multiplier_i t_{i-1} + addend_i."""

    def reversed_linear_scan(self, multiplier: Tensor, addend: Tensor, after: Tensor | None) -> Tensor:
        """t_i = multiplier_i t_{i+1} + addend_i."""


class MatrixState(Protocol):
    """The gated matrix state: what `resnet_bk.resolvent.kernels.torch_state` offers."""

    def state(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        alpha: Tensor,
        beta: Tensor,
        initial: Tensor | None,
        *,
        keep: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """See `Kernel.state`."""

    def state_backward(
        self,
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


class ScanKernel:
    """A kernel made of recurrences.

    Args:
        scans: The scalar ones.
        matrix: The matrix state.
    """

    def __init__(self, scans: Scans, matrix: MatrixState) -> None:
        self.scans = scans
        self.state = matrix.state
        self.state_backward = matrix.state_backward

    def green_diagonal(self, potential: Tensor, coupling: Tensor, energy: Tensor, eta: Tensor) -> Tensor:
        """See `Kernel.green_diagonal`."""
        return self._both_sides(potential, coupling, energy, eta)[0]

    def green_diagonal_backward(
        self, potential: Tensor, coupling: Tensor, energy: Tensor, eta: Tensor, cotangent: Tensor
    ) -> SiteGradients:
        """See `Kernel.green_diagonal_backward`."""
        length = potential.shape[-1]
        full, left, right = self._both_sides(potential, coupling, energy, eta)
        direct = (full * full).conj() * cotangent
        # What reaches a site through the left fractions of its successors, and the right ones of its
        # predecessors.
        rising = self._through(left, coupling, direct)
        falling = self._through(right.flip(-1), _coupling_from_right(coupling), direct.flip(-1)).flip(-1)
        total = direct + rising + falling
        coupling_gradient = torch.zeros_like(potential)
        coupling_gradient[..., 1:] = (
            (direct + rising)[..., 1:].conj() * left[..., :-1]
            + (direct + falling)[..., :-1].conj() * right[..., 1:]
        ).real
        return SiteGradients(
            -total.real,
            coupling_gradient,
            summed(total.real, shared=energy.shape[-1] != length),
            summed(total.imag, shared=eta.shape[-1] != length),
        )

    def _both_sides(
        self, potential: Tensor, coupling: Tensor, energy: Tensor, eta: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """G_ii, and the fractions from the left and from the right."""
        detuning = potential - energy
        left = _inverse(*self.scans.denominators(detuning, coupling, eta, None))
        mirrored = eta.expand_as(detuning).flip(-1)
        right = _inverse(
            *self.scans.denominators(detuning.flip(-1), _coupling_from_right(coupling), mirrored, None)
        ).flip(-1)
        x, q = detuning.clone(), eta.expand_as(detuning).clone()
        for part, fraction, sign in ((x, "real", -1), (q, "imag", 1)):
            part[..., 1:] += sign * coupling[..., 1:] * getattr(left, fraction)[..., :-1]
            part[..., :-1] += sign * coupling[..., 1:] * getattr(right, fraction)[..., 1:]
        return _inverse(x, q), left, right

    def _through(self, fraction: Tensor, coupling: Tensor, direct: Tensor) -> Tensor:
        """t_i = conj(g_i^2) s_{i+1} (w_{i+1} + t_{i+1}), t = 0 at the last site."""
        weight = (fraction * fraction).conj()[..., :-1] * coupling[..., 1:]
        inner = (
            self.scans.reversed_linear_scan(weight, weight * direct[..., 1:], None)
            if weight.shape[-1]
            else weight
        )
        return torch.cat([inner, torch.zeros_like(direct[..., :1])], -1)

    def causal(
        self,
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
        before = None if initial_diagonal is None else (initial_diagonal.real, initial_diagonal.imag)
        s = _product(hopping, coupling)
        diagonal = _inverse(*self.scans.denominators(potential - energy, s, eta, before))
        if inputs is None or hopping is None:
            return diagonal, None
        channels_last = inputs.transpose(-1, -2)
        values = self.scans.linear_scan(
            (-diagonal * hopping).unsqueeze(-2), diagonal.unsqueeze(-2) * channels_last, initial_values
        )
        return diagonal, values.transpose(-1, -2)

    def causal_backward(
        self,
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
        s = _product(hopping, coupling)
        square = (diagonal * diagonal).conj()
        local = torch.zeros_like(diagonal) if diagonal_cotangent is None else square * diagonal_cotangent
        inputs_gradient = values_gradient = hopping_gradient = None
        if values is not None and hopping is not None:
            hopping_gradient = torch.zeros_like(hopping)
            inputs_gradient = torch.zeros_like(values.real)
        if values is not None and hopping is not None and values_cotangent is not None:
            conjugate = diagonal.conj().unsqueeze(-2)
            reach = -conjugate[..., :-1] * hopping[..., 1:].unsqueeze(-2)
            reach = torch.cat([reach, torch.zeros_like(conjugate[..., :1])], -1)
            adjoint = self.scans.reversed_linear_scan(
                reach, conjugate * values_cotangent.transpose(-1, -2), None
            )
            adjoint = adjoint.transpose(-1, -2)
            inputs_gradient = adjoint.real
            local = local + (adjoint * values.conj()).sum(-1)
            hopping_gradient = -(adjoint.conj() * _shifted(values, initial_values, -2)).real.sum(-1)
            values_gradient = -hopping[..., :1] * adjoint[..., 0, :]
        weight = torch.cat([square[..., :-1] * s[..., 1:], torch.zeros_like(square[..., :1])], -1)
        total = self.scans.reversed_linear_scan(weight, local, None)
        coupling_gradient = (total.conj() * _shifted(diagonal, initial_diagonal, -1)).real
        if coupling is None and hopping is not None and hopping_gradient is not None:
            hopping_gradient = hopping_gradient + 2 * hopping * coupling_gradient
        return CausalGradients(
            -total.real,
            hopping_gradient,
            None if coupling is None else coupling_gradient,
            summed(total.real, shared=energy_shared),
            summed(total.imag, shared=eta_shared),
            inputs_gradient,
            None if initial_diagonal is None else s[..., 0] * total[..., 0],
            values_gradient if initial_values is not None else None,
        )

    def gates(
        self,
        potential: Tensor,
        hopping: Tensor,
        energy: Tensor,
        eta: Tensor,
        initial: Tensor | None,
        *,
        complex_phase: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Kernel.gates`."""
        before = None if initial is None else _parts(initial[..., 0], initial[..., 1])
        x, q = self.scans.denominators(potential - energy, hopping * hopping, eta, before)
        real, imaginary, q_before = _site_before(x, q, initial)
        if complex_phase:
            root = -hopping * torch.sqrt(q_before / q)
            alpha = torch.complex(root * real, root * imaginary)
        else:
            alpha = hopping.abs() * torch.sqrt(imaginary / q)
        return alpha, eta / q, x, q

    def gates_backward(
        self,
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
        real, imaginary, q_before = _site_before(x, q, initial)
        if alpha_cotangent.is_complex():
            root = torch.sqrt(q_before / q)
            hopping_gradient = -root * (real * alpha_cotangent.real + imaginary * alpha_cotangent.imag)
            real_cotangent = -hopping * root * alpha_cotangent.real
            imaginary_cotangent = -hopping * root * alpha_cotangent.imag
            half = hopping_gradient * hopping / 2
            q_before_cotangent, q_local = half / q_before, -half / q
        else:
            root = torch.sqrt(imaginary / q)
            hopping_gradient = hopping.sign() * alpha_cotangent * root
            half = hopping.abs() * alpha_cotangent * root / 2
            real_cotangent = torch.zeros_like(root)
            # Where it is 0 there is no site before, and the value goes nowhere.
            imaginary_cotangent = torch.where(imaginary > 0, half / imaginary, 0)
            q_before_cotangent, q_local = torch.zeros_like(root), -half / q
        # The direct part of d beta / d eta, 1 / q - eta / q^2, as a product: the difference can vanish.
        coupling = hopping * hopping
        eta_local = q_local + beta_cotangent * coupling * imaginary / (q * q)
        q_local = q_local - beta_cotangent * eta / (q * q)
        # The map from d_{i-1} to d_i is holomorphic, so cotangents of (x, q), taken as x^ - i q^, go back by
        # a product.
        g = torch.complex(real, imaginary)
        onto_before = -(g * g).conj() * torch.complex(real_cotangent, imaginary_cotangent)
        onto_before = torch.complex(onto_before.real, onto_before.imag - q_before_cotangent)
        local = torch.complex(torch.zeros_like(q_local), -q_local)
        reach = (g * g).conj() * coupling
        after = torch.zeros_like(local[..., :1])
        if last_cotangent is not None:
            after = torch.complex(last_cotangent[..., 0], -last_cotangent[..., 1]).unsqueeze(-1)
        arriving = torch.cat([onto_before[..., 1:], after], -1)
        # At site i: the cotangent of d_i is local_i + onto_before_{i+1} + reach_{i+1} times that of d_{i+1}.
        multiplier = torch.cat([reach[..., 1:], torch.zeros_like(reach[..., :1])], -1)
        total = self.scans.reversed_linear_scan(multiplier, local + arriving, None)
        later = arriving + multiplier * torch.cat([total[..., 1:], torch.zeros_like(after)], -1)
        x_hat, q_hat = total.real, -total.imag
        coupling_gradient = q_hat * imaginary - x_hat * real
        initial_gradient = None
        if initial is not None:
            first = onto_before[..., 0] + reach[..., 0] * total[..., 0]
            initial_gradient = torch.stack([first.real, -first.imag], -1)
        return GateGradients(
            x_hat,
            hopping_gradient + 2 * hopping * coupling_gradient,
            summed(-x_hat, shared=energy_shared),
            summed(eta_local - later.imag, shared=eta.shape[-1] != q.shape[-1]),
            initial_gradient,
        )


def _coupling_from_right(coupling: Tensor) -> Tensor:
    """The couplings of the mirrored chain; again the first one links to nothing."""
    return coupling.roll(-1, -1).flip(-1)


def _inverse(x: Tensor, q: Tensor) -> Tensor:
    """1 / (x - i q)."""
    inverse = 1 / (x * x + q * q)
    return torch.complex(x * inverse, q * inverse)


def _product(hopping: Tensor | None, coupling: Tensor | None) -> Tensor:
    if coupling is not None:
        return coupling
    assert hopping is not None
    return hopping * hopping


def _shifted(values: Tensor, initial: Tensor | None, dimension: int) -> Tensor:
    """Every site's predecessor along `dimension`; before the first comes the initial value, or 0."""
    first = values.narrow(dimension, 0, 1)
    before = torch.zeros_like(first) if initial is None else initial.unsqueeze(dimension).expand_as(first)
    return torch.cat([before, values.narrow(dimension, 0, values.shape[dimension] - 1)], dimension)


def summed(gradient: Tensor, *, shared: bool) -> Tensor:
    """The gradient of a quantity; where all sites share it, its sum over them, taken in double precision."""
    if not shared:
        return gradient
    return gradient.sum(-1, keepdim=True, dtype=torch.float64).to(gradient.dtype)


def _parts(x: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    inverse = 1 / (x * x + q * q)
    return x * inverse, q * inverse


def _site_before(x: Tensor, q: Tensor, initial: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Both parts of 1 / d, and q, of every site's predecessor.

    Where there is none they are 0, 0 and 1: q is put under a root, whose gradient at 0 is infinite.
    """
    real, imaginary = _parts(x, q)
    zero = torch.zeros_like(x[..., :1])
    if initial is None:
        first: tuple[Tensor, ...] = (zero, zero, zero + 1)
    else:
        first = (
            *(part.unsqueeze(-1) for part in _parts(initial[..., 0], initial[..., 1])),
            initial[..., 1:],
        )
    shifted = [
        torch.cat([a.expand_as(zero), b[..., :-1]], -1)
        for a, b in zip(first, (real, imaginary, q), strict=True)
    ]
    return shifted[0], shifted[1], shifted[2]
