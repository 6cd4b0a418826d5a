"""Models with quantised weights, used as the models they are made from."""

from __future__ import annotations

import copy as copying
import os
from collections.abc import Mapping
from typing import Any

from resnet_bk.modeling import ResNetBKForCausalLM
from resnet_bk.quantization.errors import QuantizationError
from resnet_bk.quantization.plan import (
    DEFAULT_GROUP_SIZE,
    EMBEDDING_BITS,
    QuantizationPlan,
    read_parts,
)
from resnet_bk.quantization.pretrained import attach
from resnet_bk.quantization.replacing import prepare_layers, quantize_layers, unprepare_layers
from resnet_bk.quantization.report import QuantizationReport, report_of, size_in_bytes

__all__ = ["MixedPrecisionQuantization", "QuantizedBirmanSchwinger", "QuantizedModel"]


class QuantizedModel(ResNetBKForCausalLM):
    """A ResNet-BK model whose matrices are quantised; norms, convolutions and biases stay as they are.

    It is a model as any other: it is called, generates and streams in the same way, and loads with
    `AutoModelForCausalLM`, then as a plain `ResNetBKForCausalLM`.

    Args:
        model: The model to quantise.
        plan: How.
        qat: Whether to train first, with weights that are rounded when they are used; `convert()` then
            quantises them.
        copy: Whether to leave the model as it is; otherwise it is quantised itself, which saves memory.

    Attributes:
        plan: How it is quantised.

    Raises:
        QuantizationError: That can't be done with this model.
        InvalidInputError: A matrix has values that can't be stored.
    """

    plan: QuantizationPlan

    def __init__(
        self, model: ResNetBKForCausalLM, plan: QuantizationPlan, *, qat: bool = False, copy: bool = True
    ) -> None:
        _check_model(model, type(self).__name__)
        _take_over(self, copying.deepcopy(model) if copy else model)
        self.plan = plan
        if qat:
            prepare_layers(self, plan)
        else:
            quantize_layers(self, plan)
            attach(self, plan)
        self._learns = qat

    @property
    def learns(self) -> bool:
        """Whether the weights are still being trained, and `convert()` is to come."""
        return self._learns

    def convert(self) -> QuantizedModel:
        """Quantise the weights that were trained with `qat=True`; the logits stay the same.

        Returns:
            The model itself.

        Raises:
            QuantizationError: It is quantised already.
            InvalidInputError: A matrix has values that can't be stored.
        """
        if not self._learns:
            raise QuantizationError(
                "this model is quantised already",
                key="qat",
                value=False,
                advice=f"To train first, make it with {type(self).__name__}(..., qat=True).",
            )
        unprepare_layers(self)
        quantize_layers(self, self.plan)
        attach(self, self.plan)
        self._learns = False
        return self

    def size_in_bytes(self) -> int:
        """What all of its parameters and buffers take."""
        return size_in_bytes(self)

    def report(self) -> QuantizationReport:
        """What quantising changed, part by part.

        Raises:
            QuantizationError: It is still being trained.
        """
        self._refuse_while_learning("told what quantising changes")
        return report_of(self, self.plan)

    def dequantize(self, dtype: Any = None) -> ResNetBKForCausalLM:
        """A usual model with the rounded weights: as large and as fast as the one that was quantised.

        Args:
            dtype: What transformers passes; the dtype of the model is kept.

        Raises:
            QuantizationError: It is still being trained.
        """
        self._refuse_while_learning("dequantised")
        plain = _plain(copying.deepcopy(self))
        plain.hf_quantizer.dequantize(plain, dtype=dtype)
        return plain

    def save_pretrained(self, save_directory: str | os.PathLike[str], **options: Any) -> None:
        """Write a directory that `from_pretrained` loads, with the codes as they are.

        Before `convert()` it is that of a usual model with the weights as trained so far; a model to go on
        with is made from it by `qat=True`.

        Args:
            save_directory: The directory.
            options: As transformers takes them.
        """
        # config.json then names the class that everything loads it with.
        _plain(self).save_pretrained(save_directory, **options)

    @classmethod
    def from_pretrained(
        cls, place: Any, *arguments: Any, output_loading_info: bool = False, **options: Any
    ) -> Any:
        """Load a quantised model from a directory.

        Args:
            place: The directory that `save_pretrained` wrote.
            arguments: As transformers takes them.
            output_loading_info: Whether to return what transformers says about loading, too.
            options: As transformers takes them.

        Raises:
            QuantizationError: The model there is not quantised.
        """
        found, report = ResNetBKForCausalLM.from_pretrained(
            place, *arguments, output_loading_info=True, **options
        )
        if getattr(found, "hf_quantizer", None) is None:
            raise QuantizationError(
                f"the model in {place} is not quantised",
                key="quantization_config",
                advice=f"Load it with ResNetBK.from_pretrained, and give it to {cls.__name__}.",
            )
        made = cls.__new__(cls)
        _take_over(made, found)
        made.plan = found.hf_quantizer.quantization_config.plan()
        made._learns = False
        return (made, report) if output_loading_info else made

    def _refuse_while_learning(self, done: str) -> None:
        if self._learns:
            raise QuantizationError(
                f"this model can't be {done} yet",
                key="qat",
                value=True,
                why="it is being trained, and its weights are not quantised",
                advice="Call convert() when the training is over.",
            )


