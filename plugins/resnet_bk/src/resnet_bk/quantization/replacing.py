"""Puts quantised layers in the place of a model's own, and back; and has weights learn to be rounded."""

from __future__ import annotations

from typing import Any

from torch import nn

from resnet_bk.modeling.green_gates import GreenGates
from resnet_bk.quantization.checks import check_place
from resnet_bk.quantization.layers import QuantizedEmbedding, QuantizedGates, QuantizedLinear, TiedOutput
from resnet_bk.quantization.parts import places_of
from resnet_bk.quantization.plan import QuantizationPlan
from resnet_bk.quantization.rounding import RoundedLayer, start_rounding, stop_rounding

__all__ = ["dequantize_layers", "prepare_layers", "quantize_layers", "unprepare_layers"]


def quantize_layers(model: Any, plan: QuantizationPlan) -> None:
    """Quantise the matrices of a model where they are.

    Args:
        model: The model; one whose weights are yet to be read gets layers that they fit.
        plan: What to do.

    Raises:
        QuantizationError: It is quantised already, or layers were replaced by others.
        InvalidInputError: A matrix has values that can't be stored.
    """
    places = [(place, bits) for place, bits in places_of(model, plan) if bits is not None]
    for place, bits in places:
        check_place(place, bits)
    for place, bits in places:
        layer = place.module
        if isinstance(layer, GreenGates):
            QuantizedGates.take_over(layer, bits, plan.group_size)
        elif isinstance(layer, nn.Embedding):
            place.put(QuantizedEmbedding(layer, bits, plan.group_size))
        else:
            place.put(QuantizedLinear(layer, bits, plan.group_size))
    table = model.get_input_embeddings()
    if model.config.tie_word_embeddings and isinstance(table, QuantizedEmbedding):
        if model.get_output_embeddings() is not None:
            model.lm_head = TiedOutput(table, model.lm_head)
        # There are no two names left that transformers would have to tie.
        model._tied_weights_keys = None
        model.all_tied_weights_keys = {}


def dequantize_layers(model: Any, plan: QuantizationPlan) -> None:
    """Give a quantised model usual layers, with the weights that its codes stand for.

    Args:
        model: The model.
        plan: What was done.
    """
    for place, _ in places_of(model, plan):
        layer = place.module
        if isinstance(layer, QuantizedGates):
            QuantizedGates.give_back(layer)
        elif isinstance(layer, QuantizedEmbedding):
            place.put(nn.Embedding.from_pretrained(layer.weight, freeze=False))
        elif isinstance(layer, QuantizedLinear):
            place.put(_linear(layer, nn.Parameter(layer.weight)))
    if isinstance(model.get_output_embeddings(), TiedOutput):
        model.lm_head = _linear(model.lm_head, model.get_input_embeddings().weight)
        del model._tied_weights_keys
        model.all_tied_weights_keys = model.get_expanded_tied_weights_keys(all_submodels=False)


def prepare_layers(model: Any, plan: QuantizationPlan) -> None:
    """Have a model compute with rounded weights while it trains the weights themselves.

    Args:
        model: The model.
        plan: How it will be quantised.

    Raises:
        QuantizationError: As `quantize_layers`.
        InvalidInputError: As `quantize_layers`.
    """
    places = [(place, bits) for place, bits in places_of(model, plan) if bits is not None]
    for place, bits in places:
        check_place(place, bits)
    for place, bits in places:
        layers = [place.module]
        if model.config.tie_word_embeddings and place.module is model.get_input_embeddings():
            layers.append(model.get_output_embeddings())
        for layer in layers:
            start_rounding(layer, bits, plan.group_size)


def unprepare_layers(model: nn.Module) -> None:
    """Undo `prepare_layers`; what was learned stays."""
    for module in model.modules():
        if isinstance(module, RoundedLayer):
            stop_rounding(module)


def _linear(layer: QuantizedLinear | TiedOutput, weight: nn.Parameter) -> nn.Linear:
    """A usual layer of the size of another, with this weight."""
    made = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
    made.weight = weight
    made.bias = layer.bias
    return made
