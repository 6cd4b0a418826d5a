"""The exact operations, for users: shapes are made to fit, a kernel is chosen, gradients are exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch.nn import functional

from resnet_bk.errors import InvalidInputError
from resnet_bk.resolvent import functions
from resnet_bk.resolvent.inputs import Sites, prepare_sites
from resnet_bk.resolvent.kernels.limits import Requirement, limits_of, verify
from resnet_bk.resolvent.selection import kernel_name, kernel_of

if TYPE_CHECKING:
    from typing import Literal

    from torch import Tensor

__all__ = [
    "CausalGreen",
    "Gates",
    "causal_gates",
    "causal_green_diagonal",
    "causal_green_operator",
    "green_diagonal",
    "green_operator",
]


class CausalGreen(NamedTuple):
    """The causal Green operator's results.

    Attributes:
        values: y, (..., N, P) complex.
        diagonal: g, (..., N) complex. Its last site and that of `values` are the state to go on from.
    """

    values: Tensor
    diagonal: Tensor


class Gates(NamedTuple):
    """Gates in normal form: |alpha|^2 + beta = 1 at every site but one without a site before it.

    Attributes:
        alpha: What is kept of the state, (..., N): complex, or real and not negative in the real phase.
        beta: The share of the new input, (..., N), in (0, 1].
        state: x and q of the last site, (..., 2), d = x - i q: pass it as `initial` to go on from there.
    """

    alpha: Tensor
    beta: Tensor
    state: Tensor


def green_diagonal(
    potential: Tensor,
    coupling: Tensor,
    energy: Tensor | float = 0.0,
    eta: Tensor | float = 1.0,
    *,
    kernel: str = "auto",
) -> Tensor:
    """The full diagonal G_ii = [(H - z)^-1]_ii of a tridiagonal H, in O(N), exactly; it sees the future.

    G_ii = 1 / (a_i - z - s_i g_{i-1} - s_{i+1} r_{i+1}) with the continued fractions g from the left and r
    from the right (for example Economou, Green's Functions in Quantum Physics, on recursion; the scattering
    literature calls them left- and right-connected). |G_ii| <= 1 / eta. Never use it to predict the next
    token.

    Args:
        potential: a, the diagonal of H, (..., N), in any unit of energy.
        coupling: s, (..., N) or what broadcasts to it: s_i = b_i c_i >= 0, the product of the two
            off-diagonal entries between sites i - 1 and i; the first entry is ignored. Unit: energy squared.
        energy: Re z, a number, (...,1) or (..., N).
        eta: Im z > 0, likewise: how far above the real axis, site by site if you like.
        kernel: `auto`, `torch`, `cpu` or `triton`; RESNET_BK_KERNEL in the environment overrides it.

    Returns:
        (..., N), complex64 or complex128.

    Raises:
        InvalidInputError: A shape, type or value is not allowed; it names the argument.
        KernelUnavailableError: The kernel that was named can't run here.
    """
    sites = prepare_sites(
        {"potential": potential, "coupling": coupling, "energy": energy, "eta": eta}, {}, "potential"
    )
    chosen = kernel_name(sites.device, kernel)
    tensors = (
        sites.real("potential", potential),
        sites.real("coupling", coupling),
        sites.real("energy", energy, shared=True),
        sites.real("eta", eta, shared=True),
    )
    _verify_sites(sites, chosen, *tensors)
    result: Tensor = functions.GreenDiagonal.compute(kernel_of(chosen), *tensors)
    return sites.restore(result, 1)


def causal_green_diagonal(
    potential: Tensor,
    coupling: Tensor,
    energy: Tensor | float = 0.0,
    eta: Tensor | float = 1.0,
    *,
    initial: Tensor | None = None,
    kernel: str = "auto",
) -> Tensor:
    """The causal diagonal g_i = [(H_[0..i] - z)^-1]_ii, last entry of the resolvent of the first i + 1 sites.

    g_i = 1 / (a_i - z - s_i g_{i-1}): Im(1 / g_i) <= -eta, so |g_i| <= 1 / eta. Site i depends on sites j <=
    i.

    Args:
        potential: a, (..., N).
        coupling: s_i = b_i c_i >= 0, (..., N); the first entry counts only with `initial`.
        energy: Re z, a number, (..., 1) or (..., N).
        eta: Im z > 0, likewise.
        initial: g of the site before the first, (...), complex: the last g of the piece before.
        kernel: See `green_diagonal`.

    Returns:
        (..., N), complex.

    Raises:
        InvalidInputError: A shape, type or value is not allowed; it names the argument.
        KernelUnavailableError: The kernel that was named can't run here.
    """
    sites = prepare_sites(
        {"potential": potential, "coupling": coupling, "energy": energy, "eta": eta}, {}, "potential"
    )
    chosen = kernel_name(sites.device, kernel)
    tensors = (
        sites.real("potential", potential),
        sites.real("coupling", coupling),
        sites.real("energy", energy, shared=True),
        sites.real("eta", eta, shared=True),
    )
    before = None if initial is None else sites.state("initial", initial, (), sites.complex_dtype)
    _verify_sites(sites, chosen, *tensors)
    verify([(Requirement.finite("initial", limits_of(sites.dtype)), before)])
    potential, coupling, energy, eta = tensors
    diagonal, _ = functions.Causal.compute(
        kernel_of(chosen), potential, None, coupling, energy, eta, None, before, None
    )
    return sites.restore(diagonal, 1)


def causal_green_operator(
    inputs: Tensor,
    potential: Tensor,
    hopping: Tensor,
    energy: Tensor | float = 0.0,
    eta: Tensor | float = 1.0,
    *,
    coupling: Tensor | None = None,
    initial: tuple[Tensor, Tensor] | None = None,
    kernel: str = "auto",
) -> CausalGreen:
    """The causal Green operator y_i = sum_{j <= i} [(H_[0..i] - z)^-1]_ij u_j, on every channel of u.

    y_i = g_i (u_i - c_i y_{i-1}), a 1-semiseparable matrix applied in O(N). |y| can reach |u| / eta times the
    memory's length; `causal_gates` gives the same operator with a bounded state.

    Args:
        inputs: u, (..., N, P), real.
        potential: a, (..., N).
        hopping: c_i, the entry of H below the diagonal between sites i - 1 and i, (..., N); the first counts
            only with `initial`.
        energy: Re z, a number, (..., 1) or (..., N).
        eta: Im z > 0, likewise.
        coupling: s_i = b_i c_i >= 0 where H is not symmetric; left out, c_i^2.
        initial: The state to go on from: (y, g) of the site before the first, (..., P) and (...), complex.
        kernel: See `green_diagonal`.

    Raises:
        InvalidInputError: A shape, type or value is not allowed; it names the argument.
        KernelUnavailableError: The kernel that was named can't run here.
    """
    sites = prepare_sites(
        {"potential": potential, "hopping": hopping, "energy": energy, "eta": eta, "coupling": coupling},
        {"inputs": inputs},
        "inputs",
    )
    if inputs.is_complex():
        raise InvalidInputError(
            "`inputs` is complex, and must be real",
            tensor="inputs",
            advice="The operator is linear: pass real and imaginary part as two channels.",
        )
    chosen = kernel_name(sites.device, kernel)
    a, c = sites.real("potential", potential), sites.real("hopping", hopping)
    s = None if coupling is None else sites.real("coupling", coupling)
    e, h = sites.real("energy", energy, shared=True), sites.real("eta", eta, shared=True)
    u = sites.channels("inputs", inputs)
    y_before = g_before = None
    if initial is not None:
        y_before = sites.state("initial", initial[0], (inputs.shape[-1],), sites.complex_dtype)
        g_before = sites.state("initial", initial[1], (), sites.complex_dtype)
    limits = limits_of(sites.dtype)
    if chosen != "cpu":
        _verify_sites(sites, chosen, a, s, e, h)
        verify([(Requirement.hopping(limits), c), (Requirement.finite("inputs", limits), u)])
    verify([(Requirement.finite("initial", limits), tensor) for tensor in (y_before, g_before)])
    diagonal, values = functions.Causal.compute(kernel_of(chosen), a, c, s, e, h, u, g_before, y_before)
    return CausalGreen(sites.restore(values, 2), sites.restore(diagonal, 1))


def green_operator(
    inputs: Tensor,
    potential: Tensor,
    hopping: Tensor,
    energy: Tensor | float = 0.0,
    eta: Tensor | float = 1.0,
    *,
    upper: Tensor | None = None,
    kernel: str = "auto",
) -> Tensor:
    """The whole resolvent on vectors, x = (H - z)^-1 u on every channel, in O(N); it sees the future.

    x_i = G_ii (u_i - c_i y_{i-1} - b_{i+1} w_{i+1}): y is the causal operator on the sites before, w its
    mirror image on the sites behind (elimination of both blocks, that is the Schur complement).

    Args:
        inputs: u, (..., N, P), real.
        potential: a, (..., N).
        hopping: c_i, the entry below the diagonal between sites i - 1 and i, (..., N); the first is ignored.
        energy: Re z, a number, (..., 1) or (..., N).
        eta: Im z > 0, likewise.
        upper: b_i, the entry above the diagonal between the same sites; left out, c_i. b_i c_i >= 0.
        kernel: See `green_diagonal`.

    Returns:
        (..., N, P), complex.

    Raises:
        InvalidInputError: A shape, type or value is not allowed; it names the argument.
        KernelUnavailableError: The kernel that was named can't run here.
    """
    above = hopping if upper is None else upper
    coupling = hopping * above
    before = causal_green_operator(
        inputs, potential, hopping, energy, eta, coupling=coupling, kernel=kernel
    ).values
    behind = causal_green_operator(
        inputs.flip(-2),
        potential.flip(-1),
        _mirrored(above),
        _flipped(energy),
        _flipped(eta),
        coupling=_mirrored(coupling),
        kernel=kernel,
    ).values.flip(-2)
    full = green_diagonal(potential, coupling, energy, eta, kernel=kernel)
    from_before = functional.pad((hopping[..., 1:, None] * before[..., :-1, :]), (0, 0, 1, 0))
    from_behind = functional.pad((above[..., 1:, None] * behind[..., 1:, :]), (0, 0, 0, 1))
    return full.unsqueeze(-1) * (inputs - from_before - from_behind)


def _mirrored(link: Tensor) -> Tensor:
    """What links sites i - 1 and i, of the chain read from its end; the first entry links to nothing."""
    return link.roll(-1, -1).flip(-1)


def _flipped(value: Tensor | float) -> Tensor | float:
    return value if isinstance(value, (int, float)) or not value.dim() else value.flip(-1)


def causal_gates(
    potential: Tensor,
    hopping: Tensor,
    energy: Tensor | float = 0.0,
    eta: Tensor | float = 1.0,
    *,
    phase: Literal["real", "complex"] = "real",
    initial: Tensor | None = None,
    kernel: str = "auto",
) -> Gates:
    """The causal Green operator's gates in normal form, for a symmetric H.

    With d_i = 1 / g_i = x_i - i q_i: x_i = a_i - E - c_i^2 x_{i-1} / |d_{i-1}|^2, q_i = eta_i + m_i,
    m_i = c_i^2 q_{i-1} / |d_{i-1}|^2, beta_i = eta_i / q_i, alpha_i = -c_i g_{i-1} sqrt(q_{i-1} / q_i). Then
    |alpha_i|^2 = m_i / q_i = 1 - beta_i (formed as that product, never by subtraction), and
    r_i = alpha_i r_{i-1} + sqrt(beta_i) u_i has weights of norm exactly 1 (the Ward identity
    sum_j eta_j |G_ij|^2 = Im g_i). In the real phase alpha_i is |alpha_i|.

    Always in float32 at least, whatever autocast says.

    Args:
        potential: a, (..., N).
        hopping: c, (..., N); the first counts only with `initial`.
        energy: E, a number, (..., 1) or (..., N).
        eta: > 0, likewise.
        phase: `real` or `complex`.
        initial: The `state` of the piece before, (..., 2).
        kernel: See `green_diagonal`.

    Raises:
        InvalidInputError: A shape, type or value is not allowed; it names the argument.
        KernelUnavailableError: The kernel that was named can't run here.
    """
    if phase not in {"real", "complex"}:
        raise InvalidInputError(f"there is no phase {phase!r}", tensor="phase", advice="Use real or complex.")
    sites = prepare_sites(
        {"potential": potential, "hopping": hopping, "energy": energy, "eta": eta}, {}, "potential"
    )
    chosen = kernel_name(sites.device, kernel)
    a, c = sites.real("potential", potential), sites.real("hopping", hopping)
    e, h = sites.real("energy", energy, shared=True), sites.real("eta", eta, shared=True)
    before = None if initial is None else sites.state("initial", initial, (2,), sites.dtype)
    limits = limits_of(sites.dtype)
    if chosen != "cpu":
        _verify_sites(sites, chosen, a, None, e, h)
        verify([(Requirement.hopping(limits), c)])
    verify([(Requirement.finite("initial", limits), before)])
    alpha, beta, state = functions.Gates.compute(kernel_of(chosen), phase == "complex", a, c, e, h, before)
    return Gates(sites.restore(alpha, 1), sites.restore(beta, 1), sites.restore(state, 1))


def _verify_sites(
    sites: Sites, chosen: str, potential: Tensor, coupling: Tensor | None, energy: Tensor, eta: Tensor
) -> None:
    """Refuse values out of bounds; the compiled kernel does it itself, while it has them at hand."""
    if chosen == "cpu":
        return
    limits = limits_of(sites.dtype)
    verify(
        [
            (Requirement.potential(limits), potential),
            (Requirement.coupling(limits), coupling),
            (Requirement.energy(limits), energy),
            (Requirement.eta(limits), eta),
        ]
    )
