"""Makes a model train, or run, in less memory."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from modelplug.logs import get_logger
from resnet_bk.errors import InvalidInputError
from resnet_bk.memory import savings
from resnet_bk.memory.errors import NothingToOffloadWarning
from resnet_bk.memory.installed import Installed, installed_in
from resnet_bk.memory.measuring import measure_step
from resnet_bk.memory.options import check_process, refuse
from resnet_bk.memory.report import MemoryReport, Saving, StepMemory
from resnet_bk.memory.sharding import ZERO, divided_optimizer, state_bytes, state_of

__all__ = ["MemoryOptimizer"]

Model = TypeVar("Model", bound=nn.Module)


class MemoryOptimizer:
    """Saves memory in the ways it is asked for, and says of each what it did.

    Args:
        use_zero: Whether optimizers that are made here divide their state among the processes.
        use_cpu_offload: Whether tensors that are not in use leave the accelerator for the CPU's memory, and
            those of the CPU for `offload_folder`.
        use_gradient_checkpointing: Whether layers are computed again in the backward pass.
        use_mixed_precision: Whether the model computes in bfloat16; parameters stay as they are.
        offload_folder: A folder for what leaves the CPU's memory; it is made if it does not exist.
        log_memory_usage: Whether the report goes to modelplug's log, too.
        world_size: How many processes there are; it is checked and not set.
        rank: The number of this process, likewise.
        unknown: Any other option; refused, with the nearest there is.

    Raises:
        UnknownOptionError: There is no such option.
        MemorySavingError: `world_size` or `rank` is not so.
    """

    def __init__(
        self,
        *,
        use_zero: bool = False,
        use_cpu_offload: bool = False,
        use_gradient_checkpointing: bool = False,
        use_mixed_precision: bool = False,
        offload_folder: str | Path | None = None,
        log_memory_usage: bool = False,
        world_size: int | None = None,
        rank: int | None = None,
        **unknown: Any,
    ) -> None:
        refuse(unknown)
        check_process(world_size, rank)
        self.use_zero = use_zero
        self.use_cpu_offload = use_cpu_offload
        self.use_gradient_checkpointing = use_gradient_checkpointing
        self.use_mixed_precision = use_mixed_precision
        self.offload_folder = None if offload_folder is None else Path(offload_folder).expanduser()
        self.log_memory_usage = log_memory_usage
        self._model: weakref.ref[nn.Module] | None = None
        # Of the savings of a model, what there was nothing to do for.
        self._idle: dict[str, Saving] = {}
        self._optimizers: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
        self._before: StepMemory | None = None
        self._after: StepMemory | None = None

    def optimize(self, model: Model) -> Model:
        """Save memory with a model from now on; a second time changes nothing more.

        On an accelerator, offloading is for training if the model is in training mode, and else for use only.

        Args:
            model: The model, on the device where it is to compute.

        Returns:
            The same model.

        Raises:
            InvalidInputError: It is no model.
            MemorySavingError: It can't be done with this model, or the folder can't be written to.

        Warns:
            NothingToOffloadWarning: There is nowhere to move anything; said once.
        """
        if not isinstance(model, nn.Module):
            raise InvalidInputError(
                f"only a model can be optimized, and this is of the type {type(model).__name__}",
                tensor="model",
                advice="Pass the model; `make_optimizer(model)` gives an optimizer for it.",
            )
        there = installed_in(model)
        before = set(there)
        try:
            idle = self._install(model)
        except BaseException:
            # All of it or nothing.
            for name in set(there) - before:
                there.pop(name).undo(model)
            raise
        for saving in idle:
            if saving.name == savings.OFFLOAD and self._idle.get(saving.name) != saving:
                warnings.warn(f"nothing is offloaded: {saving.reason}", NothingToOffloadWarning, stacklevel=2)
        self._idle = {saving.name: saving for saving in idle}
        self._model = weakref.ref(model)
        if self.log_memory_usage:
            get_logger("memory").info("a model was optimized", report=str(self.report()))
        return model

    def _install(self, model: nn.Module) -> list[Saving]:
        """Put into a model what it does not have yet; gives what there is nothing to do for."""
        there = installed_in(model)
        ways: dict[str, Callable[[], Installed | Saving]] = {
            savings.CHECKPOINTING: lambda: savings.recompute(model),
            savings.PRECISION: lambda: savings.compute_in_bfloat16(model),
            savings.OFFLOAD: lambda: savings.offload(model, self.offload_folder),
        }
        idle = []
        for name, install in ways.items():
            if not getattr(self, name) or name in there:
                continue
            found = install()
            if isinstance(found, Installed):
                there[name] = found
            else:
                idle.append(found)
        return idle

    def restore(self, model: Model) -> Model:
        """Undo with a model what `optimize` did.

        Args:
            model: The model.

        Returns:
            The same model.
        """
        there = installed_in(model)
        while there:
            _, installed = there.popitem()
            installed.undo(model)
        return model

    def make_optimizer(
        self, model: nn.Module, *, weight_decay: float = 0.01, **options: Any
    ) -> torch.optim.Optimizer:
        """AdamW for a model, its state divided among the processes if that was asked for.

        It does not average gradients: that is for `DistributedDataParallel`.

        Args:
            model: The model; vectors and what it names by `no_weight_decay` have no weight decay.
            weight_decay: The decay of the rest.
            options: As `torch.optim.AdamW` takes them.
        """
        # It needs more libraries than a model does.
        from resnet_bk.training.optimizer import exempt_from_decay, parameter_groups

        groups = parameter_groups(model, weight_decay, exempt_from_decay(model))
        plain = [{**group, "params": [each for _, each in group["params"]]} for group in groups]
        return self.wrap_optimizer(torch.optim.AdamW, plain, **options)

    def wrap_optimizer(
        self, optimizer_class: type[torch.optim.Optimizer], parameters: Iterable[Any], **options: Any
    ) -> torch.optim.Optimizer:
        """An optimizer of any class, its state divided among the processes if that was asked for.

        Args:
            optimizer_class: The class.
            parameters: Parameters, or groups of them.
            options: As the class takes them.

        Returns:
            torch's `ZeroRedundancyOptimizer` where several processes have an open process group and the
            parameters are whole, else one of the class.
        """
        if self.use_zero:
            made = divided_optimizer(optimizer_class, parameters, options)
        else:
            made = optimizer_class(parameters, **options)
        self._optimizers.add(made)
        return made

    def measure(self, step: Callable[[], object], model: nn.Module | None = None) -> StepMemory:
        """Run one training step, and count the memory it takes. It is slower than it would be uncounted.

        Args:
            step: The step: forward, backward, and what else belongs to it.
            model: Whose step it is; None for the model that was optimized last, and before that one of the
                CPU.

        Returns:
            What was counted. The report has the last that was counted before, and after, the model had
            anything that saves memory.
        """
        known = self._known() if model is None else model
        there = {} if known is None else installed_in(known)
        activations = next((each.activations for each in there.values() if each.activations), None)
        device = torch.device("cpu") if known is None else savings.device_of(known)
        found = measure_step(step, device, activations)
        if there:
            self._after = found
        else:
            self._before = found
        return found

    def report(self) -> MemoryReport:
        """What was done to the model that was optimized last, and the bytes it takes."""
        model = self._known()
        parameters = [] if model is None else list(model.parameters())
        there = {} if model is None else installed_in(model)
        zero = state_of(self._optimizers) if self.use_zero else Saving(name=ZERO, state="off")
        return MemoryReport(
            savings=(zero, *(self._saving(name, there) for name in savings.NAMES)),
            parameters=sum(each.nbytes for each in parameters),
            parameters_elsewhere=sum(each.elsewhere for each in there.values()),
            gradients=sum(each.grad.nbytes for each in parameters if each.grad is not None),
            optimizer_state=sum(map(state_bytes, self._optimizers)),
            before=self._before,
            after=self._after,
        )

    def _saving(self, name: str, there: dict[str, Installed]) -> Saving:
        if name in there:
            return there[name].saving
        if not getattr(self, name):
            return Saving(name=name, state="off")
        return self._idle.get(name, Saving(name=name, state="to do", reason="call optimize(model)"))

    def _known(self) -> nn.Module | None:
        return None if self._model is None else self._model()