class QuantizedBirmanSchwinger(QuantizedModel):
    """A ResNet-BK model with all of its matrices quantised alike.

    Args:
        model: The model to quantise.
        bits: 8 or 4, or 16 for float16.
        group_size: Neighbours in a row that share a scale; None for whole rows.
        embeddings: Whether to quantise the embeddings too, to 8 bits; those shared with the output always
            are, with the bits of the output.
        qat: Whether to train first, with weights that are rounded when they are used; `convert()` then
            quantises them.
        copy: Whether to leave the model as it is; otherwise it is quantised itself, which saves memory.

    Raises:
        QuantizationError: That can't be done with this model, or there are no such bits.
        InvalidInputError: A matrix has values that can't be stored.
    """

    def __init__(
        self,
        model: ResNetBKForCausalLM,
        bits: int = 8,
        *,
        group_size: int | None = DEFAULT_GROUP_SIZE,
        embeddings: bool = False,
        qat: bool = False,
        copy: bool = True,
    ) -> None:
        _check_model(model, type(self).__name__)
        wanted = {"experts": bits, "bk_core": bits, "output": bits}
        if embeddings and not model.config.tie_word_embeddings:
            wanted["embedding"] = EMBEDDING_BITS
        super().__init__(model, QuantizationPlan(wanted, group_size), qat=qat, copy=copy)


class MixedPrecisionQuantization(QuantizedModel):
    """A ResNet-BK model with bits of its own for each part.

    Args:
        model: The model to quantise.
        config: 4, 8 or 16 bits, or 32 for a part that stays as it is, for `experts` (experts and other
            feed-forwards), `bk_core` (projections and gates of mixers and copy memory), `output` and
            `embedding`. Embeddings get 8 bits if they are not among them, other parts stay as they are.
            `moe_experts` and `output_layers` are older names.
        group_size: Neighbours in a row that share a scale; None for whole rows.
        qat: Whether to train first, with weights that are rounded when they are used; `convert()` then
            quantises them.
        copy: Whether to leave the model as it is; otherwise it is quantised itself, which saves memory.

    Raises:
        QuantizationError: That can't be done with this model, or there is no such part, or no such bits.
        InvalidInputError: A matrix has values that can't be stored.
    """

    def __init__(
        self,
        model: ResNetBKForCausalLM,
        config: Mapping[str, int],
        *,
        group_size: int | None = DEFAULT_GROUP_SIZE,
        qat: bool = False,
        copy: bool = True,
    ) -> None:
        _check_model(model, type(self).__name__)
        wanted = read_parts(config)
        if "embedding" not in config and not model.config.tie_word_embeddings:
            wanted["embedding"] = EMBEDDING_BITS
        super().__init__(model, QuantizationPlan(wanted, group_size), qat=qat, copy=copy)


def _check_model(model: object, name: str) -> None:
    if isinstance(model, ResNetBKForCausalLM):
        return
    raise QuantizationError(
        f"{name} takes a ResNet-BK model, not {type(model).__name__}",
        key="model",
        value=type(model).__name__,
        advice="Give a ResNetBK; `AutoModel` loads the part without the output from what it saves.",
    )


def _take_over(model: ResNetBKForCausalLM, other: ResNetBKForCausalLM) -> None:
    """Make a model out of all that another consists of."""
    model.__dict__.update(vars(other))


def _plain(model: QuantizedModel) -> ResNetBKForCausalLM:
    """The same model without what this module adds."""
    made = ResNetBKForCausalLM.__new__(ResNetBKForCausalLM)
    _take_over(made, model)
    del made.plan, made._learns
    return made
