"""The counter of floating-point operations, for users."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import ExitStack
from types import TracebackType
from typing import NamedTuple

import torch
from torch import nn

from resnet_bk.errors import InvalidInputError
from resnet_bk.flops import counting
from resnet_bk.flops.running import RunningModules
from resnet_bk.flops.table import Row, level_of, table

__all__ = ["FLOPsCounter"]


class _Kind(NamedTuple):
    """What is told apart: module (None for what is in none), operation, and whether a backward pass asked."""

    module: str | None
    operation: str
    is_backward: bool


class _Block(threading.local):
    """What a thread has opened."""

    def __init__(self) -> None:
        self.depth = 0
        self.resources = ExitStack()


class FLOPsCounter:
    """Counts the floating-point operations that are executed in a `with` block, while they are.

        counter = FLOPsCounter(model)
        with counter:
            model(input_ids)
        print(counter.total_flops)

    All that the thread of the block computes counts, its backward passes as well: matrix products,
    convolutions, attention, and the recurrences of ResNet-BK, by the formulas of `resnet_bk.flops.costs`. A
    multiply-add is 2. What works on each element for itself (activations, norms, softmax, dropout), lookups
    and decompositions of matrices do not count. The count does not depend on the kernels that compute.

    A counter can be used for several blocks, one after the other, one in the other, or in several threads:
    its counts add up. Entered once more inside of its own block, it counts once. The first block of a process
    imports PyTorch's compilers, which takes some seconds.

    Args:
        model: Any module; its modules are told apart.

    Raises:
        InvalidInputError: The model is not a `torch.nn.Module`.
    """

    def __init__(self, model: nn.Module) -> None:
        if not isinstance(model, nn.Module):
            raise InvalidInputError(
                f"`model` is of type {type(model).__name__}, and must be a torch.nn.Module",
                tensor="model",
                advice="Pass the model whose modules are to be told apart.",
            )
        self.model = model
        self._lock = threading.Lock()
        self._mark = object()
        self._block = _Block()
        self._counts: dict[_Kind, int] = defaultdict(int)

    def __enter__(self) -> FLOPsCounter:
        if not self._block.depth:
            self._block.resources = self._opened()
        self._block.depth += 1
        return self

    def _opened(self) -> ExitStack:
        """What has to be closed when the block ends."""
        # It imports Triton, where that is installed: only who counts should wait for that.
        from resnet_bk.flops.dispatch import listening

        names = {id(module): name for name, module in self.model.named_modules()}
        running = RunningModules(names, self._mark)

        def listener(operation: str, flops: int, module: int) -> None:
            name = names.get(module or running.innermost() or 0)
            self._add(name, operation, flops)

        with ExitStack() as resources:
            resources.enter_context(counting.opened())
            resources.enter_context(running.following())
            resources.enter_context(listening(listener))
            return resources.pop_all()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._block.depth -= 1
        if not self._block.depth:
            self._block.resources.close()

    def _add(self, module: str | None, operation: str, flops: int) -> None:
        is_backward = torch._C._current_graph_task_id() != -1
        with self._lock:
            self._counts[_Kind(module, operation, is_backward)] += flops

    def reset(self) -> None:
        """Begin at 0 again."""
        with self._lock:
            self._counts.clear()

    @property
    def total_flops(self) -> int:
        """All FLOPs so far."""
        return sum(self._found().values())

    @property
    def forward_flops(self) -> int:
        """Those outside of backward passes."""
        return sum(flops for kind, flops in self._found().items() if not kind.is_backward)

    @property
    def backward_flops(self) -> int:
        """Those in backward passes, forward computations that gradient checkpointing repeats included."""
        return self.total_flops - self.forward_flops

    @property
    def by_operation(self) -> dict[str, int]:
        """FLOPs of each operation: `aten.mm`, `resnet_bk.gated_state` ..."""
        found: dict[str, int] = defaultdict(int)
        for kind, flops in self._found().items():
            found[kind.operation] += flops
        return dict(found)

    @property
    def by_module(self) -> dict[str, int]:
        """FLOPs of each module that computed, those inside of it included, in the order of the model.

        Names are those of `model.named_modules()`: the model itself is "". What no module of the model
        computed, a loss for example, is in `total_flops` alone.
        """
        return {name: row.forward + row.backward for name, row in self._rows().items()}

    def _found(self) -> dict[_Kind, int]:
        with self._lock:
            return dict(self._counts)

    def _rows(self) -> dict[str, Row]:
        rows: dict[str, Row] = defaultdict(Row)
        for kind, flops in self._found().items():
            for name in () if kind.module is None else _with_parents(kind.module):
                rows[name] = rows[name].plus(flops, is_backward=kind.is_backward)
        order = dict.fromkeys([*(name for name, _ in self.model.named_modules()), *rows])
        return {name: rows[name] for name in order if name in rows}

    def summary(self, depth: int | None = 2) -> str:
        """A table of the modules with their FLOPs and shares of the total.

        Args:
            depth: Levels below the model that are shown; None for all.

        Raises:
            InvalidInputError: The depth is negative.
        """
        if depth is not None and depth < 0:
            raise InvalidInputError(
                f"`depth` is {depth}, and must not be negative",
                tensor="depth",
                advice="Pass 0 for the model alone, or None for all of its modules.",
            )
        rows = {name: row for name, row in self._rows().items() if depth is None or level_of(name) <= depth}
        total = Row(self.forward_flops, self.backward_flops)
        return table(type(self.model).__name__, rows, total)


def _with_parents(name: str) -> list[str]:
    """A name and those of all modules around it, the whole model's last."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(level_of(name), -1, -1)]
