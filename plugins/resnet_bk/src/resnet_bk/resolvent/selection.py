"""Chooses the kernel that computes, and says why."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from typing import TYPE_CHECKING, cast

import attrs
import torch

from resnet_bk.errors import InvalidInputError, KernelUnavailableError

if TYPE_CHECKING:
    from resnet_bk.resolvent.kernels.protocol import Kernel

__all__ = [
    "KERNELS",
    "VARIABLE",
    "KernelChoice",
    "choose_kernel",
    "exporting",
    "kernel_name",
    "kernel_of",
    "kernel_report",
]

KERNELS = ("torch", "cpu", "triton")
VARIABLE = "RESNET_BK_KERNEL"

_FASTEST = {"cpu": "cpu", "cuda": "triton"}
_MODULES = {
    "torch": "resnet_bk.resolvent.kernels.torch_kernel",
    "cpu": "resnet_bk.resolvent.kernels.cpu_kernel",
    "triton": "resnet_bk.resolvent.kernels.triton_kernel",
}


@attrs.frozen
class KernelChoice:
    """Which kernel computes on a device, or could.

    Attributes:
        name: `torch`, `cpu` or `triton`.
        usable: Whether it can run there.
        reason: Why it was chosen, or can't run, in words.
    """

    name: str
    usable: bool
    reason: str


def kernel_report(device: torch.device | str = "cpu") -> list[KernelChoice]:
    """What every kernel can do on a device, the one chosen by itself first.

    Args:
        device: Where the tensors are.
    """
    place = torch.device(device)
    chosen = choose_kernel(place)
    rest = [
        KernelChoice(name, not why, why or "it would run here, but is not the fastest")
        for name in KERNELS
        if name != chosen.name
        for why in [_why_not(name, place)]
    ]
    return [chosen, *rest]


def choose_kernel(device: torch.device | str = "cpu", kernel: str = "auto") -> KernelChoice:
    """The kernel that computes on a device, with the reason.

    The environment variable RESNET_BK_KERNEL, if set, stands in for `kernel`.

    Args:
        device: Where the tensors are.
        kernel: `auto`, or the name of a kernel.

    Raises:
        KernelUnavailableError: The kernel that was named can't run there.
        InvalidInputError: There is no kernel of that name.
    """
    wish, source = os.environ.get(VARIABLE, ""), f"the environment variable {VARIABLE} names it"
    if not wish:
        wish, source = kernel, "the call names it"
    if wish not in {"auto", *KERNELS}:
        raise InvalidInputError(
            f"there is no kernel {wish!r}", tensor="kernel", advice=f"Use auto, {', '.join(KERNELS)}."
        )
    place = torch.device(device)
    if exporting():
        return KernelChoice("torch", usable=True, reason="an export consists of PyTorch operations")
    if wish == "auto":
        return _best(place)
    why = _why_not(wish, place)
    if why:
        raise KernelUnavailableError(
            f"the kernel {wish!r} can't run on {place.type}",
            kernel=wish,
            why=why,
            advice="Use kernel='auto', and unset RESNET_BK_KERNEL, to take the best one there is.",
        )
    return KernelChoice(wish, usable=True, reason=source)


def kernel_name(device: torch.device, kernel: str) -> str:
    """The name of what `choose_kernel` chooses, without the words: every operation asks for it."""
    if kernel == "auto" and VARIABLE not in os.environ and not exporting():
        fast = _FASTEST.get(device.type)
        return "torch" if fast is None or _why_not(fast, device) else fast
    return choose_kernel(device, kernel).name


def exporting() -> bool:
    """Whether PyTorch is recording operations instead of computing with values."""
    return bool(torch.compiler.is_exporting() or torch.jit.is_tracing())


def _best(device: torch.device) -> KernelChoice:
    fast = _FASTEST.get(device.type)
    if fast is None:
        reason = f"PyTorch operations: no kernel is written for {device.type}"
        return KernelChoice("torch", usable=True, reason=reason)
    why = _why_not(fast, device)
    if why:
        return KernelChoice("torch", usable=True, reason=f"PyTorch operations, as {why}")
    what = "compiled for the CPU" if fast == "cpu" else "compiled for this GPU by Triton"
    if fast == "cpu":
        from resnet_bk.resolvent.kernels import cpu_library

        library = cpu_library.load()
        threads = "OpenMP" if library.threaded else "one thread"
        what = f"{what} ({library.variant.lstrip('_')}, {threads})"
    return KernelChoice(fast, usable=True, reason=what)


def _why_not(name: str, device: torch.device) -> str:
    """Why a kernel can't run on a device; empty if it can."""
    if name == "cpu":
        if device.type != "cpu":
            return f"it computes on the CPU, and the tensors are on {device.type}"
        from resnet_bk.resolvent.kernels import cpu_library

        return cpu_library.why_not()
    if name == "triton":
        return _why_not_triton(device.type)
    return ""


def _why_not_triton(device_type: str) -> str:
    if not _has_triton():
        return "Triton is not installed"
    import triton

    if triton.knobs.runtime.interpret or device_type == "cuda":
        return ""
    return f"Triton computes on GPUs, and the tensors are on {device_type} (TRITON_INTERPRET=1 emulates one)"


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


@functools.cache
def kernel_of(name: str) -> Kernel:
    """The kernel of that name, its module imported."""
    module = importlib.import_module(_MODULES[name])
    return cast("Kernel", getattr(module, "KERNEL", module))
