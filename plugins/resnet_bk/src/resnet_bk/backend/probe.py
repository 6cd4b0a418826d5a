"""Asks torch itself, in a child process, which devices and kernels there are."""

from __future__ import annotations

import importlib
import os
from typing import Any

from resnet_bk._version import __version__

__all__ = ["probe"]


def probe() -> dict[str, Any]:
    """Import the engine and ask it.

    Returns:
        Fields of `BackendReport` to update.
    """
    torch = importlib.import_module("torch")
    importlib.import_module("resnet_bk.modeling")
    selection = importlib.import_module("resnet_bk.resolvent.selection")
    # The answer is remembered, and what the variable says holds for one program only.
    os.environ.pop(selection.VARIABLE, None)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    choice = selection.choose_kernel("cuda" if count else "cpu")
    fields: dict[str, Any] = {
        "devices": [f"cuda:{number}" for number in range(count)],
        "state": "gpu" if count else "cpu",
        "gpu_offload": "whole" if count else "none",
        "version": f"{__version__}, kernel {choice.name}",
        "cause": "",
    }
    if not count and torch.version.cuda is not None:
        fields["cause"] = f"torch {torch.__version__} finds no CUDA device it can use"
    elif choice.name == "torch":
        fields["cause"] = f"it computes many times slower than it could, with {choice.reason}"
    return fields
