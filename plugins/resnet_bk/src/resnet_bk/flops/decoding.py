"""What a token costs that the compiled kernels decode in one call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import nn

from resnet_bk.flops import costs
from resnet_bk.flops.counting import tell

if TYPE_CHECKING:
    from resnet_bk.modeling import ResNetBKForCausalLM
    from resnet_bk.modeling.copy_memory import CopyMemory
    from resnet_bk.modeling.green_mixer import GreenMixer

__all__ = ["tell_token"]


def tell_token(model: ResNetBKForCausalLM) -> None:
    """Tell open counters what the model's modules would have computed one by one.

    Args:
        model: A model of what the compiled kernels know.
    """
    linears = [model.lm_head]
    for layer in model.model.layers:
        linears += [layer.mixer.in_proj, layer.mixer.out_proj]
        for name, flops, module in _mixing(layer.mixer):
            tell(name, flops, module)
    if model.config.copy_key_dim:
        linears.append(model.copy_memory.proj)
        for name, flops, module in _copying(model.copy_memory):
            tell(name, flops, module)
    for linear in linears:
        name = "aten.mm" if linear.bias is None else "aten.addmm"
        tell(name, costs.matrix_product(1, linear.in_features, linear.out_features), linear)


def _mixing(mixer: GreenMixer) -> Iterator[tuple[str, int, nn.Module]]:
    """Operations of a mixer between its projections, their FLOPs, and where they belong."""
    columns, width = mixer.gates.weight.shape
    yield "aten.mm", costs.matrix_product(1, width, columns), mixer
    yield "resnet_bk.gates", costs.gates(mixer.heads), mixer
    yield "aten.convolution", costs.convolution(1, *mixer.conv.weight.shape), mixer.conv
    yield "resnet_bk.gated_state", costs.gated_state(mixer.heads, mixer.key_dim, mixer.value_dim), mixer


def _copying(memory: CopyMemory) -> Iterator[tuple[str, int, nn.Module]]:
    """The same for what follows the projection of a copy memory."""
    width, keys = memory.proj.in_features, memory.proj.out_features
    yield "aten.mm", costs.matrix_product(1, width, memory.gates.heads), memory
    yield "resnet_bk.gates", costs.gates(memory.gates.heads), memory
    yield "resnet_bk.gated_state", costs.gated_state(memory.gates.heads, keys, width), memory
