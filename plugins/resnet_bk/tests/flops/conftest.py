"""Small models whose operations are counted, and loops that count."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from resnet_bk import FLOPsCounter
from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.modeling import ResNetBK
from resnet_bk.resolvent.selection import VARIABLE, kernel_report

SMALL = {
    "vocab_size": 61, "d_model": 32, "n_layers": 2, "n_seq": 32, "value_dim": 16, "key_dim": 8,
    "copy_key_dim": 0,
}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def libraries_imported() -> None:
    """Import what leaves traces in the process before the first test: counting imports compilers."""
    with FLOPsCounter(torch.nn.Identity()):
        pass


@pytest.fixture(autouse=True)
def quiet(one_thread: None) -> None:
    """Leave processors to others."""


@pytest.fixture(scope="session")
def recurrences() -> ModuleType:
    """The module with the loops that count."""
    name = "resnet_bk_tests_recurrences"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "recurrences.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Any]:
    """Makes small models, the same for the same settings."""

    def make(**settings: Any) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return ResNetBK(MambaKillerConfig(**{**SMALL, **settings}))

    return make


@pytest.fixture(scope="session")
def make_llama() -> Callable[..., Any]:
    """Makes small Llamas."""

    def make(attention: str) -> Any:
        settings: dict[str, Any] = {
            "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "attn_implementation": attention,
        }  # fmt: skip
        return LlamaForCausalLM(LlamaConfig(**settings))

    return make


@pytest.fixture(scope="session")
def tokens() -> Callable[..., torch.Tensor]:
    """Makes random tokens."""

    def make(rows: int, length: int) -> torch.Tensor:
        return torch.randint(0, 61, (rows, length), generator=torch.Generator().manual_seed(1))

    return make


@pytest.fixture
def with_kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Chooses the kernel that computes from now on; skips where it can't."""

    def choose(name: str) -> None:
        if not any(choice.usable for choice in kernel_report("cpu") if choice.name == name):
            pytest.skip(f"the kernel {name} can't run here")
        monkeypatch.setenv(VARIABLE, name)

    return choose
