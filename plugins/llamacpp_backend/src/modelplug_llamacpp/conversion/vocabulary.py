"""From the tokenizer's files of a model directory to the vocabulary that a GGUF file holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from modelplug.errors import ConversionRefusedError
from modelplug_llamacpp.conversion.byte_pairs import byte_pair_tokens, fallback_tokens
from modelplug_llamacpp.conversion.sentencepiece import read_sentencepiece
from modelplug_llamacpp.conversion.tokenizer_files import TokenizerFiles, read_tokenizer_files
from modelplug_llamacpp.conversion.tokens import ADDED_SCORE, CONTROL, UNUSED, USER_DEFINED, Token, Tokens

if TYPE_CHECKING:
    from modelplug_llamacpp.conversion.configuration import Configuration

__all__ = ["Vocabulary", "read_vocabulary"]

_SPECIAL: Final = {"bos": "start", "eos": "end", "unk": "unknown", "pad": "padding"}


@attrs.frozen(kw_only=True)
class Vocabulary:
    """What goes into the file.

    Attributes:
        tokens: The tokens and how texts are split.
        special: `bos`, `eos`, `unk`, `pad` -> token id, of those there are.
        add_start: Whether a text begins with the start token.
        add_end: Whether a text ends with the end token.
        chat_template: The template, or several by name; None if the model brings none.
    """

    tokens: Tokens
    special: dict[str, int]
    add_start: bool
    add_end: bool
    chat_template: str | list[dict[str, str]] | None


def read_vocabulary(directory: Path, config: Configuration) -> Vocabulary:
    """Read the tokenizer of a model.

    Args:
        directory: The model's directory.
        config: The model's figures.

    Raises:
        ConversionRefusedError: There is none, or none that llama.cpp has the rules of.
        ModelFileError: A file is damaged.
    """
    files = read_tokenizer_files(directory)
    if (directory / "tokenizer.model").exists():
        tokens = _from_sentencepiece(directory / "tokenizer.model", files)
    elif files.tokenizer:
        model = files.tokenizer.get("model")
        fallback = isinstance(model, dict) and model.get("byte_fallback") is True
        tokens = fallback_tokens(files) if fallback else byte_pair_tokens(files)
    else:
        raise ConversionRefusedError(
            f"{directory.name} can't be converted: it holds no tokenizer",
            path=directory,
            why="there is neither tokenizer.json nor tokenizer.model in it",
            advice="Download the tokenizer's files into the directory.",
        )
    tokens = _filled(tokens, config.vocabulary, directory)
    special = _special_ids(tokens, files, config)
    add_start, add_end = _added(tokens, files)
    _check_text(tokens, files)
    return Vocabulary(
        tokens=tokens,
        special=special,
        add_start=add_start,
        add_end=add_end,
        chat_template=files.chat_template,
    )


def _from_sentencepiece(path: Path, files: TokenizerFiles) -> Tokens:
    model = read_sentencepiece(path)
    entries = [Token(piece.text, piece.type, piece.score) for piece in model.pieces]
    for number, added in sorted(files.added.items()):
        kind = CONTROL if added.special else USER_DEFINED
        if number < len(entries):
            # What is special to transformers must not come out of ordinary text, nor go into it.
            if entries[number].text == added.text and entries[number].type not in (2, CONTROL):
                entries[number] = attrs.evolve(entries[number], type=kind)
            continue
        entries += [Token("", UNUSED, ADDED_SCORE)] * (number - len(entries))
        entries.append(Token(added.text, kind, ADDED_SCORE))
    found = {"start": model.start, "end": model.end, "unknown": model.unknown, "padding": model.padding}
    return Tokens(
        model="llama",
        pre="default",
        entries=tuple(entries),
        space_prefix=model.space_prefix,
        special={name: number for name, number in found.items() if number is not None},
    )


def _filled(tokens: Tokens, rows: int, directory: Path) -> Tokens:
    """The tokens with a name for every row of the embedding: rows without a token are padding."""
    if len(tokens.entries) > rows:
        raise ConversionRefusedError(
            f"{directory.name} can't be converted: its tokenizer has {len(tokens.entries):,} tokens, but the "
            f"model embeds {rows:,}",
            path=directory,
            why="tokens without an embedding can't be computed, so the two belong to different models",
            advice="Download the tokenizer's files and config.json of the same model.",
        )
    entries = [
        token if token.text else attrs.evolve(token, text=f"[PAD{number}]", type=UNUSED)
        for number, token in enumerate(tokens.entries)
    ]
    entries += [Token(f"[PAD{number}]", UNUSED, ADDED_SCORE) for number in range(len(entries), rows)]
    return attrs.evolve(tokens, entries=tuple(entries))


def _check_text(tokens: Tokens, files: TokenizerFiles) -> None:
    """Refuse what JSON can spell and UTF-8 can't: half of a pair of surrogates."""
    templates = (
        files.chat_template if isinstance(files.chat_template, list) else [{"": files.chat_template or ""}]
    )
    texts = (
        *(token.text for token in tokens.entries),
        *tokens.merges,
        *(t for e in templates for t in e.values()),
    )
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError as error:
        raise ConversionRefusedError(
            "the tokenizer can't be converted: it holds a text that is none",
            path=files.directory,
            why=str(error),
            advice="Download the tokenizer's files again.",
        ) from error


def _special_ids(tokens: Tokens, files: TokenizerFiles, config: Configuration) -> dict[str, int]:
    """The tokens with a meaning: by name from the tokenizer, by number from the model, or its own."""
    numbers = {token.text: number for number, token in enumerate(tokens.entries)}
    special: dict[str, int] = {}
    for name, ours in _SPECIAL.items():
        named = files.settings.get(f"{name}_token")
        text = named.get("content") if isinstance(named, dict) else named
        stated: Any = config.values.get(f"{name}_token_id")
        if isinstance(stated, list):
            stated = stated[0] if stated else None
        if isinstance(text, str) and text in numbers:
            special[name] = numbers[text]
        elif type(stated) is int and 0 <= stated < len(tokens.entries):
            special[name] = stated
        elif ours in tokens.special:
            special[name] = tokens.special[ours]
    return special


def _added(tokens: Tokens, files: TokenizerFiles) -> tuple[bool, bool]:
    """Whether the start and the end token are put around a text."""
    if files.tokenizer:
        # It decides alone: transformers adds what its template has, or nothing, whatever the settings say.
        return files.text_template() or (False, False)
    start, end = (files.settings.get(f"add_{name}_token") for name in ("bos", "eos"))
    # Where nothing is said, the tokenizers of Llama put the start token first.
    return (start if isinstance(start, bool) else tokens.model == "llama"), end is True
