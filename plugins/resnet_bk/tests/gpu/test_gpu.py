"""On a GPU the compiled Triton kernels give what the reference gives on the CPU in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from resnet_bk import MambaKillerConfig, ResNetBKForCausalLM
from resnet_bk.resolvent import (
    causal_gates,
    causal_green_diagonal,
    causal_green_operator,
    choose_kernel,
    gated_state,
    green_diagonal,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

SHAPES = [(2, 3, 1), (1, 2, 17), (3, 4, 257), (1, 2, 5000)]
TOLERANCES = {torch.float64: 1e-10, torch.float32: 2e-4}
Operation = Callable[..., Any]


def gates(potential: torch.Tensor, hopping: torch.Tensor, energy: Any, eta: Any, **how: Any) -> Any:
    """The real and positive gates."""
    found = causal_gates(potential, hopping, energy, eta, **how)
    return found.alpha, found.beta


def phased_gates(potential: torch.Tensor, hopping: torch.Tensor, energy: Any, eta: Any, **how: Any) -> Any:
    """The gates with a phase."""
    found = causal_gates(potential, hopping, energy, eta, phase="complex", **how)
    return found.alpha, found.beta


def operator(potential: torch.Tensor, hopping: torch.Tensor, energy: Any, eta: Any, **how: Any) -> Any:
    """The causal operator, on three channels made of the potential."""
    inputs = torch.stack([potential, hopping, potential * hopping], -1)
    return causal_green_operator(inputs, potential, hopping, energy, eta, **how).values


OPERATIONS: dict[str, Operation] = {
    "green_diagonal": green_diagonal,
    "causal_green_diagonal": causal_green_diagonal,
    "causal_green_operator": operator,
    "causal_gates": gates,
    "causal_gates_with_phase": phased_gates,
}


def outputs_and_gradients(function: Operation, leaves: list[torch.Tensor]) -> list[torch.Tensor]:
    """What a function gives, and the gradients of a fixed combination of it."""
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    found = function(*leaves)
    outputs = list(found) if isinstance(found, tuple) else [found]
    weights = [torch.linspace(0.5, 1.5, part.numel(), dtype=torch.float64) for part in outputs]
    total = sum(
        (part.abs().square() * weight.to(part.device, part.real.dtype).view_as(part)).sum()
        for part, weight in zip(outputs, weights, strict=True)
    )
    return [part.detach() for part in outputs] + list(torch.autograd.grad(total, leaves))


def differences(function: Operation, leaves: list[torch.Tensor], dtype: torch.dtype) -> list[float]:
    """How far the GPU is from the CPU in double precision, relative to the norm of each tensor."""
    expected = outputs_and_gradients(lambda *x: function(*x, kernel="torch"), leaves)
    moved = [leaf.to("cuda", dtype) for leaf in leaves]
    found = outputs_and_gradients(lambda *x: function(*x, kernel="triton"), moved)
    return [
        float((one.cpu().to(other.dtype) - other).norm() / other.norm().clamp_min(1e-30))
        for one, other in zip(found, expected, strict=True)
    ]


def test_the_kernels_for_gpus_are_chosen() -> None:
    """Tensors on a GPU are computed with by Triton."""
    assert choose_kernel("cuda").name == "triton"


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_resolvent(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Each operation and all its gradients, one site and several thousand."""
    generator = torch.Generator().manual_seed(sum(shape))
    potential = torch.randn(shape, generator=generator, dtype=torch.float64)
    hopping = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1
    energy = torch.randn(*shape[:-1], 1, generator=generator, dtype=torch.float64) * 0.5
    eta = torch.rand(*shape[:-1], 1, generator=generator, dtype=torch.float64) * 0.5 + 0.2
    found = differences(OPERATIONS[name], [potential, hopping, energy, eta], dtype)
    assert max(found) < TOLERANCES[dtype], found


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("phase", ["real", "complex"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matrix_state(shape: tuple[int, ...], phase: str, dtype: torch.dtype) -> None:
    """The gated matrix state with the sizes of the default layer, and all its gradients."""
    generator = torch.Generator().manual_seed(sum(shape))
    queries, keys, values = (
        torch.randn(*shape, size, generator=generator, dtype=torch.float64) for size in (16, 16, 32)
    )
    sites = torch.randn(shape, generator=generator, dtype=torch.float64)
    made = causal_gates(sites, torch.rand(shape, generator=generator).double(), 0.1, 0.3, phase=phase)

    def state(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, a: Any, b: Any, **how: Any) -> torch.Tensor:
        if phase == "complex":
            a = torch.view_as_complex(a)
        return gated_state(q, k, v, a, b, **how).outputs

    alpha = torch.view_as_real(made.alpha) if phase == "complex" else made.alpha
    found = differences(state, [queries, keys, values, alpha, made.beta], dtype)
    assert max(found) < TOLERANCES[dtype], found


@pytest.fixture(scope="module")
def model() -> ResNetBKForCausalLM:
    """A small model with random weights."""
    torch.manual_seed(0)
    config = MambaKillerConfig(vocab_size=97, d_model=64, n_layers=3, n_seq=256)
    return ResNetBKForCausalLM(config).eval()


def test_a_model_gives_the_same_logits(model: ResNetBKForCausalLM) -> None:
    """A whole model on both devices, and token by token on the GPU."""
    tokens = torch.randint(0, 97, (2, 300), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model.to("cpu")(tokens).logits
        model.to("cuda")
        found = model(tokens.cuda()).logits.cpu()
        cache, steps = None, []
        for token in tokens.cuda().split(1, 1):
            step = model(token, past_key_values=cache, use_cache=True)
            cache = step.past_key_values
            steps.append(step.logits)
    assert float((found - expected).abs().max()) < 1e-3
    assert float((torch.cat(steps, 1).cpu() - expected).abs().max()) < 1e-3


def test_the_future_does_not_matter_on_a_gpu(model: ResNetBKForCausalLM) -> None:
    """Changing token j leaves every logit before it, and the other text of the batch, the same to the bit."""
    model.to("cuda")
    tokens = torch.randint(0, 97, (2, 257), generator=torch.Generator().manual_seed(2)).cuda()
    for place in (1, 63, 64, 200, 256):
        changed = tokens.clone()
        changed[0, place] = (changed[0, place] + 1) % 97
        with torch.inference_mode():
            one, other = model(tokens).logits, model(changed).logits
        assert torch.equal(one[0, :place], other[0, :place])
        assert torch.equal(one[1], other[1])
        assert not torch.equal(one[0, place:], other[0, place:])


def test_training_on_a_gpu_goes_as_on_the_cpu(model: ResNetBKForCausalLM) -> None:
    """Five steps of plain gradient descent give the same losses; in bfloat16 nearly so."""
    tokens = torch.randint(0, 97, (4, 128), generator=torch.Generator().manual_seed(3))
    start = {name: value.cpu().clone() for name, value in model.state_dict().items()}

    def losses(device: str, *, half: bool) -> list[float]:
        model.load_state_dict(start)
        model.to(device).train()
        found = []
        for _ in range(5):
            with torch.autocast(device, torch.bfloat16, enabled=half):
                loss = model(tokens.to(device), labels=tokens.to(device)).loss
            model.zero_grad()
            loss.backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.1 * parameter.grad
            found.append(loss.item())
        model.eval()
        return found

    expected = losses("cpu", half=False)
    assert expected[-1] < expected[0]
    assert losses("cuda", half=False) == pytest.approx(expected, rel=1e-4)
    assert losses("cuda", half=True) == pytest.approx(expected, rel=2e-2)
