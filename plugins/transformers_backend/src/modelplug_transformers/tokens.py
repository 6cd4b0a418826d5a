"""Which tokens begin a text, which end it, and how long it may be, for any model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelplug.formats.model_info import ModelInfo

__all__ = ["context_limit", "end_tokens", "own_start_tokens", "start_tokens"]

# Models converted to GGUF often name only one end token in the header, while a turn ends with another.
_TURN_ENDS = (
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eom_id|>",
)


def start_tokens(tokenizer: Any, info: ModelInfo) -> list[int]:
    """Give what belongs before any text.

    Args:
        tokenizer: The tokenizer; what it adds by itself counts where the files say nothing else.
        info: What inspection found.
    """
    start = tokenizer.bos_token_id
    stated = info.metadata.get("tokenizer.ggml.add_bos_token")
    # A bare SentencePiece file has no settings beside it; models that come so want their start token.
    if start is not None and (isinstance(stated, bool) or info.tokenizer == "sentencepiece"):
        return [] if stated is False else [int(start)]
    return own_start_tokens(tokenizer)


def own_start_tokens(tokenizer: Any) -> list[int]:
    """Give what the tokenizer puts before any text by itself."""
    with_special = [int(token) for token in tokenizer.encode("a", add_special_tokens=True)]
    without = [int(token) for token in tokenizer.encode("a", add_special_tokens=False)]
    for count in range(len(with_special)):
        if with_special[count : count + len(without)] == without:
            return with_special[:count]
    return []


def end_tokens(model: Any, tokenizer: Any, info: ModelInfo) -> frozenset[int]:
    """Give every token that ends the model's turn.

    Args:
        model: The engine's model, whose generation settings name one or several.
        tokenizer: Its tokenizer.
        info: What inspection found.
    """
    ends: set[int] = set()
    for source in (getattr(model, "generation_config", None), model.config, tokenizer):
        stated = getattr(source, "eos_token_id", None)
        ends.update(stated if isinstance(stated, (list, tuple)) else [] if stated is None else [stated])
    if info.format == "gguf":
        for key in ("eos", "eot", "eom"):
            stated = info.metadata.get(f"tokenizer.ggml.{key}_token_id")
            if isinstance(stated, int):
                ends.add(stated)
        known = tokenizer.get_vocab()
        ends.update(known[text] for text in _TURN_ENDS if text in known)
    return frozenset(int(token) for token in ends)


def context_limit(config: Any) -> int | None:
    """Give how many positions the model has; None if it does not say."""
    inner = config.get_text_config() if hasattr(config, "get_text_config") else config
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        value = getattr(inner, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None
