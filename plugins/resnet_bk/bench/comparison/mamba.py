"""A Mamba language model of mambapy's blocks, with a compiled scan in place of the library's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mambapy.mamba import Mamba, MambaBlock, MambaConfig, RMSNorm
from torch import Tensor, nn

from comparison.selective_scan import load_library, selective_scan

__all__ = ["MambaLanguageModel", "check_scan", "scan_used"]

TOLERANCE = 1e-5


class MambaLanguageModel(nn.Module):  # type: ignore[misc]
    """Tokens in, logits out: embedding, Mamba blocks, a norm, an untied head.

    Projections, embedding and head begin at N(0, 0.02), as in the other models. The step sizes, the
    convolution and A begin as the library has them: they are no projections of the residual stream.

    Args:
        vocab_size: Tokens in the vocabulary.
        d_model: Width of the residual stream.
        n_layers: Blocks.
    """

    def __init__(self, vocab_size: int, d_model: int, n_layers: int) -> None:
        super().__init__()
        config = MambaConfig(d_model=d_model, n_layers=n_layers, d_state=16, expand_factor=2)
        self.embeddings = nn.Embedding(vocab_size, d_model)
        self.layers = Mamba(config)
        self.norm = RMSNorm(d_model, config.rms_norm_eps)
        self.lm_head = nn.Linear(d_model, vocab_size, bias=False)
        self.scan_on_processors = "mambapy" if load_library() is None else "compiled"
        for name, module in self.named_modules():
            if isinstance(module, (nn.Linear, nn.Embedding)) and not name.endswith("dt_proj"):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, MambaBlock) and load_library() is not None:
                module.selective_scan = _compiled_on_processors(module.selective_scan)

    def forward(self, tokens: Tensor) -> Tensor:
        """The logits of the token after each token, (B, N, vocab_size), from (B, N)."""
        return self.lm_head(self.norm(self.layers(self.embeddings(tokens))))


def _compiled_on_processors(scan: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The compiled scan for tensors on the CPU, and the library's own for those on a GPU."""

    def chosen(inputs: Tensor, *rest: Tensor) -> Tensor:
        return (scan if inputs.is_cuda else selective_scan)(inputs, *rest)

    return chosen


def check_scan(length: int = 67) -> float | None:
    """The largest difference between the compiled scan and mambapy's own, outputs and gradients.

    None where there is no compiled scan.

    Raises:
        ArithmeticError: It is larger than 1e-5, relative to the largest entry.
    """
    if load_library() is None:
        return None
    block = MambaBlock(MambaConfig(d_model=32, n_layers=1, d_state=16, expand_factor=2))
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, length, 64), (2, length, 64), (64, 16), (2, length, 16), (2, length, 16), (64,)]
    inputs = [torch.randn(shape, generator=generator) for shape in shapes]
    inputs[1] = torch.nn.functional.softplus(inputs[1] - 2)
    inputs[2] = -torch.exp(inputs[2])
    cotangent = torch.randn(shapes[0], generator=generator)
    found = []
    for scan in (selective_scan, block.selective_scan):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        outputs = scan(*leaves)
        found.append([outputs.detach(), *torch.autograd.grad(outputs, leaves, cotangent)])
    pairs = zip(*found, strict=True)
    worst = max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)
    if worst > TOLERANCE:
        raise ArithmeticError(f"the compiled scan is {worst:.1e} away from mambapy's own.")
    return worst


def scan_used(difference: float | None, device: str) -> dict[str, object]:
    """Which scan a Mamba runs with.

    Args:
        difference: What `check_scan` found.
        device: Where it runs.
    """
    compiled = difference is not None and device == "cpu"
    return {"kind": "compiled", "difference": difference} if compiled else {"kind": "mambapy"}
