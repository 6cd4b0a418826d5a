"""Small models of every kind, and what the tests of quantised ones share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

SMALL = {
    "vocab_size": 61, "d_model": 42, "n_layers": 2, "n_seq": 32, "value_dim": 14, "key_dim": 5,
    "copy_key_dim": 0,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "complex": {"complex_heads": 3},
    "tied": {"tie_word_embeddings": True, "head_bias": True},
    "swiglu": {"feed_forward": ["swiglu", "none"], "norm": "layer"},
    "positions": {"position_embeddings": True, "head_bias": True},
    "diagonal": {"mixer": "diagonal", "feed_forward": "swiglu", "diagonal_heads": 4},
    "experts": {"num_experts": 3, "use_scattering_router": False},
    "routed": {"num_experts": 3, "parallel_feed_forward": True},
    "copy": {"copy_key_dim": 8, "head_bias": True},
    "copy-tied": {"copy_key_dim": 5, "tie_word_embeddings": True},
}


@pytest.fixture(autouse=True)
def quiet(models_used: None, one_thread: None) -> None:
    """Leave no traces, and processors to others."""


@pytest.fixture(scope="session")
def make_model(make_any_model: Callable[..., Any]) -> Callable[..., Any]:
    """Makes small models, the same for the same settings, with weights large enough for all to count."""

    def make(seed: int = 0, **settings: Any) -> Any:
        return make_any_model(seed, **{**SMALL, **settings})

    return make


@pytest.fixture
def tokens() -> torch.Tensor:
    """Two texts."""
    return torch.randint(0, 61, (2, 12), generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=sorted(KINDS))
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of every kind of model, one after the other."""
    return KINDS[request.param]
