"""On a GPU, what is not in use goes to the CPU's memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from resnet_bk.memory import MemoryOptimizer, MemorySavingError

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_saves_on_the_cpu(
    make_model: Callable[..., Any], kind: dict[str, Any], checkpointing: bool
) -> None:
    """Gradients agree, less memory of the GPU is taken, and what is moved is counted."""
    tokens = torch.randint(0, 60, (8, 512), device="cuda")
    plain, model = make_model(**kind).cuda(), make_model(**kind).cuda()

    def step(each: Any) -> None:
        each.zero_grad()
        each(tokens, labels=tokens, use_cache=False).loss.backward()

    optimizer = MemoryOptimizer(use_cpu_offload=True, use_gradient_checkpointing=checkpointing)
    step(plain)
    before = optimizer.measure(lambda: step(plain), plain)
    optimizer.optimize(model)
    step(model)
    after = optimizer.measure(lambda: step(model))

    assert after.device == "cuda"
    assert after.moved > 0
    assert after.saved < before.saved / 10
    assert after.peak < before.peak
    for one, other in zip(plain.parameters(), model.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-6)


def test_layers_wait_on_the_cpu(make_model: Callable[..., Any], kind: dict[str, Any]) -> None:
    """In eval mode, a model takes less memory of the GPU and gives the same; training is refused."""
    model = make_model(**kind, d_model=256, n_layers=8).cuda().eval()
    tokens = torch.randint(0, 60, (1, 64), device="cuda")
    with torch.no_grad():
        expected = model(tokens).logits
    full = torch.cuda.memory_allocated()
    optimizer = MemoryOptimizer(use_cpu_offload=True)
    optimizer.optimize(model)
    waiting = torch.cuda.memory_allocated()
    with torch.no_grad():
        found = model(tokens).logits

    assert torch.equal(found, expected)
    assert full - waiting > 0.8 * optimizer.report().parameters_elsewhere > 0
    with pytest.raises(MemorySavingError, match="can't be trained"):
        model.train()(tokens)
    optimizer.restore(model)
    assert all(each.device.type == "cuda" for each in model.parameters())
