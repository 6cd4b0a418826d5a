"""A language model so small that it trains in a moment, and tokens with something to learn in them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest
import torch

from resnet_bk.data import TokenStream
from resnet_bk.training import TrainingConfig

HERE = Path(__file__).parent


def _load(name: str) -> ModuleType:
    full = f"resnet_bk_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, HERE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


@pytest.fixture(scope="session", autouse=True)
def one_thread_throughout() -> None:
    """Leave processors to others."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The module with the model and the data, which programs that tests start use as well."""
    return _load("tiny")


@pytest.fixture(scope="session")
def make_model(tiny: ModuleType) -> Callable[..., torch.nn.Module]:
    """Makes the model, the same for the same seed."""
    return tiny.make_model  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def stream(tiny: ModuleType) -> TokenStream:
    """Tokens to train on."""
    return tiny.make_stream()  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def settings() -> Callable[..., TrainingConfig]:
    """Makes settings for short runs."""

    def make(**changes: Any) -> TrainingConfig:
        usual: dict[str, Any] = {
            "steps": 12, "batch_size": 4, "sequence_length": 8, "learning_rate": 1e-2, "precision": "float32",
            "checkpoint_every": 1000, "log_every": 1, "device": "cpu",
        }  # fmt: skip
        return TrainingConfig(**{**usual, **changes})

    return make


@pytest.fixture(scope="session")
def weights_of() -> Callable[[Path], dict[str, Any]]:
    """The tensors in a checkpoint, as arrays."""
    from safetensors.numpy import load_file

    def read(checkpoint: Path) -> dict[str, numpy.ndarray[Any, Any]]:
        return dict(load_file(checkpoint / "model.safetensors"))

    return read
