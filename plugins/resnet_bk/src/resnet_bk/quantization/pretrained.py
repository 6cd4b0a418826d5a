"""How transformers knows a quantised model: what stands in `config.json`, and what is done while loading."""

from __future__ import annotations

from typing import Any

from transformers.quantizers.auto import (
    AUTO_QUANTIZER_MAPPING,
    register_quantization_config,
    register_quantizer,
)
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from resnet_bk.quantization.plan import DEFAULT_GROUP_SIZE, QuantizationPlan
from resnet_bk.quantization.replacing import dequantize_layers, quantize_layers

__all__ = ["ResNetBKQuantizationConfig", "attach"]

METHOD = "resnet_bk"


class ResNetBKQuantizationConfig(QuantizationConfigMixin):  # type: ignore[misc]
    """What `config.json` says of quantised weights, and what `from_pretrained` takes to quantise others.

    Args:
        bits: 4, 8 or 16 for parts by name.
        group_size: Neighbours in a row that share a scale; None for whole rows.
        quant_method: As transformers writes it.
    """

    def __init__(
        self,
        bits: dict[str, int],
        group_size: int | None = DEFAULT_GROUP_SIZE,
        quant_method: str = METHOD,
    ) -> None:
        self.bits = dict(bits)
        self.group_size = group_size
        self.quant_method = quant_method
        self.plan()

    def plan(self) -> QuantizationPlan:
        """The same, as this package has it.

        Raises:
            QuantizationError: It can't be done.
        """
        return QuantizationPlan(self.bits, self.group_size)


class ResNetBKQuantizer(HfQuantizer):  # type: ignore[misc]
    """Replaces a model's layers before weights that are codes are read, or after usual ones were."""

    quantization_config: ResNetBKQuantizationConfig

    def _process_model_before_weight_loading(self, model: Any, **_options: Any) -> Any:
        if self.pre_quantized:
            quantize_layers(model, self.quantization_config.plan())
        return model

    def _process_model_after_weight_loading(self, model: Any, **_options: Any) -> Any:
        if not self.pre_quantized:
            quantize_layers(model, self.quantization_config.plan())
        return model

    def _dequantize(self, model: Any, dtype: Any = None) -> Any:  # noqa: ARG002  it is the model's own
        dequantize_layers(model, self.quantization_config.plan())
        return model

    def is_serializable(self, **_options: Any) -> bool:
        """Codes are saved as other weights are."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Codes have no gradients; `qat=True` is for training."""
        return False


if METHOD not in AUTO_QUANTIZER_MAPPING:
    register_quantization_config(METHOD)(ResNetBKQuantizationConfig)
    register_quantizer(METHOD)(ResNetBKQuantizer)


def attach(model: Any, plan: QuantizationPlan) -> None:
    """Have transformers know that a model is quantised, as if it had been loaded so."""
    config = ResNetBKQuantizationConfig(dict(plan.bits), plan.group_size)
    model.hf_quantizer = ResNetBKQuantizer(config, pre_quantized=True)
    model.is_quantized = True
    model.quantization_method = METHOD
    model.config.quantization_config = config
