"""The short causal convolution before queries, keys and values."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CausalConvolution"]


class CausalConvolution(nn.Module):  # type: ignore[misc]
    """A convolution of each channel by itself over a token and those right before it.

    Args:
        channels: Channels.
        taps: Tokens that go into each result, itself included.
    """

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__()
        self.taps = taps
        self.weight = nn.Parameter(torch.empty(channels, taps))
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, inputs: Tensor, window: Tensor | None) -> tuple[Tensor, Tensor]:
        """Convolve.

        Args:
            inputs: (B, N, channels).
            window: The inputs before these, (B, taps - 1, channels); None at the beginning of a text.

        Returns:
            The results, and the window to go on with.
        """
        before = self.taps - 1
        if window is None:
            extended = functional.pad(inputs, (0, 0, before, 0))
        else:
            extended = torch.cat([window.to(inputs.dtype), inputs], 1)
        if inputs.shape[1] == 1 and window is not None:
            results = (extended * self.weight.t()).sum(1) + self.bias
            return results.to(inputs.dtype).unsqueeze(1), extended[:, 1:].contiguous()
        # With channels last and a dimension of 1, the two-dimensional convolution is several times as fast on
        # the CPU as one along time.
        planes = extended.unsqueeze(2).permute(0, 3, 1, 2)
        weight = self.weight.to(inputs.dtype)[:, None, :, None]
        results = functional.conv2d(planes, weight, self.bias.to(inputs.dtype), groups=self.weight.shape[0])
        return results.permute(0, 2, 3, 1).squeeze(2), extended[:, extended.shape[1] - before :].clone()
