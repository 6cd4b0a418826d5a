"""How large the state is that a model keeps while it reads a text, told from its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnet_bk.configuration.config import MambaKillerConfig

__all__ = ["state_bytes"]

_REAL, _COMPLEX = 4, 8


def state_bytes(config: MambaKillerConfig) -> int:
    """Bytes of the state for one text, in float32; 0 for a model without one.

    Args:
        config: The configuration.
    """
    if not config.is_causal:
        return 0
    mixer = _green(config) if config.mixer == "green" else (config.diagonal_heads or 0) * _COMPLEX
    routed = config.feed_forwards.count("experts") if config.use_scattering_router else 0
    return config.n_layers * mixer + routed * _COMPLEX + _copying(config)


def _copying(config: MambaKillerConfig) -> int:
    if not config.copy_key_dim:
        return 0
    return (2 + config.copy_key_dim + config.copy_key_dim * config.d_model) * _REAL


def _green(config: MambaKillerConfig) -> int:
    heads = config.num_heads
    window = (config.conv_kernel - 1) * (2 * heads * config.key_dim + config.inner_size) * _REAL
    chain = heads * 2 * _REAL
    plain = (heads - config.complex_heads) * _REAL + config.complex_heads * _COMPLEX
    return window + chain + plain * config.key_dim * config.value_dim
