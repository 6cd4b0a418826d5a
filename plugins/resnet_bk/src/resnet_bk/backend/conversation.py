"""Conversations as the model's own chat template writes them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from resnet_bk.backend.errors import translated

if TYPE_CHECKING:
    from modelplug.backends.model import Message
    from modelplug.formats.model_info import ModelInfo

__all__ = ["ChatTemplate", "read_chat_template"]


class ChatTemplate:
    """Writes conversations.

    Args:
        tokenizer: What transformers makes of the model's directory; it knows how templates are filled in.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def write(self, messages: Sequence[Message]) -> str:
        """The conversation up to the beginning of the assistant's next turn.

        Args:
            messages: What was said so far.

        Raises:
            BackendError: The template refuses it.
        """
        turns = [{"role": message.role, "content": message.content} for message in messages]
        with translated("generate", "the model's chat template refused the conversation"):
            return str(self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))


def read_chat_template(info: ModelInfo) -> ChatTemplate | None:
    """The chat template of a model's directory; None if it has none.

    Raises:
        BackendError: It has one that can't be read.
    """
    if not info.chat_template:
        return None
    transformers = importlib.import_module("transformers")
    with translated("load", f"could not read the chat template of {info.path.name}"):
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(info.path, local_files_only=True)
    return ChatTemplate(tokenizer) if tokenizer.chat_template else None
