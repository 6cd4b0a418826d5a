"""The compiled norm is PyTorch's, and so are its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnet_bk.modeling.norm import RootMeanSquareNorm
from resnet_bk.resolvent import kernel_report
from resnet_bk.resolvent.kernels import cpu_library, cpu_norm

pytestmark = pytest.mark.skipif(
    not any(choice.name == "cpu" and choice.usable for choice in kernel_report("cpu")),
    reason="the compiled kernels are not there",
)
EPS = 1e-5
SHAPES = [(3, 5, 128), (1, 1, 1), (2, 300, 7), (513, 20), (64,), (4, 67)]


def pair(width: int, dtype: torch.dtype) -> tuple[RootMeanSquareNorm, nn.RMSNorm]:
    """Ours and PyTorch's, with the same random weight."""
    ours, other = RootMeanSquareNorm(width, eps=EPS, dtype=dtype), nn.RMSNorm(width, eps=EPS, dtype=dtype)
    with torch.no_grad():
        nn.init.normal_(ours.weight)
        other.weight.copy_(ours.weight)
    return ours, other


def results(module: nn.Module, rows: torch.Tensor, cotangent: torch.Tensor) -> list[torch.Tensor]:
    """The normed rows, and the gradients of rows and weight."""
    leaf = rows.detach().clone().requires_grad_()
    found = module(leaf)
    return [found.detach(), *torch.autograd.grad(found, [leaf, module.weight], cotangent)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_it_is_the_norm_of_pytorch(shape, dtype, tolerance):
    """Rows of any number and width, forward and backward."""
    torch.manual_seed(0)
    ours, other = pair(shape[-1], dtype)
    rows, cotangent = torch.randn(2, *shape, dtype=dtype)
    torch.testing.assert_close(
        results(ours, rows, cotangent), results(other, rows, cotangent), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("variant", cpu_library.LEVELS)
def test_every_instruction_set_computes_the_same(variant, monkeypatch):
    """Whatever the length of its vectors."""
    library = cpu_library.load()
    if cpu_library.LEVELS.index(variant) > cpu_library.LEVELS.index(library.variant):
        pytest.skip("this processor can't run it")
    found = cpu_library.Library(library.handle, variant, library.threaded)
    monkeypatch.setattr(cpu_norm, "load", lambda: found)
    torch.manual_seed(0)
    for width in (83, 128):
        ours, other = pair(width, torch.float32)
        rows, cotangent = torch.randn(2, 11, width)
        torch.testing.assert_close(
            results(ours, rows, cotangent), results(other, rows, cotangent), rtol=2e-5, atol=2e-5
        )


def test_gradients_are_those_of_finite_differences():
    """Of rows and weight."""
    torch.manual_seed(0)
    ours, _ = pair(5, torch.float64)
    rows = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda rows, weight: torch.func.functional_call(ours, {"weight": weight}, (rows,)),
        (rows, ours.weight),
    )


def test_rows_and_cotangents_may_lie_anywhere():
    """Transposed, and with numbers between them."""
    torch.manual_seed(0)
    ours, _ = pair(6, torch.float64)
    rows, cotangent = torch.randn(2, 6, 40, dtype=torch.float64).transpose(1, 2)
    expected = results(ours, rows.contiguous(), cotangent.contiguous())
    gapped = torch.stack([cotangent, cotangent * 0], -1)[..., 0]
    leaf = torch.randn(6, 40, dtype=torch.float64).copy_(rows.T).requires_grad_()
    found = ours(leaf.T)
    gradients = torch.autograd.grad(found, [leaf, ours.weight], gapped)
    torch.testing.assert_close([found, gradients[0].T, gradients[1]], expected, rtol=0, atol=1e-14)


def test_a_row_depends_on_nothing_else():
    """Not to the last bit: neither on other rows nor on their number."""
    torch.manual_seed(0)
    ours, _ = pair(128, torch.float32)
    rows = torch.randn(300, 128)
    assert torch.equal(ours(rows)[7:9], ours(rows[7:9]))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_goes_the_way_of_pytorch(kind):
    """As does a weight of another type than the rows."""
    torch.manual_seed(0)
    ours, other = pair(16, kind)
    rows = torch.randn(3, 16).to(kind)
    assert torch.equal(ours(rows), other(rows))


def test_there_is_a_way_without_the_kernel(monkeypatch):
    """The result is the same where another kernel is asked for."""
    torch.manual_seed(0)
    ours, other = pair(32, torch.float64)
    rows, cotangent = torch.randn(2, 9, 32, dtype=torch.float64)
    monkeypatch.setenv("RESNET_BK_KERNEL", "torch")
    for one, expected in zip(results(ours, rows, cotangent), results(other, rows, cotangent), strict=True):
        assert torch.equal(one, expected)
