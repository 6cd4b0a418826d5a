"""The Llama architecture in plain PyTorch, with the weight layout that GGUF stores."""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Llama", "Shape"]


@attrs.frozen(kw_only=True)
class Shape:
    """The sizes of a model.

    Attributes:
        vocabulary: Number of tokens.
        width: Elements of the residual stream.
        layers: Number of blocks.
        heads: Query heads.
        heads_kv: Key and value heads.
        head_width: Elements of one head.
        feed_forward: Elements of the gated hidden layer.
        context: Longest sequence, in tokens.
        rope_base: Base of the rotary frequencies.
        norm_epsilon: Added to the mean square before its root is taken.
    """

    vocabulary: int = 1024
    width: int = 128
    layers: int = 4
    heads: int = 4
    heads_kv: int = 2
    head_width: int = 32
    feed_forward: int = 384
    context: int = 512
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5


def rotary_table(shape: Shape) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every position's angles, each of size context x head_width / 2."""
    exponents = torch.arange(0, shape.head_width, 2, dtype=torch.float64) / shape.head_width
    angles = torch.outer(torch.arange(shape.context, dtype=torch.float64), shape.rope_base**-exponents)
    return angles.cos().float(), angles.sin().float()


def rotate(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate neighbouring pairs of elements.

    This is the pairing llama.cpp applies to the `llama` architecture, so the weights go into a GGUF as
    they are. A Hugging Face directory pairs element i with i + width / 2 and needs the rows reordered.
    """
    even, odd = heads[..., 0::2], heads[..., 1::2]
    rotated = torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1)
    return rotated.flatten(-2)


class Attention(nn.Module):
    """Causal self-attention in which several query heads share one key/value head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        queries, keys = shape.heads * shape.head_width, shape.heads_kv * shape.head_width
        self.attn_q = nn.Linear(shape.width, queries, bias=False)
        self.attn_k = nn.Linear(shape.width, keys, bias=False)
        self.attn_v = nn.Linear(shape.width, keys, bias=False)
        self.attn_output = nn.Linear(queries, shape.width, bias=False)

    def forward(self, hidden: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Mix `hidden` (batch x tokens x width) over the tokens before each."""
        batch, tokens, _ = hidden.shape
        width, groups = self.shape.head_width, self.shape.heads // self.shape.heads_kv
        query = self.attn_q(hidden).view(batch, tokens, -1, width).transpose(1, 2)
        key = self.attn_k(hidden).view(batch, tokens, -1, width).transpose(1, 2)
        value = self.attn_v(hidden).view(batch, tokens, -1, width).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(
            rotate(query, cosine, sine),
            rotate(key, cosine, sine).repeat_interleave(groups, dim=1),
            value.repeat_interleave(groups, dim=1),
            is_causal=True,
        )
        output: Tensor = self.attn_output(mixed.transpose(1, 2).reshape(batch, tokens, -1))
        return output


class Block(nn.Module):
    """One layer: attention and a gated feed-forward network, each added to the residual stream."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.attn_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.attention = Attention(shape)
        self.ffn_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.ffn_gate = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.ffn_down = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, hidden: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """The residual stream after this layer."""
        hidden = hidden + self.dropout(self.attention(self.attn_norm(hidden), cosine, sine))
        normed = self.ffn_norm(hidden)
        expanded = functional.silu(self.ffn_gate(normed)) * self.ffn_up(normed)
        output: Tensor = hidden + self.dropout(self.ffn_down(expanded))
        return output


class Llama(nn.Module):
    """A decoder-only language model with untied embeddings.

    Args:
        shape: Its sizes.
        dropout: The share of what each layer adds that is dropped while training.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Block(shape, dropout) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.output = nn.Linear(shape.width, shape.vocabulary, bias=False)
        cosine, sine = rotary_table(shape)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # Every layer adds twice to the residual stream; smaller outputs keep its variance constant.
                into_residual = name.endswith(("attn_output.weight", "ffn_down.weight"))
                scale = 0.02 / math.sqrt(2 * self.shape.layers) if into_residual else 0.02
                nn.init.normal_(parameter, std=scale)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token (batch x tokens x vocabulary) after each of `tokens`."""
        length = tokens.shape[1]
        hidden = self.token_embd(tokens)
        for block in self.blk:
            hidden = block(hidden, self.cosine[:length], self.sine[:length])
        logits: Tensor = self.output(self.output_norm(hidden))
        return logits

    def gguf_tensors(self) -> dict[str, Tensor]:
        """The weights under the names that GGUF gives them."""
        return {
            name.replace(".attention.", "."): parameter.detach()
            for name, parameter in self.named_parameters()
        }
