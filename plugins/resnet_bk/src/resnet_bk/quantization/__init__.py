"""Models with weights of 4, 8 or 16 bits: after training, or trained to be rounded."""

from __future__ import annotations

from resnet_bk.quantization.errors import QuantizationError
from resnet_bk.quantization.model import MixedPrecisionQuantization, QuantizedBirmanSchwinger, QuantizedModel
from resnet_bk.quantization.pretrained import ResNetBKQuantizationConfig
from resnet_bk.quantization.report import PartReport, QuantizationReport, size_in_bytes

__all__ = [
    "MixedPrecisionQuantization",
    "PartReport",
    "QuantizationError",
    "QuantizationReport",
    "QuantizedBirmanSchwinger",
    "QuantizedModel",
    "ResNetBKQuantizationConfig",
    "size_in_bytes",
]
