"""Several processes that train together, as `accelerate launch` starts them: DDP and FSDP2."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FSDPModule, fully_shard

from resnet_bk.training.config import TrainingConfig
from resnet_bk.training.processes import Processes

__all__ = ["DataParallel", "FullySharded"]


class DataParallel(Processes):
    """Every process holds the whole model, and gradients are averaged.

    Args:
        config: The settings.
    """

    def __init__(self, config: TrainingConfig) -> None:
        # It joins the process group, and gives this process its device.
        state: Any = importlib.import_module("accelerate").PartialState(cpu=config.device == "cpu")
        super().__init__(state.device)
        self.rank = state.process_index
        self.count = state.num_processes
        self._unused = config.find_unused_parameters

    def wrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model in torch's data parallelism."""
        devices = [self.device.index] if self.device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(
            model, device_ids=devices, find_unused_parameters=self._unused
        )

    @contextlib.contextmanager
    def synchronised(self, model: torch.nn.Module, *, last: bool) -> Iterator[None]:
        """Gradients are averaged with the last part only."""
        assert isinstance(model, torch.nn.parallel.DistributedDataParallel)
        with contextlib.nullcontext() if last else model.no_sync():
            yield

    def total(self, values: Iterable[float]) -> list[float]:
        """The sum over all processes, for each value."""
        # In float64 on the CPU where that is possible: counts and losses are to be exact.
        device = self.device if torch.distributed.get_backend() == "nccl" else "cpu"
        summed = torch.tensor(list(values), dtype=torch.float64, device=device)
        torch.distributed.all_reduce(summed)
        found: list[float] = summed.tolist()
        return found

    def from_main(self, value: Any) -> Any:
        """The value that the main process has."""
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0, device=self.device)
        return values[0]

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in order."""
        values: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(values, value)
        return values


class FullySharded(DataParallel):
    """Every process holds a part of every parameter, gradient and optimizer state (FSDP2).

    What `accelerate launch` says about layers to wrap, offloading and resharding is heeded; else the layers
    that the model names in `_no_split_modules` are wrapped.

    Args:
        config: The settings.
    """

    sharded = True

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__(config)
        utilities: Any = importlib.import_module("accelerate.utils")
        # It reads what `accelerate launch` was told.
        self._plugin = utilities.FullyShardedDataParallelPlugin(fsdp_version=2)

    def wrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model itself, with its parameters distributed: layer by layer, then the rest."""
        options = {"reshard_after_forward": self._plugin.reshard_after_forward}
        if self._plugin.cpu_offload:
            options["offload_policy"] = self._plugin.cpu_offload
        mesh = torch.distributed.init_device_mesh(self.device.type, (self.count,))
        names = self._plugin.transformer_cls_names_to_wrap or getattr(model, "_no_split_modules", None) or ()
        for module in list(model.modules()):
            if type(module).__name__ in names:
                fully_shard(module, mesh=mesh, **options)
        fully_shard(model, mesh=mesh, **options)
        return model

    @contextlib.contextmanager
    def synchronised(self, model: torch.nn.Module, *, last: bool) -> Iterator[None]:
        """Gradients are averaged with the last part only."""
        assert isinstance(model, FSDPModule)
        model.set_requires_gradient_sync(last)
        yield

    def gradient_norm(self, parameters: Iterable[torch.nn.Parameter]) -> torch.Tensor:
        """The norm of the whole gradient, of which each process holds parts."""
        norm: Any = super().gradient_norm(parameters)
        return norm.full_tensor() if hasattr(norm, "full_tensor") else norm

    def model_state(self, model: torch.nn.Module) -> dict[str, Any]:
        """The whole state dict, in the main process; what the model shares is shared in it."""
        state: dict[str, Any] = get_model_state_dict(model, options=_whole())
        first: dict[int, str] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            kept = first.setdefault(id(parameter), name)
            if name in state and kept in state:
                state[name] = state[kept]
        return state

    def optimizer_state(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The whole state dict in the main process, as an optimizer that is not distributed would give it."""
        if not optimizer.state:
            # torch would make a step to have a state, which then counts as one.
            empty: dict[str, Any] = optimizer.state_dict()
            return empty
        state = get_optimizer_state_dict(model, optimizer, options=_whole())
        return _by_number(state, optimizer) if self.is_main else {}

    def load_model_state(self, model: torch.nn.Module, state: dict[str, Any]) -> None:
        """Load a whole state dict, which every process has."""
        set_model_state_dict(model, state, options=StateDictOptions(full_state_dict=True))

    def load_optimizer_state(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
    ) -> None:
        """Load a whole state dict, which every process has, from an optimizer that was distributed or not."""
        if not state["state"]:
            optimizer.load_state_dict(state)
            return
        set_optimizer_state_dict(
            model, optimizer, _by_name(state), options=StateDictOptions(full_state_dict=True)
        )


def _whole() -> StateDictOptions:
    return StateDictOptions(full_state_dict=True, cpu_offload=True)


def _by_number(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state with parameters as numbers, as `Optimizer.state_dict` gives it."""
    groups: list[dict[str, Any]] = []
    numbers: dict[str, int] = {}
    for group, own in zip(state["param_groups"], optimizer.param_groups, strict=True):
        names = list(own["param_names"])
        first = len(numbers)
        numbers.update({name: first + position for position, name in enumerate(names)})
        rest = {key: value for key, value in group.items() if key not in ("params", "param_names")}
        groups.append({**rest, "param_names": names, "params": [numbers[name] for name in names]})
    return {
        "state": {numbers[name]: entry for name, entry in state["state"].items()},
        "param_groups": groups,
    }


def _by_name(state: dict[str, Any]) -> dict[str, Any]:
    """The state with parameters as names, as functions for distributed optimizers want it."""
    names = {
        number: name
        for group in state["param_groups"]
        for number, name in zip(group["params"], group["param_names"], strict=True)
    }
    return {
        "state": {names[number]: entry for number, entry in state["state"].items()},
        "param_groups": [
            {**group, "params": [names[number] for number in group["params"]]}
            for group in state["param_groups"]
        ],
    }
