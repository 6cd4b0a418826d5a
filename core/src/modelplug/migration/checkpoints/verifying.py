"""Checks a result against its source, both read anew: every tensor is where the account says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.errors import MigrationError
from modelplug.migration.account import counted
from modelplug.migration.checkpoints.hashing import hash_tensor
from modelplug.migration.checkpoints.ledger import counts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from modelplug.migration.checkpoints.ledger import TensorFate
    from modelplug.migration.checkpoints.source import CheckpointSource, TensorData

__all__ = ["verify_account"]

_SHOWN = 3


def verify_account(
    path: Path, fates: Sequence[TensorFate], source: CheckpointSource, result: CheckpointSource
) -> str:
    """Make sure that the account is right, to the byte.

    Args:
        path: The checkpoint, for the error.
        fates: The account.
        source: The checkpoint, read anew.
        result: What came of it, read anew.

    Returns:
        The sums, one sentence.

    Raises:
        MigrationError: Something is not as the account says.
    """
    problems = list(_problems(fates, source, result))
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise MigrationError(
            f"the account of {path} is wrong",
            why="; ".join(problems[:_SHOWN]) + more,
            advice="Report it to the authors of the plugin; nothing was put in place.",
        )
    counts = counts_of(fates)
    before = f"{counted(len(source.tensors), 'tensor')} before"
    after = f"{len(result.tensors)} after"
    return (
        f"{before}: {counts['moved']} moved, {counts['transformed']} transformed, {counts['inlined']} "
        f"written as text, {counts['dropped']} dropped; {after}, {counts['added']} of them new; every hash "
        "is as it should be"
    )


def _problems(
    fates: Sequence[TensorFate], source: CheckpointSource, result: CheckpointSource
) -> Iterator[str]:
    origins = [fate.origin for fate in fates if fate.origin]
    targets = [fate.target for fate in fates if fate.tensor is not None]
    if sorted(origins) != sorted(source.tensors):
        yield f"it speaks of {len(origins)} tensors, and there were {len(source.tensors)}"
        return
    if sorted(targets) != sorted(result.tensors):
        yield f"it speaks of {len(targets)} tensors that are left, and there are {len(result.tensors)}"
        return
    for fate in fates:
        if fate.tensor is None:
            continue
        wanted = source.tensors[fate.origin] if fate.kind == "moved" else fate.tensor
        problem = _difference(wanted, result.tensors[fate.target])
        if problem:
            yield f"{fate.target} {problem}"


def _difference(wanted: TensorData, found: TensorData) -> str:
    if (wanted.dtype, wanted.shape) != (found.dtype, found.shape):
        return f"is {found.dtype} {list(found.shape)} instead of {wanted.dtype} {list(wanted.shape)}"
    return "" if hash_tensor(wanted) == hash_tensor(found) else "has other values"
