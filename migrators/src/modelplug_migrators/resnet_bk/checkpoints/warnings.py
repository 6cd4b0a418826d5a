"""What somebody should know whose model before 1.0 is migrated: where it will not give what it gave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelplug_migrators.resnet_bk.checkpoints.scalars import eta_of_rho, numbers_of

if TYPE_CHECKING:
    from modelplug.migration.checkpoints import CheckpointEditor
    from modelplug_migrators.resnet_bk.checkpoints.architecture import Architecture
    from modelplug_migrators.resnet_bk.checkpoints.content import OldCheckpoint
    from modelplug_migrators.resnet_bk.checkpoints.mapping import Mapped

__all__ = ["warn_about_model"]

# From about 968 sites on, the products in the old recursion were too large for 64 bits, and became 0.
_OVERFLOW: Final = 960
# Features were cut off at 10; none is larger than the inverse of the width.
_NARROW: Final = 0.1
_CHAIN: Final = {"h0_diag_base": -2.0, "h0_sub_base": 1.0, "h0_super_base": 1.0}


def warn_about_model(
    editor: CheckpointEditor, old: OldCheckpoint, mapped: Mapped, architecture: Architecture
) -> None:
    """Say where the migrated model differs from the old one.

    Args:
        editor: Takes the warnings.
        old: The checkpoint.
        mapped: Its model under the names of 1.0.
        architecture: The model that makes.
    """
    length = architecture.settings["n_seq"]
    if length >= _OVERFLOW:
        editor.warn(
            f"with {length} tokens the old program computed features of 0 for want of range; 1.0 computes "
            "them, so its logits are others"
        )
    if mapped.low_rank:
        editor.warn(f"the low-rank term is left out ({len(mapped.low_rank)} tensors): the logits are others")
    if any(_is_other_chain(old, name) for name in old.model):
        editor.warn(
            "the chain in it is not the Laplacian of the versions that 1.0 reproduces: it is rebuilt as "
            "that, and the logits are others"
        )
    widths = [
        eta_of_rho(numbers_of(ref.tensor)[0].real)
        for name, ref in mapped.tensors.items()
        if name.endswith(".mixer.rho")
    ]
    if widths and min(widths) < _NARROW:
        editor.warn(
            f"its smallest width is {min(widths):g}: where the old program cut features off, 1.0 does not"
        )
    editor.note("the model sees the future, as it did: it reproduces old results, and is not for prediction")


def _is_other_chain(old: OldCheckpoint, name: str) -> bool:
    """Whether a stored chain has other values than the free Laplacian, in its first sites."""
    wanted = _CHAIN.get(name.rpartition(".")[2])
    if wanted is None:
        return False
    first = next(old.model[name].tensor.chunks(), b"")[:64]
    tensor = old.model[name].tensor
    return tensor.dtype == "F32" and first != _pattern(wanted, len(first))


def _pattern(value: float, size: int) -> bytes:
    import struct

    return struct.pack("<f", value) * (size // 4)
