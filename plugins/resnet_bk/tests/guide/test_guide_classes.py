"""BirmanSchwingerCore, SemiseparableMatrix, ScatteringRouter and the prime bumps do what their names say."""

from __future__ import annotations

import math

import pytest
import torch

import resnet_bk
from resnet_bk import (
    BirmanSchwingerCore,
    InvalidInputError,
    PrimeBumpPotential,
    ScatteringRouter,
    SemiseparableMatrix,
)
from resnet_bk.prime_bump import primes_below
from resnet_bk.resolvent import causal_green_diagonal

F64 = torch.float64


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every run."""
    torch.manual_seed(11)


def dense(core: BirmanSchwingerCore, v: torch.Tensor, z: complex) -> torch.Tensor:
    """The diagonal of the inverse of the whole matrix."""
    length = v.shape[-1]
    ones = torch.ones(length - 1, dtype=F64)
    matrix = torch.diag_embed(v.double() - 2) + torch.diag(ones, 1) + torch.diag(ones, -1)
    if core.use_semiseparable:
        u, w = core.U[:length].double(), core.V[:length].double()
        matrix = matrix + (u @ w.mT + w @ u.mT) / 2
    return torch.linalg.inv(matrix - z * torch.eye(length, dtype=torch.complex128)).diagonal(dim1=-2, dim2=-1)


@pytest.mark.parametrize("scale", [0.01, 1.0])
@pytest.mark.parametrize("low_rank", [True, False])
@pytest.mark.parametrize("z", [1.0j, 0.3 + 0.05j])
def test_core_gives_the_dense_inverse(low_rank, z, scale):
    """With low-rank parts of any size, at any energy above the axis."""
    core = BirmanSchwingerCore(64, use_semiseparable=low_rank).double()
    if low_rank:
        torch.nn.init.normal_(core.U, std=scale)
        torch.nn.init.normal_(core.V, std=scale)
    v = torch.randn(3, 64, dtype=F64)
    features = core(v, z)[0].detach()
    assert features.shape == (3, 64, 2)
    torch.testing.assert_close(torch.view_as_complex(features), dense(core, v, z), rtol=1e-8, atol=1e-9)
    assert float(torch.view_as_complex(features).abs().max()) <= (1 + 1e-9) / z.imag


def test_core_takes_z_and_has_the_guides_default():
    """The default of z is 1j; epsilon scales its imaginary part, and so changes the result."""
    core = BirmanSchwingerCore(32)
    v = torch.randn(2, 32)
    torch.testing.assert_close(core(v)[0], core(v, z=1.0j)[0])
    half = BirmanSchwingerCore(32, epsilon=0.5)
    half.load_state_dict(core.state_dict())
    torch.testing.assert_close(half(v)[0], core(v, z=0.5j)[0])
    assert not torch.allclose(half(v)[0], core(v)[0])
    with pytest.raises(InvalidInputError, match="`z`"):
        core(v, z=1.0)


def test_core_has_exact_gradients():
    """Potential and both factors, checked numerically."""
    core = BirmanSchwingerCore(6, semiseparable_rank=2).double()

    def features(v: torch.Tensor, u: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        result = torch.func.functional_call(core, {"U": u, "V": w}, (v, 0.2 + 0.5j))
        return result[0]

    arguments = (torch.randn(2, 6, dtype=F64), torch.randn(6, 2, dtype=F64), torch.randn(6, 2, dtype=F64))
    assert torch.autograd.gradcheck(features, tuple(a.requires_grad_() for a in arguments))


def test_core_works_where_others_overflow():
    """16384 sites: no zeros, no NaN, no N x N matrix (it would take 2 GB)."""
    features, facts = BirmanSchwingerCore(16384)(torch.randn(1, 16384))
    features = features.detach()
    assert torch.isfinite(features).all()
    assert float(features[..., 1].min()) > 0
    assert math.isfinite(float(facts["hilbert_schmidt_norm"]))


def test_core_reports_the_hilbert_schmidt_norm_of_each_sequence():
    """Against the kernel |V|^1/2 R_0 |V|^1/2 written out, R_0 from a large free lattice."""
    z, length, margin = 0.3 + 0.5j, 12, 60
    size = length + 2 * margin
    ones = torch.ones(size - 1, dtype=F64)
    free = torch.diag(torch.full((size,), -2.0, dtype=F64)) + torch.diag(ones, 1) + torch.diag(ones, -1)
    inverse = torch.linalg.inv(free - z * torch.eye(size, dtype=torch.complex128))
    inner = inverse[margin : margin + length, margin : margin + length]
    v = torch.randn(2, length, dtype=F64)
    root = v.abs().sqrt()
    expected = (root.unsqueeze(-1) * inner * root.unsqueeze(-2)).abs().square().sum((-1, -2)).sqrt()
    core = BirmanSchwingerCore(length, schatten_threshold=float(expected.mean()))
    facts = core(v, z)[1]
    torch.testing.assert_close(facts["hilbert_schmidt_norm"], expected, rtol=1e-8, atol=0)
    assert facts["schatten_exceeded"].tolist() == (expected > expected.mean()).tolist()


def test_core_computes_in_double_precision_where_it_must():
    """Past the threshold of the condition number float32 inputs get float64 digits."""
    v = torch.randn(1, 200)
    precise = BirmanSchwingerCore(200, use_semiseparable=False, precision_upgrade_threshold=1e3)
    features, facts = precise(v, 0.1 + 1e-3j)
    assert facts["precision"] == "float64"
    assert features.dtype == torch.float32
    expected = dense(precise, v, 0.1 + 1e-3j)
    assert float((torch.view_as_complex(features.double()) / expected - 1).abs().max()) < 2e-7
    assert BirmanSchwingerCore(200)(v)[1]["precision"] == "float32"


@pytest.mark.parametrize(("energy", "constant"), [(-2.0, 4.0), (-1.0, 3.0), (0.5, 0.0)])
def test_core_knows_the_band(energy, constant):
    """Mourre's constant of the free lattice is 4 - (E + 2)^2 inside the band and 0 outside."""
    facts = BirmanSchwingerCore(8)(torch.zeros(1, 8), complex(energy, 1.0))[1]
    assert facts["mourre_constant"] == constant
    assert facts["limiting_absorption"] is (constant > 0)
    bare = BirmanSchwingerCore(8, use_mourre=False, use_lap=False)(torch.zeros(1, 8))[1]
    assert not {"mourre_constant", "limiting_absorption"} & set(bare)


