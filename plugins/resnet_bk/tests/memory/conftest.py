"""A small model and a step with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from resnet_bk import MambaKillerConfig, ResNetBK

SETTINGS = {"vocab_size": 60, "d_model": 64, "n_layers": 3, "tie_word_embeddings": True}
# The copy memory reads the output matrix outside of the layer that has it.
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"copy_key_dim": 0},
    "copy": {"copy_key_dim": 16, "tie_word_embeddings": False},
    "copy-tied": {"copy_key_dim": 16},
}


@pytest.fixture(scope="session", autouse=True)
def one_thread_throughout() -> None:
    """Leave processors to others."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Any]:
    """Makes the model in training mode, the same every time."""

    def make(**changes: Any) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return ResNetBK(MambaKillerConfig(**{**SETTINGS, **changes})).train()

    return make


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of models with and without a copy memory, one after the other."""
    return KINDS[request.param]


@pytest.fixture
def model(make_model: Callable[..., Any]) -> Any:
    """The model."""
    return make_model()


@pytest.fixture(scope="session")
def tokens() -> torch.Tensor:
    """Two texts, long enough that what a layer saves is worth moving."""
    return torch.randint(0, 60, (2, 200), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def step(tokens: torch.Tensor) -> Callable[..., None]:
    """Fills the gradients of a model."""

    def run(model: Any) -> None:
        torch.manual_seed(2)
        model.zero_grad()
        found = model(tokens, labels=tokens, use_cache=False)
        found.loss.backward()

    return run


@pytest.fixture(scope="session")
def gradients(step: Callable[..., None]) -> Callable[..., dict[str, torch.Tensor]]:
    """The gradients of a model after a step, by name."""

    def find(model: Any) -> dict[str, torch.Tensor]:
        step(model)
        return {name: each.grad.clone() for name, each in model.named_parameters()}

    return find
