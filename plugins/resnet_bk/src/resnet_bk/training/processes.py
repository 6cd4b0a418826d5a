"""The processes that train together: one alone, or as many as `accelerate launch` started."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import torch

from resnet_bk.training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from resnet_bk.training.config import TrainingConfig

__all__ = ["Processes", "leave_processes", "main_process", "start_processes"]


class Processes:
    """One process by itself; several are a subclass.

    Args:
        device: Where this process computes.

    Attributes:
        rank: The number of this process, from 0.
        count: How many there are.
        device: Where this process computes.
        sharded: Whether each holds a part of the parameters only.
    """

    rank = 0
    count = 1
    sharded = False

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks to people."""
        return self.rank == 0

    def wrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model as it has to be called in training."""
        return model

    def synchronised(
        self,
        model: torch.nn.Module,  # noqa: ARG002  one process has nobody to wait for
        *,
        last: bool,  # noqa: ARG002
    ) -> AbstractContextManager[Any]:
        """What a part of a batch is computed in; gradients are exchanged with the last part only.

        Args:
            model: What `wrap` returned.
            last: Whether it is the last part.
        """
        return contextlib.nullcontext()

    def total(self, values: Iterable[float]) -> list[float]:
        """The sum over all processes, for each value."""
        return list(values)

    def from_main(self, value: Any) -> Any:
        """The value that the main process has."""
        return value

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in order."""
        return [value]

    def gradient_norm(self, parameters: Iterable[torch.nn.Parameter]) -> torch.Tensor:
        """The norm of the whole gradient."""
        gradients = [each.grad for each in parameters if each.grad is not None]
        return torch.nn.utils.get_total_norm(gradients)

    def model_state(self, model: torch.nn.Module) -> dict[str, Any]:
        """The state dict of the unwrapped model, whole; in the main process at least."""
        state: dict[str, Any] = model.state_dict()
        return state

    def optimizer_state(
        self,
        model: torch.nn.Module,  # noqa: ARG002  distributed optimizers are known by it
        optimizer: torch.optim.Optimizer,
    ) -> dict[str, Any]:
        """The state dict of the optimizer, whole; in the main process at least."""
        state: dict[str, Any] = optimizer.state_dict()
        return state

    def load_model_state(self, model: torch.nn.Module, state: dict[str, Any]) -> None:
        """Load a whole state dict, which every process has, into the unwrapped model."""
        model.load_state_dict(state)

    def load_optimizer_state(
        self,
        model: torch.nn.Module,  # noqa: ARG002  distributed optimizers are known by it
        optimizer: torch.optim.Optimizer,
        state: dict[str, Any],
    ) -> None:
        """Load a whole state dict, which every process has, into the optimizer."""
        optimizer.load_state_dict(state)


def start_processes(config: TrainingConfig) -> Processes:
    """The processes this one belongs to.

    Args:
        config: The settings; they say where to compute, and how to divide the work.

    Raises:
        TrainingError: The device does not exist, or the settings ask for what several processes can't do.
    """
    sharded = config.parallel == "fsdp2" or (config.parallel == "auto" and _flag("ACCELERATE_USE_FSDP"))
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 and not sharded:
        return Processes(_device(config.device))
    from resnet_bk.training import parallel

    if "LOCAL_RANK" not in os.environ:
        raise TrainingError(
            "parameters can't be distributed in a process that was started alone",
            advice="Start it with `accelerate launch`.",
        )
    if sharded:
        return parallel.FullySharded(config)
    return parallel.DataParallel(config)


def main_process() -> bool:
    """Whether this process is alone, or the first of several; known before they are joined."""
    return int(os.environ.get("RANK", "0")) == 0


def leave_processes() -> None:
    """Part from the other processes, if there are any; the last thing a program does with them."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _flag(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes")


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise TrainingError(
            f"there is no device {wanted!r}",
            why=str(error).splitlines()[0],
            advice="Leave the device out, or name cpu or cuda.",
        ) from error
    return device
