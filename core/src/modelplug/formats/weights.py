"""From a table of tensors to what `ModelInfo` says of the weights, for every format."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from modelplug.formats.model_info import LayerSizes

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_LAYERS", "Tensor", "count_parameters", "dominant_type", "layer_sizes", "type_bytes"]

MAX_LAYERS: Final = 1 << 14
"""More repeating layers than this are taken for damage."""


class Tensor(NamedTuple):
    """One tensor of a model.

    Attributes:
        name: As the format spells it.
        shape: Its dimensions, in the format's own order.
        type: Name of its storage type.
        elements: Number of values.
        size: Bytes it takes in the file.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    elements: int
    size: int


# `blk.0.` (GGUF, also `enc.blk.0.`), `layers.0.` (Llama and most others), `h.0.` (GPT-2), `blocks.0.` (MPT),
# `layer.0.` (BERT), `block.0.` (T5), `/h0/` (old GPT-2). A vision tower's layers are not the language
# model's: they count as other.
_LAYER: Final = re.compile(r"(?:^|\.)(?:blk|layers|h|blocks|block|layer)\.(\d{1,5})\.|/h(\d{1,5})/")
_VISION: Final = re.compile(r"(?:^|\.)(?:v|vision|vision_model|vision_tower|visual|audio_tower|mm)\.")
_EMBEDDING: Final = re.compile(
    r"(?:^|\.)(?:token_embd|tok_embeddings|embed_tokens|wte|word_embeddings|embed_in|shared)\.(?:weight|qweight)$"
)
_HEAD: Final = re.compile(r"(?:^|\.)(?:output|lm_head|embed_out)\.(?:weight|qweight|bias)$")
_FINAL_NORM: Final = re.compile(
    r"^(?:output_norm\.|norm\.|model\.norm\.|(?:transformer\.)?(?:ln_f|norm_f)\.|.*\.final_layer_?norm\.)"
)


def layer_sizes(tensors: Iterable[Tensor], layers: int | None = None) -> LayerSizes:
    """Exact bytes of the weights by where an engine places them.

    Args:
        tensors: Every tensor of the model.
        layers: The number of repeating layers, if the header says; otherwise the highest number in a name.

    Returns:
        The sums. Tensors whose name fits no known pattern are in `other`.
    """
    per_layer: dict[int, int] = {}
    output = embedding = other = 0
    has_head = has_embedding = False
    for tensor in tensors:
        name = tensor.name
        layer = _LAYER.search(name)
        if _VISION.search(name):
            other += tensor.size
        elif layer and int(layer[1] or layer[2]) < MAX_LAYERS:
            number = int(layer[1] or layer[2])
            per_layer[number] = per_layer.get(number, 0) + tensor.size
        elif _EMBEDDING.search(name):
            embedding += tensor.size
            has_embedding = True
        elif _HEAD.search(name):
            output += tensor.size
            has_head = True
        elif _FINAL_NORM.search(name):
            output += tensor.size
        else:
            other += tensor.size
    if not (per_layer or has_embedding or has_head or output or other):
        return LayerSizes()
    count = max(layers or 0, max(per_layer, default=-1) + 1)
    return LayerSizes(
        layers=tuple(per_layer.get(number, 0) for number in range(count)),
        output=output,
        token_embedding=embedding,
        other=other,
        tied_embedding=has_embedding and not has_head,
    )


def type_bytes(tensors: Iterable[Tensor]) -> dict[str, int]:
    """Storage type -> bytes stored in it, the largest first."""
    sums: Counter[str] = Counter()
    for tensor in tensors:
        sums[tensor.type] += tensor.size
    return dict(sums.most_common())


def dominant_type(tensors: Iterable[Tensor]) -> str | None:
    """The storage type that holds most bytes of the tensors with two dimensions or more, if any.

    Norms and biases have one dimension and always stay in a float type, so they say nothing here.
    """
    return next(iter(type_bytes(tensor for tensor in tensors if len(tensor.shape) >= 2)), None)


def count_parameters(tensors: Iterable[Tensor]) -> int | None:
    """Number of weights; None if there are no tensors."""
    return sum(tensor.elements for tensor in tensors) or None
