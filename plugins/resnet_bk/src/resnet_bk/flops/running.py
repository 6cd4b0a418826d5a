"""Which module of a model is computing, forward or backward."""

from __future__ import annotations

import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._pytree import tree_leaves

__all__ = ["RunningModules"]

_NO_TASK = -1


class _Call(NamedTuple):
    """A module that was called and has not returned.

    Attributes:
        module: Which.
        task: The backward pass that called it, to compute again what was not kept; -1 outside of one.
        passed: The nodes that what it passed to modules inside came from.
    """

    module: int
    task: int
    passed: list[Any]


class _Calls(threading.local):
    """The calls of each thread, the innermost last."""

    def __init__(self) -> None:
        self.stack: list[_Call] = []


class RunningModules:
    """Knows which module of a model is computing in a thread.

    Hooks for all modules, and not those of the model's own, tell of calls: a layer with hooks would compute
    in other steps. Backward passes are followed by marks on the nodes that a module has left in the graph.

    Args:
        known: The ids of the model's modules.
        mark: What nodes are marked by; those of an earlier block are found by the same one.
    """

    def __init__(self, known: Container[int], mark: object) -> None:
        self._known = known
        self._mark = mark
        self._calls = _Calls()

    @contextmanager
    def following(self) -> Iterator[None]:
        """A block in which calls are followed."""
        hooks = (
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def innermost(self) -> int | None:
        """The id of the module that this thread is computing; None if it is none of the model's."""
        task, stack = torch._C._current_graph_task_id(), self._calls.stack
        if stack and stack[-1].task == task:
            return stack[-1].module
        node = None if task == _NO_TASK else torch._C._current_autograd_node()
        return None if node is None else node.metadata.get(self._mark)

    def _enter(self, module: nn.Module, _: Any) -> None:
        if id(module) in self._known:
            self._calls.stack.append(_Call(id(module), torch._C._current_graph_task_id(), []))

    def _leave(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        stack = self._calls.stack
        if stack and stack[-1].module == id(module):
            call, before = stack.pop(), _nodes(inputs)
            self._claim(call, set(before), _nodes(outputs))
            if stack:
                stack[-1].passed.extend(before)

    def _claim(self, call: _Call, before: set[Any], after: list[Any]) -> None:
        """Mark the nodes between inputs and outputs that no module inside has marked."""
        rest = [*after, *call.passed]
        while rest:
            node = rest.pop()
            if node not in before and self._mark not in node.metadata:
                node.metadata[self._mark] = call.module
                rest.extend(following for following, _ in node.next_functions if following is not None)


def _nodes(values: Any) -> list[Any]:
    """The nodes of the graph that tensors anywhere in `values` come from."""
    leaves = tree_leaves(values)
    return [leaf.grad_fn for leaf in leaves if isinstance(leaf, Tensor) and leaf.grad_fn is not None]
