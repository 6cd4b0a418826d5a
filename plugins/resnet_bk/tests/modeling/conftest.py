"""Small models, and what their tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

SMALL = {
    "vocab_size": 61, "d_model": 32, "n_layers": 2, "n_seq": 32, "value_dim": 16, "key_dim": 8,
    "copy_key_dim": 0,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "default": {"copy_key_dim": None},
    "complex": {"complex_heads": 3},
    "free": {"free_heads": 4},
    "bound": {"free_heads": 0, "complex_heads": 4},
    "swiglu": {"feed_forward": ["swiglu", "none"], "tie_word_embeddings": True},
    "bump": {"use_prime_bump": True, "prime_bump_scale": 1.0, "norm": "layer"},
    "positions": {"position_embeddings": True, "head_bias": True},
    "diagonal": {"mixer": "diagonal", "feed_forward": "swiglu", "diagonal_heads": 4},
    "experts": {"num_experts": 4, "use_scattering_router": False},
    "routed": {"num_experts": 4, "parallel_feed_forward": True},
    "copy": {"copy_key_dim": 8, "head_bias": True},
    "copy-tied": {"copy_key_dim": 5, "mixer": "diagonal", "tie_word_embeddings": True},
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


@pytest.fixture(scope="session")
def tokens() -> Callable[..., torch.Tensor]:
    """Makes random tokens."""

    def make(rows: int, length: int, seed: int = 1, vocabulary: int = 61) -> torch.Tensor:
        return torch.randint(0, vocabulary, (rows, length), generator=torch.Generator().manual_seed(seed))

    return make


@pytest.fixture(params=sorted(KINDS))
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of every kind of causal model, one after the other."""
    return KINDS[request.param]


@pytest.fixture(scope="session")
def old_files() -> Path:
    """The folder with checkpoints of versions before 1.0; skips where it is not there."""
    shared = os.environ.get("MODELPLUG_SHARED", Path(__file__).resolve().parents[5] / "shared")
    folder = Path(shared) / "data" / "resnet-bk-checkpoints"
    if not folder.is_dir():
        pytest.skip("the checkpoints of versions before 1.0 are not on this machine")
    return folder
