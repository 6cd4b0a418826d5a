"""One token through a whole model in one call of the compiled kernels.

Module by module, a model of a million parameters spends most of a token's time between the operations. This
is for models that consist of nothing but what the kernels know; any other goes the general way.
"""

from __future__ import annotations

from array import array
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from resnet_bk.flops.counting import is_counting
from resnet_bk.flops.decoding import tell_token
from resnet_bk.modeling.backbone import ResNetBKModel
from resnet_bk.modeling.block import Block
from resnet_bk.modeling.convolution import CausalConvolution
from resnet_bk.modeling.copy_memory import FEATURE_GAIN, CopyMemory
from resnet_bk.modeling.green_gates import ETA_FLOOR, ETA_GAIN, GreenGates
from resnet_bk.modeling.green_mixer import GreenMixer
from resnet_bk.modeling.language_model import ResNetBKForCausalLM
from resnet_bk.modeling.norm import RootMeanSquareNorm
from resnet_bk.resolvent.kernels.cpu_decode import DecodeSizes, decode
from resnet_bk.resolvent.selection import kernel_name

if TYPE_CHECKING:
    from resnet_bk.modeling.cache import LayerState, RecurrentCache

__all__ = ["FusedDecoding"]

_KNOWN = {
    ResNetBKForCausalLM,
    ResNetBKModel,
    Block,
    GreenMixer,
    GreenGates,
    CausalConvolution,
    CopyMemory,
    nn.Dropout,
    nn.Embedding,
    nn.Linear,
    nn.ModuleList,
    RootMeanSquareNorm,
}
# In the order of the kernel; a layer has a window, and the copy memory a key.
_STATES = ("window", "key", "chain", "memory")
_BYTES = 4


class FusedDecoding:
    """Decodes tokens of one text.

    What the model consists of is looked at when a piece of text was read the general way before; between two
    decoded tokens only whether the model was moved or converted. Weights may change in place. A text for
    which it once was not possible goes the general way to its end.

    Args:
        model: The model.
    """

    def __init__(self, model: ResNetBKForCausalLM) -> None:
        self._model = model
        self._possible = True
        self._layers: list[LayerState] | None = None
        self._held: list[Tensor] = []
        self._addresses = array("q")
        self._sizes = DecodeSizes()
        self._embeddings = model.get_input_embeddings()
        self._one = torch.ones(1, dtype=torch.int64)

    def logits(self, cache: RecurrentCache, token: int) -> Tensor | None:
        """Read a token, and give the logits of the next, (1, vocab_size).

        Args:
            cache: The state after the tokens before it; its tensors are changed.
            token: The token.

        Returns:
            None, and nothing is changed, where this can't be done: the text has just begun, there is no such
            token, the state is that of several texts, or the model is not of the kind.
        """
        if not self._possible or cache.counts is None or torch.is_autocast_enabled("cpu"):
            return None
        table = self._embeddings.weight
        if not 0 <= token < table.shape[0]:
            return None
        if cache.layers is not self._layers or table.data_ptr() != self._held[-1].data_ptr():
            self._layers = None
            self._possible = _fits(self._model) and self._prepare(cache)
            if not self._possible:
                return None
            self._layers = cache.layers
        self._sizes.epsilon = self._model.model.layers[0].mixer.gates.epsilon
        self._sizes.token = token
        found = torch.empty(1, self._sizes.vocabulary)
        decode(self._sizes, self._addresses, table.data_ptr() + token * table.shape[1] * _BYTES, found)
        cache.advance(cache.layers, self._one, 1)
        if is_counting():
            tell_token(self._model)
        return found

    def _prepare(self, cache: RecurrentCache) -> bool:
        """Gather where everything is, and keep it there; False if it is not what the kernel can read."""
        model, config = self._model, self._model.config
        self._embeddings = model.get_input_embeddings()
        layers, copying = model.model.layers, [model.copy_memory] if config.copy_key_dim else []
        gates = [*(layer.mixer.gates for layer in layers), *(memory.gates for memory in copying)]
        if (
            any(state["memory"].shape[0] != 1 for state in cache.layers)
            or any(one.epsilon != gates[0].epsilon for one in gates)
            or (copying and model.lm_head.out_features < self._embeddings.num_embeddings)
        ):
            return False
        weights = [*map(_weights, layers), *map(_copy_weights, copying)]
        arrays = [[*some, *_states(state)] for some, state in zip(weights, cache.layers, strict=True)]
        everything: list[Tensor | None] = [
            *chain.from_iterable(arrays[: len(layers)]),
            model.model.norm.weight,
            model.lm_head.weight,
            model.lm_head.bias,
            *chain.from_iterable(arrays[len(layers) :]),
            self._embeddings.weight,
        ]
        self._held = [tensor.detach() for tensor in everything if tensor is not None]
        if not all(tensor.dtype == torch.float32 and tensor.is_contiguous() for tensor in self._held):
            return False
        self._addresses = array("q", [0 if tensor is None else tensor.data_ptr() for tensor in everything])
        self._sizes = DecodeSizes(
            layers=config.n_layers,
            width=config.d_model,
            heads=config.num_heads,
            keys=config.key_dim,
            values=config.value_dim,
            taps=config.conv_kernel,
            bound=gates[0].bound_heads,
            vocabulary=model.lm_head.out_features,
            copy_keys=config.copy_key_dim,
            norm_eps=config.norm_eps,
            eta_gain=ETA_GAIN,
            eta_floor=ETA_FLOOR,
            copy_gain=FEATURE_GAIN,
        )
        return True


def _fits(model: ResNetBKForCausalLM) -> bool:
    """Whether a model consists of what the kernels know, on the CPU, and they can be used."""
    config = model.config
    return (
        config.mixer == "green"
        and config.complex_heads == 0
        and config.conv_kernel > 1
        and not config.position_embeddings
        and all(_is_plain(module) for module in model.modules())
        and model.device.type == "cpu"
        and kernel_name(model.device, "auto") == "cpu"
    )


def _is_plain(module: nn.Module) -> bool:
    """Whether calling a module does what its class says, and nothing else."""
    hooks = module._forward_hooks or module._forward_pre_hooks
    return type(module) in _KNOWN and not hooks and "forward" not in vars(module)


def _weights(layer: Block) -> list[Tensor | None]:
    """The weights of a layer in the order of the kernel."""
    mixer = layer.mixer
    conv, gates = mixer.conv, mixer.gates
    return [
        layer.norm.weight,
        mixer.in_proj.weight,
        conv.weight,
        conv.bias,
        gates.weight,
        gates.potential_bias,
        gates.hopping_bias,
        gates.energy,
        gates.rho,
        mixer.skip,
        mixer.out_proj.weight,
    ]


def _copy_weights(memory: CopyMemory) -> list[Tensor | None]:
    """The weights of the copy memory in the order of the kernel."""
    gates = memory.gates
    return [memory.proj.weight, gates.weight, gates.energy, gates.rho, memory.scale]


def _states(state: LayerState) -> list[Tensor]:
    """A state in the order of the kernel, contiguous from now on: the kernel changes it in place."""
    for name, tensor in state.items():
        state[name] = tensor.contiguous()
    return [state[name] for name in _STATES if name in state]
