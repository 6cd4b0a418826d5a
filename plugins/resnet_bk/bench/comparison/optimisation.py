"""One training step, the same for every model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Trainer", "logits_of"]

IGNORED = -100
TOKENS_AT_ONCE = 4096


def logits_of(model: nn.Module, tokens: Tensor) -> Tensor:
    """The logits of the token after each token, (B, N, vocab_size), from (B, N)."""
    found = model(tokens)
    return found if isinstance(found, Tensor) else found.logits


def _decays(name: str, parameter: Tensor) -> bool:
    """Whether it is a matrix: taps of convolutions and logarithms of rates are none, whatever their shape."""
    return parameter.ndim >= 2 and "conv" not in name and not name.endswith("A_log")


class Trainer:
    """AdamW with weight decay on matrices only, a one-cycle rate, and gradients clipped to norm 1.

    As PyTorch has the one-cycle schedule, the momentum goes from 0.95 down to 0.85 while the rate rises, and
    back. Large batches are computed in parts that fit into caches: the update is the same.

    Args:
        model: What to train.
        rate: The highest learning rate; reached after 5 % of the steps.
        steps: How many there will be.
    """

    def __init__(self, model: nn.Module, rate: float, steps: int) -> None:
        self.model = model
        named = list(model.named_parameters())
        groups = [
            {"params": [p for name, p in named if _decays(name, p)], "weight_decay": 0.1},
            {"params": [p for name, p in named if not _decays(name, p)], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95))
        # One step more, since a cycle of a single step has no slope.
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, rate, total_steps=steps + 1, pct_start=0.05
        )
        model.train()

    def step(self, tokens: Tensor, targets: Tensor) -> tuple[float, Tensor]:
        """Update once.

        Args:
            tokens: (B, N).
            targets: What each should predict, (B, N); -100 where nothing counts.

        Returns:
            The loss, and the logits before the update.
        """
        rows = max(1, TOKENS_AT_ONCE // tokens.shape[1])
        counted = int((targets != IGNORED).sum())
        total, found = 0.0, []
        self._optimizer.zero_grad()
        for part, wanted in zip(tokens.split(rows), targets.split(rows), strict=True):
            logits = logits_of(self.model, part)
            loss = functional.cross_entropy(
                logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="sum"
            )
            (loss / counted).backward()
            total += loss.item()
            found.append(logits.detach())
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()
        return total / counted, torch.cat(found)
