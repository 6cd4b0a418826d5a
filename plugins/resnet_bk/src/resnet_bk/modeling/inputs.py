"""Checks of what a model is given, before anything is computed from it."""

from __future__ import annotations

import torch
from torch import Tensor

from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.errors import InvalidInputError
from resnet_bk.modeling.cache import RecurrentCache

__all__ = ["check_cache", "check_embeddings", "check_input_ids", "check_length", "check_mask"]

_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_input_ids(input_ids: Tensor | None, config: MambaKillerConfig) -> Tensor:
    """Make sure that these are tokens of the vocabulary, (B, N), at least one in each row.

    Raises:
        InvalidInputError: They are not.
    """
    if not isinstance(input_ids, Tensor):
        raise InvalidInputError(
            f"`input_ids` is {type(input_ids).__name__}, not a tensor",
            tensor="input_ids",
            advice="Pass torch.tensor([[...]]).",
        )
    if input_ids.dtype not in _WHOLE:
        raise InvalidInputError(
            f"`input_ids` is of type {input_ids.dtype}, and tokens are whole numbers",
            tensor="input_ids",
            advice="Pass what the tokenizer gives, or convert with .long().",
        )
    if input_ids.ndim != 2:
        raise InvalidInputError(
            f"`input_ids` has {input_ids.ndim} dimensions, and needs two: texts and tokens",
            tensor="input_ids",
            advice="For a single text, pass tokens.unsqueeze(0).",
        )
    _check_not_empty(input_ids.shape, "input_ids")
    if not torch.compiler.is_compiling() and not input_ids.is_meta:
        low, high = (int(bound) for bound in torch.aminmax(input_ids))
        if low < 0 or high >= config.vocab_size:
            raise InvalidInputError(
                f"there is no token {low if low < 0 else high}",
                tensor="input_ids",
                why=f"the vocabulary has the tokens 0 to {config.vocab_size - 1}",
                advice="Use the tokenizer that belongs to the model.",
            )
    return input_ids if input_ids.dtype in {torch.int64, torch.int32} else input_ids.long()


def check_embeddings(embeddings: Tensor, config: MambaKillerConfig) -> Tensor:
    """Make sure that these are vectors of the model's width, (B, N, d_model).

    Raises:
        InvalidInputError: They are not.
    """
    if embeddings.ndim != 3 or embeddings.shape[-1] != config.d_model or not embeddings.is_floating_point():
        raise InvalidInputError(
            f"`inputs_embeds` has the shape {tuple(embeddings.shape)} and the type {embeddings.dtype}",
            tensor="inputs_embeds",
            why=f"it must be floating point, of the shape (texts, tokens, {config.d_model})",
        )
    _check_not_empty(embeddings.shape, "inputs_embeds")
    return embeddings


def _check_not_empty(shape: torch.Size, name: str) -> None:
    if 0 in shape[:2]:
        raise InvalidInputError(
            f"`{name}` is empty",
            tensor=name,
            why=f"its shape is {tuple(shape)}",
            advice="Give at least one text with one token; a text may begin with the model's start token.",
        )


def check_mask(mask: Tensor | None, hidden: Tensor) -> Tensor | None:
    """The part of a mask that is for these tokens; None where it says that there is no padding.

    Args:
        mask: 1 at tokens, 0 at padding, (B, N) or longer on the left.
        hidden: (B, N, ...).

    Raises:
        InvalidInputError: It does not fit.
    """
    if mask is None:
        return None
    if mask.ndim != 2 or mask.shape[0] != hidden.shape[0] or mask.shape[1] < hidden.shape[1]:
        raise InvalidInputError(
            f"`attention_mask` has the shape {tuple(mask.shape)}, for inputs of {tuple(hidden.shape[:2])}",
            tensor="attention_mask",
            why="it says for every token whether it counts",
            advice="Pass the mask that the tokenizer gives together with the tokens.",
        )
    here = mask[:, mask.shape[1] - hidden.shape[1] :].bool()
    if not torch.compiler.is_compiling() and bool(here.all()):
        return None
    return here.to(hidden.device)


def check_cache(cache: object, hidden: Tensor, parts: int) -> None:
    """Make sure that a state is one of ours, for as many texts as there are.

    Args:
        cache: The state; None for none.
        hidden: (B, N, ...).
        parts: How many have a state: the layers, and the copy memory if there is one.

    Raises:
        InvalidInputError: It is not.
    """
    if cache is None:
        return
    if not isinstance(cache, RecurrentCache):
        raise InvalidInputError(
            f"`past_key_values` is a {type(cache).__name__}, and these models have a state of another kind",
            tensor="past_key_values",
            advice="Pass what an earlier call returned as `past_key_values`, or leave it out.",
        )
    if cache.counts is not None and len(cache.counts) != hidden.shape[0]:
        raise InvalidInputError(
            f"the state is that of {len(cache.counts)} texts, and there are {hidden.shape[0]}",
            tensor="past_key_values",
            advice="Choose rows of it with `batch_select_indices`, or begin anew.",
        )
    if cache.is_initialized and len(cache.layers) != parts:
        raise InvalidInputError(
            f"the state has {len(cache.layers)} parts, and there are {parts} to go on with",
            tensor="past_key_values",
            why="each layer has one, and the copy memory of a model with output",
            advice="Go on with the model that the state comes from, or begin anew.",
        )


def check_length(positions: Tensor | None, config: MambaKillerConfig, length: int) -> None:
    """Make sure that a model with a fixed number of positions has enough of them.

    Raises:
        InvalidInputError: It has not.
    """
    if positions is None or (config.is_causal and not config.position_embeddings):
        return
    longest = length if torch.compiler.is_compiling() else int(positions.max()) + 1
    if longest > config.n_seq:
        raise InvalidInputError(
            f"the text has {longest} tokens, and this model takes {config.n_seq} at most",
            tensor="input_ids",
            why="it was made for a fixed number of positions",
            advice="Cut the text, or train a model with the mixer 'green', which has no limit.",
        )
