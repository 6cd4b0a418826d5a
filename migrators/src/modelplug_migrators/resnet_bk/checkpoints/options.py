"""What a user may decide about a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MODEL_OPTION", "OPTIONS", "TOP_K_OPTION"]

MODEL_OPTION: Final = "checkpoint"
TOP_K_OPTION: Final = "top_k"

OPTIONS: Final[Mapping[str, str]] = {
    MODEL_OPTION: "What becomes of a model that 1.0 can't reproduce: `exact` (the default) refuses it, "
    "`nearest` leaves out what 1.0 has nothing for, `data` keeps the tensors under their old names.",
    TOP_K_OPTION: "Through how many experts each token goes, where a checkpoint does not say it.",
}
"""The options by name, with an explanation each."""
