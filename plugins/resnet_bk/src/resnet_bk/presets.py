"""Configurations of usual sizes, each named by its number of parameters."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from resnet_bk.configuration import MambaKillerConfig

__all__ = ["PRESETS", "Preset", "preset"]


@attrs.frozen
class Preset:
    """A size.

    Attributes:
        parameters: What its name says; the model has that many within 5 %.
        vocab_size: Tokens in the vocabulary; input and output use one matrix.
        d_model: Width of the residual stream.
        n_layers: Layers.
    """

    parameters: int
    vocab_size: int
    d_model: int
    n_layers: int


PRESETS = {
    "resnet-bk-1m": Preset(1_000_000, 1536, 128, 6),
    "resnet-bk-3m": Preset(3_000_000, 4096, 192, 7),
    "resnet-bk-10m": Preset(10_000_000, 8192, 256, 15),
    "resnet-bk-30m": Preset(30_000_000, 16384, 384, 20),
    "resnet-bk-50m": Preset(50_000_000, 32768, 448, 22),
    "resnet-bk-100m": Preset(100_000_000, 32768, 640, 24),
    "resnet-bk-300m": Preset(300_000_000, 32768, 1024, 31),
    "resnet-bk-1b": Preset(1_000_000_000, 50304, 1536, 48),
    "resnet-bk-3b": Preset(3_000_000_000, 50304, 2304, 67),
    "resnet-bk-10b": Preset(10_000_000_000, 50304, 3584, 94),
}
"""Every preset, smallest first: layers as recommended, without feed-forwards."""


def preset(name: str, **changes: Any) -> MambaKillerConfig:
    """The configuration of a usual size.

    Args:
        name: One of `PRESETS`, for example `resnet-bk-10m`.
        changes: Settings that differ from it.

    Raises:
        ConfigurationError: There is no such preset, or the settings do not go together.
    """
    from resnet_bk.configuration import ConfigurationError, MambaKillerConfig

    found = PRESETS.get(name)
    if found is None:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        raise ConfigurationError(
            f"there is no preset {name!r}",
            key="preset",
            value=name,
            advice=f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(PRESETS)}.",
        )
    settings = {
        "vocab_size": found.vocab_size,
        "d_model": found.d_model,
        "n_layers": found.n_layers,
        "tie_word_embeddings": True,
    }
    return MambaKillerConfig(**{**settings, **changes})
