"""Which matrices a model has, and the part each belongs to: by what a module is, not by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
from torch import nn

from resnet_bk.modeling.backbone import ResNetBKModel
from resnet_bk.modeling.copy_memory import CopyMemory
from resnet_bk.modeling.diagonal_mixer import DiagonalMixer
from resnet_bk.modeling.feed_forward import Expert, SwiGLU
from resnet_bk.modeling.green_mixer import GreenMixer
from resnet_bk.modeling.language_model import ResNetBKForCausalLM
from resnet_bk.quantization.errors import QuantizationError
from resnet_bk.quantization.plan import QuantizationPlan

__all__ = ["Place", "places_of"]

# What routes tokens to experts is in no part: it is small, and rounding it would choose others.
_MATRICES: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    ResNetBKModel: ("embedding", ("embeddings", "position_embeddings")),
    GreenMixer: ("bk_core", ("in_proj", "gates", "out_proj")),
    DiagonalMixer: ("bk_core", ("potential", "out_proj")),
    CopyMemory: ("bk_core", ("proj", "gates")),
    SwiGLU: ("experts", ("gate_up_proj", "down_proj")),
    Expert: ("experts", ("up_proj", "down_proj")),
    ResNetBKForCausalLM: ("output", ("lm_head",)),
}


@attrs.frozen
class Place:
    """Where a model has a matrix.

    Attributes:
        part: The part it belongs to.
        parent: The module that has it.
        attribute: Under which name.
        name: Its whole name in the model.
    """

    part: str
    parent: nn.Module
    attribute: str
    name: str

    @property
    def module(self) -> Any:
        """The layer that is there now."""
        return getattr(self.parent, self.attribute)

    def put(self, module: nn.Module) -> None:
        """Put another layer there."""
        setattr(self.parent, self.attribute, module)


def places_of(model: nn.Module, plan: QuantizationPlan) -> list[tuple[Place, int | None]]:
    """Every matrix, and the bits that a plan has for it; None where it stays as it is.

    The one that embeddings and output share, if they do, is that of the output.

    Raises:
        QuantizationError: The plan has two numbers of bits for one matrix.
    """
    return [(place, plan.bits.get(place.part)) for place in _all(model, _tied_part(model, plan))]


def _tied_part(model: Any, plan: QuantizationPlan) -> str:
    """The part of the table of token vectors; empty if output and embeddings have each their own."""
    if not model.config.tie_word_embeddings:
        return ""
    both = [plan.bits[part] for part in ("output", "embedding") if part in plan.bits]
    if len(set(both)) > 1:
        raise QuantizationError(
            f"output and embedding can't have {both[0]} and {both[1]} bits",
            key="embedding",
            value=both[1],
            why="they are one matrix in this model (tie_word_embeddings)",
            advice="Give the bits of output alone.",
        )
    return "output" if "output" in plan.bits else "embedding"


def _all(model: nn.Module, tied_part: str) -> Iterator[Place]:
    for prefix, parent in model.named_modules():
        for kind, (part, attributes) in _MATRICES.items():
            if not isinstance(parent, kind):
                continue
            for attribute in attributes:
                if not hasattr(parent, attribute) or (tied_part and attribute == "lm_head"):
                    continue
                own = tied_part if tied_part and attribute == "embeddings" else part
                yield Place(own, parent, attribute, f"{prefix}.{attribute}".lstrip("."))
