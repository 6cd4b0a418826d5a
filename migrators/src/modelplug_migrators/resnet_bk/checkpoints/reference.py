"""Computes with a migrated model, and compares its logits with those that the old one gave."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

from modelplug.errors import MigrationError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TOLERANCE", "compare_logits"]

TOLERANCE: Final = 1e-4
"""How far a logit may be from what it was."""


def compare_logits(result: Path, reference: Path) -> str:
    """Compute the logits of a migrated model, and compare them with known ones.

    Args:
        result: The folder of the model.
        reference: A file of NumPy's with `input_ids` (B, N) and `logits` (B, N, vocabulary).

    Returns:
        How near they are.

    Raises:
        MigrationError: They differ, or can't be computed here.
    """
    ids, expected = _read(reference)
    try:
        import torch

        from resnet_bk.modeling import ResNetBK
    except ImportError as error:
        raise MigrationError(
            "the logits can't be computed here",
            why=f"the package {error.name} is not installed",
            advice="`pip install modelplug-resnet-bk`, or leave --reference out.",
        ) from error
    with warnings.catch_warnings():
        # That an old model sees the future is said in the plan.
        warnings.simplefilter("ignore")
        model = ResNetBK.from_pretrained(result).eval()
    with torch.no_grad():
        found = model(torch.from_numpy(ids)).logits.float()
    wanted = torch.from_numpy(expected).float()
    if found.shape != wanted.shape:
        raise _different(reference, f"the logits are {list(found.shape)}, and were {list(wanted.shape)}")
    distance = float((found - wanted).abs().max())
    if not distance <= TOLERANCE:
        raise _different(reference, f"a logit is {distance:.3g} from what it was, and may be {TOLERANCE:g}")
    return (
        f"the logits of {ids.shape[0]} texts of {ids.shape[1]} tokens are those of {reference.name}: none is "
        f"further than {distance:.2g} from what it was"
    )


def _read(reference: Path) -> tuple[Any, Any]:
    import numpy

    try:
        with numpy.load(reference, allow_pickle=False) as content:
            return content["input_ids"], content["logits"]
    except (OSError, ValueError, KeyError) as error:
        raise MigrationError(
            f"{reference} is no reference",
            why=str(error),
            advice="Give a file that numpy.savez wrote, with input_ids and logits in it.",
        ) from error


def _different(reference: Path, why: str) -> MigrationError:
    return MigrationError(
        f"the migrated model does not give what {reference.name} says",
        why=why,
        advice="Nothing was put in place. Make sure that the reference belongs to this checkpoint.",
    )
