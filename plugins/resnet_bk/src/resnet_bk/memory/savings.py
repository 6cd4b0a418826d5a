"""The ways in which a model saves memory; each is put into it once, and can be taken out."""

from __future__ import annotations

import operator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from resnet_bk.memory.activations import ActivationOffload
from resnet_bk.memory.errors import MemorySavingError
from resnet_bk.memory.forward import ForwardContexts
from resnet_bk.memory.installed import Installed
from resnet_bk.memory.parameters import LayersOnCpu, layers_of, map_parameters, unmap_parameters
from resnet_bk.memory.report import Saving
from resnet_bk.memory.spill import failed_to_write

__all__ = [
    "CHECKPOINTING",
    "NAMES",
    "OFFLOAD",
    "PRECISION",
    "compute_in_bfloat16",
    "device_of",
    "offload",
    "recompute",
]

CHECKPOINTING = "use_gradient_checkpointing"
OFFLOAD = "use_cpu_offload"
PRECISION = "use_mixed_precision"
NAMES = (CHECKPOINTING, PRECISION, OFFLOAD)


def recompute(model: nn.Module) -> Installed:
    """Compute the layers of a model again in the backward pass.

    Raises:
        MemorySavingError: The model can't.
    """
    # What older releases of transformers know under the second name is deprecated in newer ones.
    for word in ("activation", "gradient"):
        enable: Any = getattr(model, f"{word}_checkpointing_enable", None)
        if enable is not None and getattr(model, "supports_gradient_checkpointing", False):
            enable()
            reason = "each layer is computed again in the backward pass"
            return Installed(
                saving=Saving(name=CHECKPOINTING, state="done", reason=reason),
                undo=operator.methodcaller(f"{word}_checkpointing_disable"),
            )
    raise MemorySavingError(
        f"{type(model).__name__} can't compute its layers again in the backward pass",
        option=CHECKPOINTING,
        why="it has no gradient checkpointing",
        advice="Pass the model itself, before DistributedDataParallel or torch.compile wraps it; or leave "
        "use_gradient_checkpointing out.",
    )


def compute_in_bfloat16(model: nn.Module) -> Installed | Saving:
    """Compute the forward pass of a model in bfloat16 where that is safe; parameters stay as they are."""
    device = device_of(model)
    if not any(each.dtype == torch.float32 for each in model.parameters()):
        return Saving(name=PRECISION, state="nothing to do", reason="no parameter of the model is in float32")
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return Saving(
            name=PRECISION,
            state="nothing to do",
            reason="this GPU has no bfloat16, and float16 needs the gradient scaler that `train` has",
        )
    ForwardContexts.add(model, PRECISION, partial(torch.autocast, device.type, dtype=torch.bfloat16))
    return Installed(
        saving=Saving(
            name=PRECISION, state="done", reason=f"forward passes on {device.type} are in bfloat16"
        ),
        undo=partial(ForwardContexts.remove, name=PRECISION),
    )


def offload(model: nn.Module, folder: Path | None) -> Installed | Saving:
    """Move what is not in use to where there is more room.

    Args:
        model: The model.
        folder: For what leaves the memory of the CPU.

    Raises:
        MemorySavingError: The folder can't be written to.
    """
    device = device_of(model)
    if device.type not in ("cpu", "mps") and not model.training:
        return _wait_on_cpu(model, device)
    if device.type not in ("cpu", "mps"):
        return _move_activations(
            model,
            None,
            reason="what is saved for the backward pass goes to the CPU's memory; for parameters in training "
            "there is FSDP2, `accelerate launch --fsdp_offload_params true`",
        )
    if device.type == "cpu" and folder is not None:
        return _move_to(model, folder)
    return Saving(name=OFFLOAD, state="nothing to do", reason=_why_nothing(device))


def device_of(model: nn.Module) -> torch.device:
    """Where a model is, by its first parameter."""
    return next((each.device for each in model.parameters()), torch.device("cpu"))


def _why_nothing(device: torch.device) -> str:
    if device.type == "mps":
        return "this accelerator has no memory of its own"
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is not None and found.type != "mps":
        return f"the model is on the CPU: move it to {found.type} first, or name an offload_folder"
    return "the model is on the CPU, and there is no accelerator: name an offload_folder on a disk"


def _move_activations(model: nn.Module, folder: Path | None, *, reason: str) -> Installed:
    activations = ActivationOffload(folder)
    ForwardContexts.add(model, OFFLOAD, activations.forward)
    return Installed(
        saving=Saving(name=OFFLOAD, state="done", reason=reason),
        undo=partial(ForwardContexts.remove, name=OFFLOAD),
        activations=activations,
    )


def _move_to(model: nn.Module, folder: Path) -> Installed:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise failed_to_write(folder, error) from error
    elsewhere = map_parameters(model, folder)
    made = _move_activations(
        model,
        folder,
        reason=f"parameters are mapped from a file in {folder}, and what is saved for the backward pass goes "
        "to another",
    )
    return Installed(
        saving=made.saving,
        undo=_move_back,
        elsewhere=elsewhere,
        activations=made.activations,
    )


def _move_back(model: nn.Module) -> None:
    ForwardContexts.remove(model, OFFLOAD)
    unmap_parameters(model)


def _wait_on_cpu(model: nn.Module, device: torch.device) -> Installed | Saving:
    layers = layers_of(model)
    if not layers:
        reason = "the model does not say what its layers are (_no_split_modules)"
        return Saving(name=OFFLOAD, state="nothing to do", reason=reason)
    waiting = LayersOnCpu(layers, device)
    ForwardContexts.add(model, OFFLOAD, waiting.forward)
    return Installed(
        saving=Saving(
            name=OFFLOAD,
            state="done",
            reason=f"each of {len(layers)} layers is on {device.type} while it computes; not for training",
        ),
        undo=partial(_bring_back, waiting=waiting),
        elsewhere=waiting.nbytes,
    )


def _bring_back(model: nn.Module, waiting: LayersOnCpu) -> None:
    ForwardContexts.remove(model, OFFLOAD)
    waiting.remove()
