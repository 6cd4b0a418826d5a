"""The states of the random number generators, as data."""

from __future__ import annotations

import base64
import random
from typing import Any

import numpy
import torch

__all__ = ["capture_rng", "restore_rng"]


def capture_rng() -> dict[str, Any]:
    """The states of Python's, NumPy's and torch's global generators, CUDA's included, as data for JSON."""
    version, numbers, gauss = random.getstate()
    kind, key, position, has_gauss, cached = numpy.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": {"version": version, "state": list(numbers), "gauss": gauss},
        "numpy": {
            "kind": str(kind),
            "key": numpy.asarray(key).tolist(),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "gauss": float(cached),
        },
        "torch": _as_text(torch.get_rng_state()),
    }
    # Asking for the states would start CUDA in a process that never used it.
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = [_as_text(each) for each in torch.cuda.get_rng_state_all()]
    return state


def restore_rng(state: dict[str, Any]) -> None:
    """Set the generators to what `capture_rng` found.

    States of CUDA devices that are not there now are left out.

    Args:
        state: What `capture_rng` returned, possibly after a trip through JSON.

    Raises:
        KeyError: Something is missing in it.
        ValueError: Something in it makes no sense.
    """
    python, legacy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["state"]), python["gauss"]))
    key = numpy.asarray(legacy["key"], dtype=numpy.uint32)
    numpy.random.set_state((legacy["kind"], key, legacy["position"], legacy["has_gauss"], legacy["gauss"]))
    torch.set_rng_state(_as_tensor(state["torch"]))
    if torch.cuda.is_available():
        for device, each in zip(range(torch.cuda.device_count()), state.get("cuda", []), strict=False):
            torch.cuda.set_rng_state(_as_tensor(each), device)


def _as_text(state: torch.Tensor) -> str:
    return base64.b64encode(bytes(state.numpy().tobytes())).decode("ascii")


def _as_tensor(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
