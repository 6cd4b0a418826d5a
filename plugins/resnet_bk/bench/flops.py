"""Counts what a token costs in a forward pass, along the length of a text.

    python plugins/resnet_bk/bench/flops.py [--lengths 1024,16384]

ResNet-BK with its default layer, and a Llama of the same size.
"""

from __future__ import annotations

import click
import torch
from lengths import MODELS

from resnet_bk import FLOPsCounter

COUNTED = ("resnet-bk", "llama")


def flops_per_token(name: str, length: int) -> float:
    """FLOPs for each token of a text of so many.

    Args:
        name: Of the model.
        length: Tokens.
    """
    counter = FLOPsCounter(MODELS[name]())
    with counter, torch.inference_mode():
        counter.model.eval()(torch.zeros(1, length, dtype=torch.long))
    return counter.total_flops / length


@click.command()
@click.option("--lengths", default="1024,16384", show_default=True, help="Tokens, separated by commas.")
def main(lengths: str) -> None:
    """Print a line for each model and length."""
    for name in COUNTED:
        parameters = sum(parameter.numel() for parameter in MODELS[name]().parameters())
        for length in map(int, lengths.split(",")):
            each = flops_per_token(name, length)
            print(f"{name:10} {parameters:,} parameters  {length:6} tokens  {each / 1e6:.2f} MFLOPs a token")


if __name__ == "__main__":
    main()
