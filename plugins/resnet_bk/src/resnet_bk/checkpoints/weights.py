"""The tensors and the configuration of a model, and how a checkpoint's tensors fit into one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

import attrs
import torch

from resnet_bk.checkpoints.errors import CheckpointMismatchError, StateNotSavableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["Skeleton", "config_of", "fit", "model_tensors", "unwrap"]

_SHOWN = 8


def unwrap(model: torch.nn.Module) -> torch.nn.Module:
    """The model itself, without what `torch.compile` or data parallelism put around it."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(
            model, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
        ):
            inner = model.module
        if not isinstance(inner, torch.nn.Module):
            return model
        model = inner


def model_tensors(
    model: torch.nn.Module | Mapping[str, Any], path: Path
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors to store, and which names share them.

    Args:
        model: A model or its state dict.
        path: Where it will be stored, for the error.

    Returns:
        Tensors by name, each once, and further name -> the name it shares its tensor with.

    Raises:
        StateNotSavableError: An entry is no tensor, or has no values here.
    """
    state = unwrap(model).state_dict() if isinstance(model, torch.nn.Module) else model
    kept: dict[str, torch.Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[object, str] = {}
    for name, value in state.items():
        tensor = _demand_values(name, value, path)
        identity = _identity(tensor)
        if identity is not None and identity in first:
            aliases[name] = first[identity]
            continue
        if identity is not None:
            first[identity] = name
        kept[name] = tensor
    return kept, aliases


def _demand_values(name: str, value: Any, path: Path) -> torch.Tensor:
    why = ""
    if not isinstance(value, torch.Tensor):
        why = f"it is of the type {type(value).__name__}, not a tensor"
    elif value.is_meta:
        why = "it is on the meta device, where tensors have no values"
    elif hasattr(value, "full_tensor"):
        why = "it is distributed over several processes"
    elif value.layout is not torch.strided or value.is_quantized:
        why = "it is sparse or quantised"
    if why:
        raise StateNotSavableError(
            f"the model's {name} can't be stored",
            place=name,
            path=path,
            why=why,
            advice="Give save_checkpoint a state dict of plain tensors.",
        )
    return cast("torch.Tensor", value)


def _identity(tensor: torch.Tensor) -> object | None:
    """What two tensors have in common that are one and the same memory seen in the same way."""
    if tensor.numel() == 0:
        return None
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())


def config_of(model: object) -> dict[str, Any] | None:
    """The configuration of a model as data, or None if it has none.

    Args:
        model: Anything with an attribute `config`: a mapping, an attrs class, a dataclass, or something with
            `to_dict`.
    """
    if isinstance(model, torch.nn.Module):
        model = unwrap(model)
    config: Any = getattr(model, "config", None)
    if config is None:
        return None
    if callable(getattr(config, "to_dict", None)):
        found = dict(config.to_dict())
    elif attrs.has(type(config)):
        found = attrs.asdict(config)
    elif dataclasses.is_dataclass(config) and not isinstance(config, type):
        found = dataclasses.asdict(config)
    else:
        found = dict(config)
    if hasattr(model, "from_pretrained"):  # what transformers writes, and needs to find the class again
        found["architectures"] = [type(model).__name__]
        found.pop("_name_or_path", None)  # where it was loaded from once is nobody else's business
    return found


@attrs.frozen(kw_only=True)
class Skeleton:
    """What a model's state dict looks like, without its values.

    Attributes:
        shapes: The shape of every tensor, by name.
        tied: Groups of names that share a tensor.
    """

    shapes: dict[str, tuple[int, ...]]
    tied: list[list[str]]

    @classmethod
    def of(cls, model: torch.nn.Module) -> Skeleton:
        """The skeleton of a model; to be taken before parameters are distributed, which hides what is shared.

        Args:
            model: The model.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        groups: dict[object, list[str]] = {}
        for name, value in unwrap(model).state_dict().items():
            shapes[name] = tuple(value.shape) if isinstance(value, torch.Tensor) else ()
            identity = _identity(value) if isinstance(value, torch.Tensor) and not value.is_meta else None
            if identity is not None:
                groups.setdefault(identity, []).append(name)
        return cls(shapes=shapes, tied=[group for group in groups.values() if len(group) > 1])


def fit(
    skeleton: Skeleton, found: Mapping[str, torch.Tensor], aliases: Mapping[str, str], path: Path
) -> dict[str, torch.Tensor]:
    """The state dict to load into a model, if the checkpoint fits it exactly.

    Args:
        skeleton: That of the model.
        found: The checkpoint's tensors.
        aliases: Further names of them.
        path: The checkpoint, for the error.

    Raises:
        CheckpointMismatchError: It is of another architecture.
    """
    state = {**found, **{alias: found[name] for alias, name in aliases.items() if name in found}}
    different = []
    for group in skeleton.tied:
        present = [name for name in group if name in state]
        for name in group:
            if present and name not in state:
                state[name] = state[present[0]]
        different += [name for name in present[1:] if not torch.equal(state[name], state[present[0]])]
    shapes = skeleton.shapes
    missing = [name for name in shapes if name not in state]
    unexpected = [name for name in state if name not in shapes]
    misshapen = {
        name: (shape, tuple(state[name].shape))
        for name, shape in shapes.items()
        if name in state and shape != tuple(state[name].shape)
    }
    if missing or unexpected or misshapen or different:
        raise _mismatch(path, missing, unexpected, misshapen, different)
    return state


def _mismatch(
    path: Path,
    missing: list[str],
    unexpected: list[str],
    misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]],
    different: list[str],
) -> CheckpointMismatchError:
    parts = []
    if missing:
        parts.append(f"{_count(missing)} missing in it: {_listed(missing)}")
    if unexpected:
        parts.append(f"{_count(unexpected)} unknown to the model: {_listed(unexpected)}")
    if misshapen:
        shapes = [
            f"{name} {list(here)} here, {list(there)} there" for name, (here, there) in misshapen.items()
        ]
        parts.append(f"{_count(misshapen)} of another shape: {_listed(shapes)}")
    if different:
        parts.append(f"the model shares tensors that differ in it: {_listed(different)}")
    return CheckpointMismatchError(
        f"the checkpoint {path.name} is of another architecture than the model",
        path=path,
        missing=missing,
        unexpected=unexpected,
        misshapen=misshapen,
        why="; ".join(parts),
        advice=f"Build the model from {path / 'config.json'}, which is the configuration it was saved with.",
    )


def _count(items: Iterable[object]) -> str:
    number = len(list(items))
    return f"{number} {'tensor is' if number == 1 else 'tensors are'}"


def _listed(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
