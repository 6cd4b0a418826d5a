"""Small models and their companions, trained for a moment so that every state is filled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Companions = tuple[torch.nn.Module, torch.optim.Optimizer, Any]


class TinyModel(torch.nn.Module):
    """An embedding whose matrix is the output matrix too, a convolution and a buffer."""

    def __init__(self, width: int = 8, *, tied: bool = True) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(11, width)
        self.conv = torch.nn.Conv1d(width, width, 3, padding=1)
        self.head = torch.nn.Linear(width, 11, bias=False)
        if tied:
            self.head.weight = self.embed.weight
        self.register_buffer("count", torch.tensor(3, dtype=torch.int64))
        self.config = {"width": width, "tied": tied}

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits for every position."""
        hidden = self.conv(self.embed(ids).transpose(1, 2)).transpose(1, 2)
        logits: torch.Tensor = self.head(hidden)
        return logits


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., torch.nn.Module]:
    """Makes tiny models, the same for the same seed."""

    def make(seed: int = 0, **options: Any) -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return TinyModel(**options)

    return make


@pytest.fixture(scope="session")
def companions(tiny_model: Callable[..., torch.nn.Module]) -> Callable[..., Companions]:
    """Makes a model, an AdamW and a schedule that went a few steps together."""

    def make(seed: int = 0, steps: int = 3) -> Companions:
        model = tiny_model(seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(steps):
            advance(model, optimizer, scheduler, generator)
        return model, optimizer, scheduler

    return make


def advance(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any, generator: torch.Generator
) -> None:
    """One update on random tokens."""
    ids = torch.randint(0, 11, (2, 6), generator=generator)
    loss = torch.nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()


@pytest.fixture(scope="session")
def same() -> Callable[[Any, Any], bool]:
    """Tells whether two nested values are the same: types, keys, bits of floats and tensors."""
    return is_same


def is_same(one: Any, other: Any) -> bool:
    """Equality that does not take 1 for 1.0 and knows NaN."""
    if isinstance(one, torch.Tensor):
        return (
            isinstance(other, torch.Tensor)
            and one.dtype == other.dtype
            and one.shape == other.shape
            and one.contiguous().reshape(-1).view(torch.uint8).tolist()
            == other.contiguous().reshape(-1).view(torch.uint8).tolist()
        )
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, float) and one != one:
        return other != other
    return repr(one) == repr(other)


@pytest.fixture
def flip_byte() -> Callable[[Path], None]:
    """Changes one byte in the middle of a file."""

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x01
        path.write_bytes(bytes(content))

    return flip
