"""The options of a memory optimizer that versions before 1.0 had besides the three of now."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import torch

from resnet_bk.memory.errors import MemorySavingError, UnknownOptionError

__all__ = ["OPTIONS", "check_process", "processes", "refuse"]

OPTIONS = (
    "use_zero", "use_cpu_offload", "use_gradient_checkpointing", "use_mixed_precision", "offload_folder",
    "log_memory_usage", "world_size", "rank",
)  # fmt: skip
_MATRIX = "it was about the factors of one N x N matrix, which models no longer hold"
_GONE = {
    "offload_lowrank": _MATRIX,
    "offload_threshold": "it had no effect; everything above 64 KiB is moved",
    "lowrank_dtype": _MATRIX,
    "tridiag_dtype": _MATRIX,
    "use_hierarchical": _MATRIX,
    "num_levels": _MATRIX,
    "memory_check_interval": "memory is measured when `measure` is called",
}


def refuse(unknown: Mapping[str, Any]) -> None:
    """Refuse options that there are not.

    Raises:
        UnknownOptionError: There is one; the nearest that exists stands in the advice.
    """
    for name in unknown:
        if name in _GONE:
            raise UnknownOptionError(
                f"there is no option {name!r} any more", option=name, why=_GONE[name], advice="Leave it out."
            )
        close = difflib.get_close_matches(name, OPTIONS, n=1)
        raise UnknownOptionError(
            f"there is no option {name!r}",
            option=name,
            nearest=close[0] if close else "",
            advice=f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(OPTIONS)}.",
        )


def check_process(world_size: int | None, rank: int | None) -> None:
    """Make sure that what a program says of its processes is so; they are never set here.

    Args:
        world_size: How many processes it says there are.
        rank: The number that it says this one has.

    Raises:
        MemorySavingError: It is not so.
    """
    count, own = processes()
    for option, said, found in (("world_size", world_size, count), ("rank", rank, own)):
        if said is not None and said != found:
            raise MemorySavingError(
                f"{option}={said} is not what the process group says, which is {found}",
                option=option,
                why="" if count > 1 else "this process is alone",
                advice="Leave it out, and start the processes with `torchrun` or `accelerate launch`.",
            )


def processes() -> tuple[int, int]:
    """How many processes work together, and the number of this one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size(), torch.distributed.get_rank()
    return 1, 0
