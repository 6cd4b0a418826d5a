"""The model: its layers, its state, and its place among transformers' models."""

from __future__ import annotations

from resnet_bk.modeling.backbone import ResNetBKModel
from resnet_bk.modeling.cache import RecurrentCache
from resnet_bk.modeling.language_model import ResNetBK, ResNetBKForCausalLM
from resnet_bk.modeling.pretrained import ResNetBKPreTrainedModel
from resnet_bk.modeling.weights import WeightsError
from resnet_bk.registration import register_with_transformers

__all__ = [
    "RecurrentCache",
    "ResNetBK",
    "ResNetBKForCausalLM",
    "ResNetBKModel",
    "ResNetBKPreTrainedModel",
    "WeightsError",
]

register_with_transformers(__name__)
