"""Loading a tokenizer that gives the tokens the model was trained with.

A wrong tokenizer gives no error but garbage. transformers makes one anew from a GGUF header or a bare
SentencePiece file, and the result differs from the original: text that begins with a space loses it, or the
merges are in the wrong order. What can be put right is put right here, and the rest is refused.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from modelplug_transformers.limits import refuse

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.formats.model_info import ModelInfo

__all__ = ["load_tokenizer"]

_SPACE = "\u2581"
_PROBES = (
    "Hello world, this is a test.",
    "x = 3; y\tz\nnew line",
    "naïve café — 日本",
    "A",
    "don't STOP 1234567",
)


def load_tokenizer(
    transformers: Any, place: str, arguments: dict[str, Any], info: ModelInfo, directory: Path | None
) -> Any:
    """Load the tokenizer of a model.

    Args:
        transformers: The module.
        place: Where to load from, as `from_pretrained` takes it.
        arguments: Further arguments for `from_pretrained`.
        info: What inspection found.
        directory: The model's directory; None for a GGUF file.

    Raises:
        BackendError: The tokens would not be the model's own.
    """
    bare = directory is not None and not (directory / "tokenizer.json").is_file()
    sentencepiece_file = directory / "tokenizer.model" if directory is not None else None
    if bare and sentencepiece_file is not None and sentencepiece_file.is_file():
        return _from_sentencepiece(transformers, place, arguments, info, sentencepiece_file)
    tokenizer = transformers.AutoTokenizer.from_pretrained(place, **arguments)
    if directory is None and info.tokenizer == "llama":
        add_space = info.metadata.get("tokenizer.ggml.add_space_prefix") is not False
        _treat_spaces_like_sentencepiece(tokenizer, add_space=add_space)
    return tokenizer


def _from_sentencepiece(
    transformers: Any, place: str, arguments: dict[str, Any], info: ModelInfo, file: Path
) -> Any:
    original = importlib.import_module("sentencepiece").SentencePieceProcessor(model_file=str(file))
    configured = (file.parent / "tokenizer_config.json").is_file()
    tokenizer = transformers.AutoTokenizer.from_pretrained(place, **arguments)
    if not _agrees(tokenizer, original):
        # Without a class in tokenizer_config.json, the automatic choice may read the merges differently.
        tokenizer = transformers.LlamaTokenizer.from_pretrained(place, **arguments)
    if not configured:
        _treat_spaces_like_sentencepiece(tokenizer, add_space=True)
    if not _agrees(tokenizer, original):
        raise refuse(
            info,
            "the tokenizer that transformers makes of tokenizer.model gives other tokens than the original",
            "Get the model's tokenizer.json too, or use a GGUF version of the model.",
        )
    return tokenizer


def _agrees(tokenizer: Any, original: Any) -> bool:
    """Whether the tokenizer gives the tokens that SentencePiece itself gives."""
    return all(
        list(tokenizer.encode(text, add_special_tokens=False)) == list(original.encode(text))
        for text in _PROBES
    )


def _treat_spaces_like_sentencepiece(tokenizer: Any, *, add_space: bool) -> None:
    """Put a space before the text whether or not it begins with one, as SentencePiece does."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or type(backend.pre_tokenizer).__name__ != "Metaspace":
        return
    tokenizers = importlib.import_module("tokenizers")
    replace = tokenizers.normalizers.Replace(" ", _SPACE)
    prepend = [tokenizers.normalizers.Prepend(_SPACE)] if add_space else []
    backend.normalizer = tokenizers.normalizers.Sequence([*prepend, replace])
    backend.pre_tokenizer = None