@pytest.mark.parametrize(("length", "rank"), [(16, 2), (64, 6), (128, 7)])
def test_factorize_finds_a_matrix_of_that_form_again(length, rank):
    """T + U V^T to 1e-6 and better, though T hides three diagonals of U V^T."""
    u, v = (torch.randn(length, rank, dtype=F64) for _ in range(2))
    matrix = (
        torch.diag(torch.randn(length, dtype=F64))
        + torch.diag(torch.randn(length - 1, dtype=F64), 1)
        + torch.diag(torch.randn(length - 1, dtype=F64), -1)
    )
    found = SemiseparableMatrix(length, rank, dtype=F64)
    bands, left, right = found.factorize(matrix + u @ v.mT)
    assert bands.shape == (3, length)
    rebuilt = (
        torch.diag(bands[0]) + torch.diag(bands[1, 1:], 1) + torch.diag(bands[2, 1:], -1) + left @ right.mT
    )
    error = (rebuilt - matrix - u @ v.mT).norm() / (matrix + u @ v.mT).norm()
    assert float(error) < 1e-6
    # T itself is found, not only the sum.
    assert float((bands[0] - matrix.diagonal()).abs().max()) < 1e-4


def test_factorize_with_rank_to_spare():
    """A rank larger than needed changes nothing."""
    u, v = (torch.randn(40, 2, dtype=F64) for _ in range(2))
    found = SemiseparableMatrix(40, 5, dtype=F64)
    found.factorize(u @ v.mT + torch.eye(40, dtype=F64))
    x = torch.randn(3, 40, dtype=F64)
    torch.testing.assert_close(found(x), x @ (u @ v.mT + torch.eye(40, dtype=F64)).mT, rtol=1e-6, atol=1e-6)


def test_factorize_keeps_the_bands_of_any_matrix():
    """Of a full matrix the three diagonals are exact; U V^T is as near as its rank allows."""
    matrix = torch.randn(20, 20, dtype=F64)
    found = SemiseparableMatrix(20, 3, dtype=F64)
    found.factorize(matrix)
    columns = found(torch.eye(20, dtype=F64)).mT
    for offset in (-1, 0, 1):
        torch.testing.assert_close(columns.diagonal(offset), matrix.diagonal(offset))
    with pytest.raises(InvalidInputError, match="shape"):
        found.factorize(matrix[:10])


def test_resolvent_diagonal_of_what_was_found():
    """Non-symmetric T and a large low-rank part, with a potential for each sample."""
    length = 48
    matrix = torch.diag(torch.rand(length - 1, dtype=F64) + 0.2, 1) + torch.diag(
        torch.rand(length - 1, dtype=F64) + 0.2, -1
    )
    u = torch.randn(length, 3, dtype=F64)
    found = SemiseparableMatrix(length, 3, dtype=F64)
    found.factorize(matrix + u @ u.mT)
    v = torch.randn(2, length, dtype=F64)
    whole = matrix + u @ u.mT + torch.diag_embed(v)
    expected = torch.linalg.inv(whole - (0.1 + 0.7j) * torch.eye(length, dtype=torch.complex128))
    actual = found.resolvent_diagonal(0.1 + 0.7j, v)
    torch.testing.assert_close(actual, expected.diagonal(dim1=-2, dim2=-1), rtol=1e-6, atol=1e-7)


