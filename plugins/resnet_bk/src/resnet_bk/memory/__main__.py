"""Shows what a training step of a model takes, in memory and time, with each way to save memory.

python -m resnet_bk.memory --preset resnet-bk-1m --batch-size 16 --length 256
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.memory.optimizer import MemoryOptimizer
from resnet_bk.memory.report import in_units
from resnet_bk.modeling import ResNetBK
from resnet_bk.presets import PRESETS, preset

__all__ = ["main"]

_WAYS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "checkpointing": {"use_gradient_checkpointing": True},
    "bfloat16": {"use_mixed_precision": True},
    "offloading": {"use_cpu_offload": True},
    "checkpointing, offloading": {"use_gradient_checkpointing": True, "use_cpu_offload": True},
}


@click.command()
@click.option("--preset", "name", type=click.Choice(list(PRESETS)), default="resnet-bk-1m", help="The model.")
@click.option("--batch-size", type=click.IntRange(1), default=16, help="Sequences in a step.")
@click.option("--length", type=click.IntRange(2), default=256, help="Tokens in a sequence.")
@click.option("--steps", type=click.IntRange(1), default=5, help="Steps to time; the shortest is shown.")
@click.option("--device", default="cpu", help="Where to compute.")
@click.option(
    "--offload-folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to offload to from the CPU; without one nothing is offloaded there.",
)
def main(
    name: str, batch_size: int, length: int, steps: int, device: str, offload_folder: Path | None
) -> None:
    """Run training steps, forward and backward; count and time them."""
    settings = preset(name, n_seq=max(2048, length))
    tokens = torch.randint(0, settings.vocab_size, (batch_size, length), device=device)
    click.echo(f"{name}, {batch_size} x {length} tokens, {device}, {torch.get_num_threads()} thread(s)")
    trials = [
        Trial(way, settings, tokens, offload_folder)
        for way, options in _WAYS.items()
        if offload_folder is not None or device != "cpu" or "use_cpu_offload" not in options
    ]
    # In turns, so that whatever else the machine does disturbs all of them.
    for _ in range(steps):
        for trial in trials:
            trial.time()
    click.echo(f"{'':28}{'saved':>10}{'moved':>10}{'peak':>10}{'time':>10}")
    for trial in trials:
        click.echo(trial.line())


class Trial:
    """A model with one way to save memory.

    Args:
        way: Its name.
        settings: The model's configuration.
        tokens: What a step reads, (B, N).
        folder: Where to offload to from the CPU.
    """

    def __init__(self, way: str, settings: MambaKillerConfig, tokens: Tensor, folder: Path | None) -> None:
        self._way = way
        self._tokens = tokens
        self._optimizer = MemoryOptimizer(**_WAYS[way], offload_folder=folder)
        torch.manual_seed(0)
        self._model = self._optimizer.optimize(ResNetBK(settings).to(tokens.device).train())
        self._seconds: list[float] = []
        self._step()

    def _step(self) -> None:
        self._model.zero_grad()
        self._model(self._tokens, labels=self._tokens, use_cache=False).loss.backward()

    def time(self) -> None:
        """Time one step: on the CPU in processor time, which other programs change least."""
        on_cpu = self._tokens.device.type == "cpu"
        clock = time.process_time if on_cpu else time.perf_counter
        started = clock()
        self._step()
        if not on_cpu:
            torch.accelerator.synchronize()
        self._seconds.append(clock() - started)

    def line(self) -> str:
        """What a step takes, as a line of the table."""
        memory = self._optimizer.measure(self._step, self._model)
        amounts = "".join(f"{in_units(count):>10}" for count in (memory.saved, memory.moved, memory.peak))
        return f"{self._way:28}{amounts}{min(self._seconds) * 1000:>7.0f} ms"


if __name__ == "__main__":
    main()
