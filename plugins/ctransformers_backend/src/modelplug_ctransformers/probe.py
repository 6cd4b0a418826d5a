"""Loads the engine's library, in a child process, to see whether it works here."""

from __future__ import annotations

import ctypes
import importlib
from typing import Any

from modelplug_ctransformers.detection import library_directory
from modelplug_ctransformers.engine import cpu_flags, library_for

__all__ = ["probe"]


def probe() -> dict[str, Any]:
    """Import the engine and load the library that would be used for the CPU.

    Returns:
        Fields of `BackendReport` to update.
    """
    directory = library_directory()
    if directory is None:
        return {"state": "not-installed", "cause": "the package ctransformers is not installed"}
    lib = importlib.import_module("ctransformers.lib")
    try:
        ctypes.CDLL(lib.find_library(library_for(None, cpu_flags())))
    except OSError as error:
        return {"state": "broken", "cause": str(error).strip().splitlines()[0]}
    return {}