def test_router_reaches_every_expert_and_only_by_the_phase():
    """All phases of a half plane are divided among the experts, whatever the shares."""
    router = ScatteringRouter(8, top_k=2)
    torch.nn.init.normal_(router.shares, std=2.0)
    phases = torch.linspace(1e-4, math.pi - 1e-4, 20001)
    experts, weights = router(torch.polar(torch.rand(20001) + 0.1, phases))
    assert experts[:, 0].unique().tolist() == list(range(8))
    torch.testing.assert_close(weights.sum(-1), torch.ones(20001))
    assert bool((weights[:, 0] >= weights[:, 1]).all())
    assert bool((experts[:, 0] != experts[:, 1]).all())


def test_router_takes_real_pairs_as_complex_numbers():
    """(..., N, 2) and (..., N) complex are the same thing."""
    g = causal_green_diagonal(torch.randn(2, 30), torch.ones(2, 30))
    router = ScatteringRouter(4)
    for one, other in zip(router(g), router(torch.view_as_real(g)), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(InvalidInputError, match="shape"):
        router(torch.zeros(2, 30))


def test_router_is_causal_and_keeps_samples_apart():
    """One token's phase changes no other token's routing, in its sample or another."""
    router = ScatteringRouter(8)
    v = torch.randn(3, 50)
    changed = v.clone()
    changed[1, 30] += 5
    before, after = (router(causal_green_diagonal(x, torch.ones_like(x))) for x in (v, changed))
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old[[0, 2]], new[[0, 2]])
        assert torch.equal(old[1, :30], new[1, :30])


def test_router_has_gradients():
    """The weights have gradients with respect to potential, shares and sharpness."""
    router = ScatteringRouter(4)
    v = torch.randn(2, 50, requires_grad=True)
    experts, weights = router(causal_green_diagonal(v, torch.ones(2, 50)))
    (weights[..., 0].sum() + router.statistics(experts, weights).balance_loss).backward()
    for tensor in (v, router.shares, router.sharpness):
        assert bool(torch.isfinite(tensor.grad).all())
        assert float(tensor.grad.abs().max()) > 0


def test_router_counts_its_load():
    """Even routing has entropy and balance loss 1; a single expert for all has entropy 0 and loss E."""
    router = ScatteringRouter(4, top_k=1)
    even = router.statistics(torch.arange(4).repeat(5).view(1, 20, 1), torch.ones(1, 20, 1))
    assert (float(even.entropy), float(even.balance_loss)) == pytest.approx((1.0, 1.0))
    one = router.statistics(torch.full((1, 20, 1), 2), torch.ones(1, 20, 1))
    assert one.load.tolist() == [0, 0, 1, 0]
    assert (float(one.entropy), float(one.balance_loss)) == pytest.approx((0.0, 4.0))
    with pytest.raises(InvalidInputError, match="top_k"):
        ScatteringRouter(2, top_k=3)


def test_prime_bumps_lie_at_logarithms_of_prime_powers():
    """Narrow bumps: V(k log p) is the bump's own height, for k above 1 too, and next to nothing between."""
    epsilon = 1e-6
    bumps = PrimeBumpPotential(20, scale=0.5, epsilon=epsilon, k_max=3)
    for prime in (2, 3, 19):
        for power in (1, 2, 3):
            height = math.log(prime) * prime ** (-power * (0.5 + epsilon)) * 0.5 / math.sqrt(epsilon)
            place = torch.tensor([power * math.log(prime)], dtype=F64)
            assert float(bumps.at(place)) == pytest.approx(height, rel=1e-9)
    assert float(bumps.at(torch.tensor([0.35], dtype=F64))) == 0


def test_prime_bumps_on_sites_equal_the_sum_written_out():
    """Every site, with sites past n_seq at zero."""
    bumps = PrimeBumpPotential(40)
    sites = torch.arange(40, dtype=F64)
    expected = torch.zeros(40, dtype=F64)
    for prime in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        for power in (1, 2, 3):
            height = math.log(prime) * prime ** (-power * 1.5)
            expected += 0.02 * height * torch.exp(-((sites - power * math.log(prime)) ** 2) / 2)
    torch.testing.assert_close(bumps(torch.arange(40)).double(), expected, rtol=1e-5, atol=1e-12)
    assert float(bumps(torch.tensor([40, 1000])).abs().max()) == 0
    assert not bumps.state_dict()
    assert primes_below(30).tolist() == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]


def test_prime_bumps_of_a_million_sites_are_quick_to_make():
    """Only the sites that bumps reach are computed."""
    bumps = PrimeBumpPotential(1_000_000)
    assert float(bumps(torch.arange(10)).max()) > 0.01


def test_the_package_names_its_classes():
    """The lazy public names resolve, and what is no name is an AttributeError."""
    for name in ("BirmanSchwingerCore", "ScatteringRouter", "SemiseparableMatrix", "PrimeBumpPotential"):
        assert name in dir(resnet_bk)
        assert getattr(resnet_bk, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = resnet_bk.nothing
