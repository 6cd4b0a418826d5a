"""What programs written for versions before 1.0 call; each call warns and says what to write instead."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from resnet_bk.configuration import MambaKillerConfig, UnknownSettingError
from resnet_bk.configuration.checks import RENAMED
from resnet_bk.modeling import ResNetBKForCausalLM

__all__ = ["LanguageModel"]

# The order of positional arguments that all versions had in common.
_POSITIONAL = ("vocab_size", "d_model", "n_layers", "n_seq", "num_experts", "top_k", "dropout")
# Settings that chose between implementations, or had no effect on what a model computes.
_DROPPED = frozenset(
    {
        "scattering_scale", "scattering_scale_warmup_steps", "use_birman_schwinger", "use_fused_moe_kernel",
        "use_triton_kernel", "triton_kernel_version", "use_analytic_gradient", "use_custom_kernels",
    }
)  # fmt: skip


class LanguageModel(ResNetBKForCausalLM):
    """The model class of versions before 1.0: settings as arguments in, a tensor of logits out.

    It is the model that `ResNetBK(MambaKillerConfig(...))` gives for the same settings. Weights of models
    from before 1.0 are not loaded into it but migrated.

    Args:
        arguments: A configuration, a mapping of settings, or settings in the order of old.
        settings: Settings under their names of old or of now.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        warnings.warn(
            "LanguageModel(...) is deprecated and will be removed in 2.0: write "
            "ResNetBK(MambaKillerConfig(...)). `modelplug migrate plan PATH` shows the change for a program "
            "or checkpoint, and `modelplug migrate apply PATH` makes it.",
            DeprecationWarning,
            stacklevel=2,
        )
        super().__init__(_config_of(arguments, settings))

    def forward(self, *arguments: Any, **options: Any) -> Tensor:
        """The logits of the token after each token, (B, N, vocab_size)."""
        logits: Tensor = super().forward(*arguments, **options).logits
        return logits


def _config_of(arguments: tuple[Any, ...], settings: Mapping[str, Any]) -> MambaKillerConfig:
    if arguments and isinstance(arguments[0], MambaKillerConfig):
        return arguments[0]
    if arguments and isinstance(arguments[0], Mapping):
        settings, arguments = {**arguments[0], **settings}, arguments[1:]
    if len(arguments) > len(_POSITIONAL):
        raise UnknownSettingError(
            f"LanguageModel takes {len(_POSITIONAL)} settings without a name, and got {len(arguments)}",
            key="",
            why="which setting comes after these differed from version to version",
            advice="Give every setting by its name.",
        )
    named = dict(zip(_POSITIONAL, arguments, strict=False))
    for name, value in settings.items():
        if name not in _DROPPED:
            named[RENAMED.get(name, name)] = value
    experts = named.get("num_experts")
    if experts and "top_k" not in named:
        # One expert for each token was the default then.
        named["top_k"] = 1
    return MambaKillerConfig(**named)
