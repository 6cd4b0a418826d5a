"""Which kernel computes, and the reason given for it."""

from __future__ import annotations

import os
import subprocess
import sys

import attrs
import pytest
import torch

from resnet_bk.errors import InvalidInputError, KernelUnavailableError
from resnet_bk.resolvent import causal_gates, choose_kernel, gated_state, green_diagonal, kernel_report
from resnet_bk.resolvent.kernels import cpu_library

PROBE = """
import sys
import resnet_bk
assert "torch" not in sys.modules, "torch was imported"
assert resnet_bk.__version__
"""


def test_importing_the_package_loads_no_torch() -> None:
    """`import resnet_bk` is free of PyTorch."""
    subprocess.run([sys.executable, "-c", PROBE], check=True)


def test_the_compiled_kernel_is_chosen_on_the_cpu_where_it_is() -> None:
    """The reason names the instruction set."""
    if cpu_library.why_not():
        pytest.skip(cpu_library.why_not())
    choice = choose_kernel("cpu")
    assert choice.name == "cpu"
    assert "compiled for the CPU" in choice.reason


def test_without_it_pytorch_computes_and_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel built without a compiler works, and says so; naming the kernel is an error that says so."""
    monkeypatch.setattr(cpu_library, "why_not", lambda: "this installation has no compiled kernels")
    choice = choose_kernel("cpu")
    assert (choice.name, choice.usable) == ("torch", True)
    assert "no compiled kernels" in choice.reason
    with pytest.raises(KernelUnavailableError, match="no compiled kernels"):
        choose_kernel("cpu", "cpu")


def test_a_missing_library_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """No file: built without a compiler. A broken file: the loader's own words."""
    monkeypatch.setattr(cpu_library, "_FILE", tmp_path / "missing.so")
    assert "built without a C compiler" in cpu_library._attempt.__wrapped__()[1]
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr(cpu_library, "_FILE", broken)
    assert "can't be loaded" in cpu_library._attempt.__wrapped__()[1]


def test_other_devices_take_pytorch() -> None:
    """A device without a kernel of its own."""
    assert choose_kernel("meta").name == "torch"


def test_the_environment_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    """RESNET_BK_KERNEL stands in for what the call says."""
    monkeypatch.setenv("RESNET_BK_KERNEL", "torch")
    choice = choose_kernel("cpu", "cpu")
    assert choice.name == "torch"
    assert "RESNET_BK_KERNEL" in choice.reason


@pytest.mark.parametrize("source", ["call", "environment"])
def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch, source) -> None:
    """A slip is an error, not a fallback."""
    if source == "environment":
        monkeypatch.setenv("RESNET_BK_KERNEL", "cuda")
    with pytest.raises(InvalidInputError, match="no kernel 'cuda'"):
        green_diagonal(torch.zeros(3), torch.zeros(3), kernel="auto" if source == "environment" else "cuda")


def test_the_report_covers_every_kernel() -> None:
    """The one in use first, every one once, each with a reason."""
    report = kernel_report("cpu")
    assert report[0] == choose_kernel("cpu")
    assert sorted(choice.name for choice in report) == ["cpu", "torch", "triton"]
    assert all(choice.reason for choice in report)


@pytest.mark.parametrize("variant", cpu_library.LEVELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_instruction_set_computes_the_same(
    monkeypatch: pytest.MonkeyPatch, chain, variant, dtype
) -> None:
    """The library's variants for older processors agree with the one in use, forward and backward."""
    if cpu_library.why_not():
        pytest.skip(cpu_library.why_not())
    library = cpu_library.load()
    if cpu_library.LEVELS.index(variant) > cpu_library.LEVELS.index(library.variant):
        pytest.skip("this processor can't run it")
    results = []
    for name in (library.variant, variant):
        monkeypatch.setattr(
            "resnet_bk.resolvent.kernels.cpu_kernel.load", lambda n=name: attrs.evolve(library, variant=n)
        )
        h = chain(37, 90).to(dtype).leaves()
        torch.manual_seed(0)
        q, k, v = (torch.randn(37, 90, n, dtype=dtype).requires_grad_() for n in (3, 3, 21))
        gates = causal_gates(*h, phase="complex", kernel="cpu")
        outputs, _ = gated_state(q, k, v, gates.alpha, gates.beta, kernel="cpu")
        full = green_diagonal(h.potential, h.coupling, h.energy, h.eta, kernel="cpu")
        loss = outputs.square().mean() + full.abs().mean()
        results.append([outputs.detach(), full.detach(), *torch.autograd.grad(loss, [*h, q, k, v])])
    for one, other in zip(*results, strict=True):
        error = float((one - other).abs().max() / one.abs().max())
        assert error < 2000 * torch.finfo(dtype).eps


def test_one_and_several_threads_compute_the_same_bits(chain) -> None:
    """How sequences are shared among threads does not show."""
    if cpu_library.why_not():
        pytest.skip(cpu_library.why_not())
    h = chain(64, 50)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(green_diagonal(h.potential, h.coupling, h.energy, h.eta, kernel="cpu"))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(results[0], results[1], rtol=1e-14, atol=0)


EXPORT = """
import torch
from resnet_bk.resolvent import causal_gates, gated_state

class Layer(torch.nn.Module):
    def forward(self, potential, hopping, inputs):
        gates = causal_gates(potential, hopping, 0.0, 0.1)
        return gated_state(inputs, inputs, inputs, gates.alpha, gates.beta).outputs

arguments = (torch.randn(2, 40), torch.randn(2, 40), torch.randn(2, 40, 4))
program = torch.export.export(Layer(), arguments)
values = [node.meta.get("val") for node in program.graph.nodes]
assert not any(value.is_complex() for value in values if isinstance(value, torch.Tensor))
torch.testing.assert_close(program.module()(*arguments), Layer()(*arguments), rtol=1e-4, atol=1e-5)
"""


def test_it_can_be_exported(tmp_path) -> None:
    """torch.export records plain real operations, which compute what the kernels do."""
    # In a process of its own: PyTorch leaves a cache and an environment variable behind.
    subprocess.run([sys.executable, "-c", EXPORT], check=True, env={**os.environ, "TMPDIR": str(tmp_path)})
