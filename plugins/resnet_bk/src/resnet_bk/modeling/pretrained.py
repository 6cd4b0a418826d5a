"""What every ResNet-BK model shares: fresh weights, names that transformers asks for, strict loading."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from resnet_bk.configuration import ConfigurationError, MambaKillerConfig
from resnet_bk.configuration.checks import check_values
from resnet_bk.configuration.rules import CHECKS
from resnet_bk.modeling.convolution import CausalConvolution
from resnet_bk.modeling.copy_memory import CopyMemory
from resnet_bk.modeling.diagonal_mixer import DiagonalMixer
from resnet_bk.modeling.green_gates import GreenGates
from resnet_bk.modeling.green_mixer import GreenMixer
from resnet_bk.modeling.weights import check_complete
from resnet_bk.prime_bump import PrimeBumpPotential
from resnet_bk.scattering import ScatteringRouter

__all__ = ["ResNetBKPreTrainedModel"]

# Matrices that weight decay would draw away from what they mean; vectors and numbers are all left out of it.
_NOT_DECAYED = ("conv",)


class ResNetBKPreTrainedModel(PreTrainedModel):  # type: ignore[misc]
    """The base of all ResNet-BK models."""

    config_class = MambaKillerConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _is_stateful = True
    _no_split_modules = ("Block",)
    # Widths span several orders of magnitude, of which 16 bits keep too little.
    _keep_in_fp32_modules_strict = ("gates", "energy", "rho")

    def __init__(self, config: MambaKillerConfig) -> None:
        if not isinstance(config, MambaKillerConfig):
            raise ConfigurationError(
                f"a model is built from a configuration, not from {type(config).__name__}",
                key="",
                value=config,
                advice=f"Write {type(self).__name__}(MambaKillerConfig(vocab_size=..., d_model=...)).",
            )
        config.verify()
        super().__init__(config)

    def no_weight_decay(self) -> set[str]:
        """The names of the parameters that weight decay is not for: all but matrices."""
        return {
            name
            for name, parameter in self.named_parameters()
            if parameter.ndim < 2 or any(part in _NOT_DECAYED for part in name.split("."))
        }

    def post_init(self) -> None:
        """Give fresh weights, and mark the parameters that weight decay is not for."""
        super().post_init()
        self._mark_parameters()

    def _mark_parameters(self) -> None:
        # Optimizers of many programs look for this attribute.
        free = self.no_weight_decay()
        for name, parameter in self.named_parameters():
            if name in free:
                parameter._no_weight_decay = True

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _init_weights(self, module: nn.Module) -> None:
        """Give one module fresh weights."""
        super()._init_weights(module)
        if isinstance(module, CausalConvolution):
            bound = module.taps**-0.5
            init.uniform_(module.weight, -bound, bound)
            init.zeros_(module.bias)
        elif isinstance(module, GreenGates):
            init.normal_(module.weight, mean=0.0, std=self.config.initializer_range)
            if module.bound_heads:
                init.zeros_(module.potential_bias)
                init.zeros_(module.hopping_bias)
        elif isinstance(module, GreenMixer):
            init.ones_(module.skip)
        elif isinstance(module, (CopyMemory, DiagonalMixer)):
            init.ones_(module.scale)
        elif isinstance(module, ScatteringRouter):
            init.zeros_(module.shares)
            init.zeros_(module.sharpness)
        elif isinstance(module, PrimeBumpPotential):
            with torch.device("cpu"):
                made = PrimeBumpPotential(module.n_seq, module.scale, module.epsilon, module.k_max)
            init.copy_(module.values, made.values)
        if isinstance(module, (GreenGates, DiagonalMixer)):
            init.copy_(module.energy, module.usual_energy())
            init.copy_(module.rho, module.usual_rho())

    def _backward_compatibility_gradient_checkpointing(self) -> None:
        # The original also deletes the setting, and a saved model would not have it any more.
        if self.config.gradient_checkpointing:
            self.activation_checkpointing_enable()

    @classmethod
    def from_pretrained(
        cls, place: Any, *arguments: Any, output_loading_info: bool = False, **options: Any
    ) -> Any:
        """Load a model of the 1.0 format from a directory.

        Args:
            place: The directory, with `config.json` and `model.safetensors` in it.
            arguments: As transformers takes them.
            output_loading_info: Whether to return what transformers says about loading, too.
            options: As transformers takes them.

        Returns:
            The model.

        Raises:
            ConfigurationError: It is a model of another kind.
            WeightsError: Its weights are not those of the model that its configuration describes.
        """
        # Says there what it can read; and it needs this module, so not before.
        import resnet_bk.quantization.pretrained  # noqa: F401

        may_differ = options.pop("ignore_mismatched_sizes", False)
        model, report = super().from_pretrained(
            place, *arguments, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
        check_complete(place, {**report, "mismatched_keys": ()} if may_differ else report)
        model._mark_parameters()
        return (model, report) if output_loading_info else model

    @property
    def epsilon(self) -> float | None:
        """The epsilon in force; None where nothing that the model computes depends on it."""
        depends = self.config.is_causal or self.config.use_prime_bump
        return float(self.config.epsilon) if depends else None

    def set_epsilon(self, value: float) -> None:
        """Set the epsilon of the family of Hamiltonians, here and in the configuration.

        It is the distance from the spectrum at which the resolvent is taken, z = E + i epsilon eta, in units
        of the widths that a causal mixer has learned: |G| is at most 1 / (epsilon eta). Above 1 memories are
        shorter and gradients smaller, below 1 the resolvent is sharper and reaches farther. The prime bumps,
        if there are any, get its square root as their width.

        Args:
            value: The new epsilon.

        Raises:
            ConfigurationError: It is not positive, or nothing that the model computes depends on it.
        """
        if self.epsilon is None:
            raise ConfigurationError(
                "this model has no epsilon",
                key="epsilon",
                value=value,
                why="with diagonal-bidirectional it is a matter of the prime bumps, and there are none",
                advice="Build the model with use_prime_bump=True, or leave its epsilon alone.",
            )
        check_values({"epsilon": value}, {"epsilon": CHECKS["epsilon"]})
        self.config.epsilon = value
        for module in self.modules():
            if isinstance(module, PrimeBumpPotential):
                module.set_epsilon(value)
            elif isinstance(module, GreenGates) or (isinstance(module, DiagonalMixer) and module.causal):
                module.epsilon = value

    def parameter_count(self) -> int:
        """Parameters, those shared between input and output counted once."""
        return sum(math.prod(parameter.shape) for parameter in self.parameters())
