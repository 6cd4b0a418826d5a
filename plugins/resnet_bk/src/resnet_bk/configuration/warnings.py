"""What somebody should know who builds a model from a configuration."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from resnet_bk.configuration.errors import SeesTheFutureWarning, UnusedSettingWarning

if TYPE_CHECKING:
    from resnet_bk.configuration.config import MambaKillerConfig

__all__ = ["warn_about"]


def warn_about(config: MambaKillerConfig, *, stacklevel: int) -> None:
    """Warn if the model sees the future, and of settings that it will not follow.

    Args:
        config: The configuration.
        stacklevel: Whose call the warnings are shown for; 1 is that of this function.
    """
    if not config.is_causal:
        warnings.warn(
            "A model with the mixer diagonal-bidirectional sees the future: what it says about a token has "
            "seen the tokens after it. Use it to reproduce results of versions before 1.0, not to predict.",
            SeesTheFutureWarning,
            stacklevel=stacklevel + 1,
        )
    idle = _unused_demands(config)
    if idle:
        warnings.warn(
            f"The configuration asks for {' and '.join(idle)}, which this version keeps but does not do: the "
            "model is built without.",
            UnusedSettingWarning,
            stacklevel=stacklevel + 1,
        )


def _unused_demands(config: MambaKillerConfig) -> list[str]:
    """The settings, as they were written, that ask for something a model of this version does not do."""
    neutral: dict[str, object] = {
        "low_rank": None,
        "use_clark_measure": False,
        "use_cpu_offload": False,
        "use_act": False,
    }
    if config.mixer == "green":
        # Its gradients are exact; there is no diagonal of which earlier versions took another.
        neutral["grad_blend"] = 0
    asked = {key: getattr(config, key) for key, value in neutral.items() if getattr(config, key) != value}
    return [f"{key}={value!r}" for key, value in asked.items()]
