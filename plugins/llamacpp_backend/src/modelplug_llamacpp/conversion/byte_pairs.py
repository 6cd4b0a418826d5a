"""Vocabularies from `tokenizer.json`: pairs of bytes, and SentencePiece ones written as pairs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from modelplug.errors import ConversionRefusedError
from modelplug_llamacpp.conversion.configuration import HF_TOOL
from modelplug_llamacpp.conversion.tokens import (
    ADDED_SCORE,
    CONTROL,
    NORMAL,
    UNUSED,
    USER_DEFINED,
    Token,
    Tokens,
)

if TYPE_CHECKING:
    from typing import NoReturn

    from modelplug_llamacpp.conversion.tokenizer_files import TokenizerFiles

__all__ = ["byte_pair_tokens", "fallback_tokens"]

_CONTRACTIONS: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST: Final = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
# llama.cpp's names for the ways of splitting a text into words that it has, by the pattern that is split on.
_SPLITS: Final = {
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}": "llama-bpe",
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}": "qwen2",
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+": "tekken",
}
_BYTE: Final = 6
_UNKNOWN: Final = 2


def byte_pair_tokens(files: TokenizerFiles) -> Tokens:
    """The vocabulary of a tokenizer that works on bytes.

    Raises:
        ConversionRefusedError: It splits texts in a way that llama.cpp does not have, or that is not known
            here by name.
    """
    model = _bpe_model(files)
    return Tokens(
        model="gpt2",
        pre=_split_name(files, model),
        entries=_entries(files, model["vocab"], {}),
        merges=tuple(f"{left} {right}" for left, right in _merges(files, model)),
    )


def fallback_tokens(files: TokenizerFiles) -> Tokens:
    """A SentencePiece vocabulary that is written as pairs, with bytes for what has no token.

    Its scores are not in the file. What they decide, which pieces are joined first, is the order of the
    pairs, so scores that fall in that order make the same tokens.
    """
    model = _bpe_model(files)
    scores: dict[str, float] = {}
    for rank, (left, right) in enumerate(_merges(files, model)):
        scores.setdefault(left + right, -float(rank))
    unknown = model.get("unk_token")
    entries = []
    for token in _entries(files, model["vocab"], scores):
        if token.text == unknown:
            token = Token(token.text, _UNKNOWN, token.score)
        elif len(token.text) == 6 and token.text.startswith("<0x") and token.text.endswith(">"):
            token = Token(token.text, _BYTE, 0.0)
        entries.append(token)
    return Tokens(model="llama", pre="default", entries=tuple(entries), space_prefix=_adds_space(files))


def _bpe_model(files: TokenizerFiles) -> dict[str, Any]:
    model = files.tokenizer.get("model")
    kind = model.get("type", "BPE") if isinstance(model, dict) else None
    if not isinstance(model, dict) or kind != "BPE":
        _refuse(files, f"it is of the type {kind!r:.40}, and only BPE can be converted here")
    vocabulary = model.get("vocab")
    if not isinstance(vocabulary, dict) or not all(type(number) is int for number in vocabulary.values()):
        _refuse(files, "it holds no vocabulary")
    return model


def _merges(files: TokenizerFiles, model: dict[str, Any]) -> list[tuple[str, str]]:
    merges = []
    for merge in model.get("merges") or ():
        # Written as one text until 2024, and as two since.
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            _refuse(files, f"{merge!r:.60} is no pair of tokens")
        merges.append((pair[0], pair[1]))
    return merges


def _entries(
    files: TokenizerFiles, vocabulary: dict[str, int], scores: dict[str, float]
) -> tuple[Token, ...]:
    """The tokens by id; ids without one are left empty."""
    largest = max([*vocabulary.values(), *files.added], default=-1)
    if not 0 <= largest < 1 << 20 or min(vocabulary.values(), default=0) < 0:
        _refuse(files, f"{largest} is no plausible token id")
    entries = [Token("", UNUSED, ADDED_SCORE)] * (largest + 1)
    for text, number in vocabulary.items():
        entries[number] = Token(text, NORMAL, scores.get(text, ADDED_SCORE if scores else 0.0))
    for number, added in files.added.items():
        entries[number] = Token(added.text, CONTROL if added.special else USER_DEFINED, ADDED_SCORE)
    return tuple(entries)


def _split_name(files: TokenizerFiles, model: dict[str, Any]) -> str:
    """llama.cpp's name for how a text is split into words."""
    normalizer = files.tokenizer.get("normalizer")
    kind = normalizer.get("type") if isinstance(normalizer, dict) else None
    if kind not in (None, "NFC"):
        _refuse(files, f"it changes texts by the normaliser {kind!r:.40}, which llama.cpp does not have")
    steps = _steps(files.tokenizer.get("pre_tokenizer"))
    kinds = [step.get("type") for step in steps]
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True) and not steps[0].get("add_prefix_space"):
        return "gpt-2"
    digits = kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits")
    if digits and steps[1].get("use_regex", True) and not steps[1].get("add_prefix_space"):
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True):
        pattern = steps[0].get("pattern")
        expression = pattern.get("Regex") if isinstance(pattern, dict) else None
        name = _SPLITS.get(expression) if isinstance(expression, str) else None
        if name == "llama-bpe" and model.get("ignore_merges") is not True:
            # The same pattern, but without looking up whole words first.
            return "dbrx"
        if name is not None:
            return name
    raise _refusal(files, f"it splits texts in a way not known here by name: {json.dumps(steps)[:200]}")


def _steps(pre_tokenizer: object) -> list[dict[str, Any]]:
    if not isinstance(pre_tokenizer, dict):
        return []
    steps = pre_tokenizer.get("pretokenizers") if pre_tokenizer.get("type") == "Sequence" else [pre_tokenizer]
    return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []


def _adds_space(files: TokenizerFiles) -> bool:
    """Whether a space is put before a text, in either of the places where it is written."""
    normalizer = files.tokenizer.get("normalizer")
    parts = normalizer.get("normalizers", [normalizer]) if isinstance(normalizer, dict) else []
    if any(isinstance(part, dict) and part.get("type") == "Prepend" for part in parts):
        return True
    return any(
        step.get("type") == "Metaspace" and step.get("prepend_scheme", "always") != "never"
        for step in _steps(files.tokenizer.get("pre_tokenizer"))
    )


def _refuse(files: TokenizerFiles, why: str) -> NoReturn:
    raise _refusal(files, why)


def _refusal(files: TokenizerFiles, why: str) -> ConversionRefusedError:
    return ConversionRefusedError(
        "the vocabulary in tokenizer.json can't be converted",
        path=files.directory / "tokenizer.json",
        tool=HF_TOOL,
        why=why,
        advice=f"See whether llama.cpp's {HF_TOOL} knows this tokenizer.",
    )
