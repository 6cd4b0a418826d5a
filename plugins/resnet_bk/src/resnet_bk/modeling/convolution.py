"""The short causal convolution before queries, keys and values."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_bk.flops import costs
from resnet_bk.flops.counting import counted

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
        extended = self._extended(inputs, window)
        if inputs.shape[1] == 1 and window is not None:
            with counted("aten.convolution", costs.convolution, inputs.shape[0], *self.weight.shape):
                results = (extended * self.weight.t()).sum(1) + self.bias
            return results.to(inputs.dtype).unsqueeze(1), extended[:, 1:].contiguous()
        # With channels last and a dimension of 1, the two-dimensional convolution is several times as fast on
        # the CPU as one along time.
        planes = extended.unsqueeze(2).permute(0, 3, 1, 2)
        weight = self.weight.to(inputs.dtype)[:, None, :, None]
        results = functional.conv2d(planes, weight, self.bias.to(inputs.dtype), groups=self.weight.shape[0])
        return results.permute(0, 2, 3, 1).squeeze(2), self._end(extended)

    def next_window(self, inputs: Tensor, window: Tensor | None) -> Tensor:
        """The window to go on with, for who convolves without `forward`; its arguments are the same."""
        return self._end(inputs if inputs.shape[1] >= self.taps - 1 else self._extended(inputs, window))

    def _extended(self, inputs: Tensor, window: Tensor | None) -> Tensor:
        if window is None:
            return functional.pad(inputs, (0, 0, self.taps - 1, 0))
        return torch.cat([window.to(inputs.dtype), inputs], 1)

    def _end(self, inputs: Tensor) -> Tensor:
        return inputs[:, inputs.shape[1] - (self.taps - 1) :].clone()
