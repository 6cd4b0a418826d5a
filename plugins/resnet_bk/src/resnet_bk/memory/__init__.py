"""Training and running models in less memory, measured."""

from resnet_bk.memory.errors import MemorySavingError, NothingToOffloadWarning, UnknownOptionError
from resnet_bk.memory.optimizer import MemoryOptimizer
from resnet_bk.memory.report import MemoryReport, Saving, StepMemory

__all__ = [
    "MemoryOptimizer",
    "MemoryReport",
    "MemorySavingError",
    "NothingToOffloadWarning",
    "Saving",
    "StepMemory",
    "UnknownOptionError",
]
