"""Small models to evaluate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

SMALL = {
    "vocab_size": 61, "d_model": 32, "n_layers": 2, "n_seq": 32, "value_dim": 16, "key_dim": 8,
    "copy_key_dim": 0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def quiet(models_used: None, one_thread: None) -> None:
    """Leave no traces, and processors to others."""


@pytest.fixture(scope="session")
def make_model(make_any_model: Callable[..., Any]) -> Callable[..., Any]:
    """Makes small models, the same for the same settings, with weights large enough for all to count."""

    def make(seed: int = 0, **settings: Any) -> Any:
        return make_any_model(seed, **{**SMALL, **settings})

    return make
