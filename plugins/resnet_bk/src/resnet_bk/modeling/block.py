"""One layer: norms, a mixer, and perhaps a feed-forward, added to the residual stream."""

from __future__ import annotations

from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.modeling.cache import LayerState
from resnet_bk.modeling.diagonal_mixer import DiagonalMixer
from resnet_bk.modeling.feed_forward import make_feed_forward
from resnet_bk.modeling.green_mixer import GreenMixer
from resnet_bk.modeling.layout import Layout
from resnet_bk.modeling.norm import make_norm

__all__ = ["Block"]


class Block(GradientCheckpointingLayer):  # type: ignore[misc]
    """x += mixer(norm(x)), then x += feed_forward(norm(x)); or both of the same norm(x), as before 1.0.

    Args:
        config: The model's configuration.
        number: Which layer it is, from 0.
    """

    def __init__(self, config: MambaKillerConfig, number: int) -> None:
        super().__init__()
        self.parallel = bool(config.parallel_feed_forward)
        self.norm = make_norm(config)
        self.mixer = GreenMixer(config) if config.mixer == "green" else DiagonalMixer(config)
        self.dropout = nn.Dropout(config.dropout)
        self.feed_forward = make_feed_forward(config, config.feed_forwards[number])
        if self.feed_forward is not None and not self.parallel:
            self.feed_forward_norm = make_norm(config)

    def forward(
        self, hidden: Tensor, bump: Tensor | None, layout: Layout | None, state: LayerState | None
    ) -> tuple[Tensor, LayerState]:
        """Add what the layer computes.

        Args:
            hidden: The residual stream, (B, N, d_model).
            bump: What is added to the potential, (B or 1, N); None for nothing.
            layout: Where the tokens are, if some places hold padding.
            state: What to go on from; None at the beginning of a text.

        Returns:
            The residual stream, and the state to go on with.
        """
        inputs = self.norm(hidden)
        mixed, new_state = self.mixer(inputs, bump, layout, state)
        mixed = self.dropout(mixed)
        if self.feed_forward is None:
            return hidden + mixed, new_state
        if not self.parallel:
            hidden = hidden + mixed
            inputs = self.feed_forward_norm(hidden)
        added, more = self.feed_forward(inputs, layout, state)
        hidden = hidden + added if not self.parallel else hidden + added + mixed
        return hidden, {**new_state, **more}
