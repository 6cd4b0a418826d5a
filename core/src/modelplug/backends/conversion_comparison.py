"""How far what an engine makes of texts is from what another one makes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs

from modelplug.errors import ConversionMismatchError

if TYPE_CHECKING:
    from modelplug.formats.model_info import ModelInfo

__all__ = [
    "ALTERNATIVES",
    "ERROR_LIMITS",
    "TEXTS",
    "Observed",
    "Verification",
    "compare_probabilities",
    "compare_tokens",
    "distance",
]

# Prose, indented code, digits, accents, and characters that no vocabulary has whole: what tokenizers are
# got wrong by.
TEXTS: Final = (
    "Once upon a time, when the King's men had gone to sea, there lived an old woman who knew the weather.",
    "def mean(values):\n    total = sum(values)\n    return total / len(values)  # not for 0\n",
    "In 1984, 32 of 256 cost $1,024.50; that's 12.5% more than they'd paid before.",
    "Ça va? Übung macht den Meister: ça coûte 5 €. \u4f60\u597d \U0001f642",
)
ALTERNATIVES: Final = 64
_FEWEST_IN_COMMON: Final = 8

ERROR_LIMITS: Final = {"F16": 0.05, "Q8_0": 0.20, "Q4_0": 0.45}
"""Largest `Verification.error` of a sound conversion, by tensor type.

Measured on models of about a million weights: sound ones are at 0.001 to 0.005 in F16, 0.03 to 0.08 in Q8_0,
and a trained one at 0.22 in Q4_0; larger models lose less. With rows in the wrong order, positions turned at
the wrong speed or another norm, errors begin at 0.4 in every type. In Q4_0 what is beyond the limit may be a
sound conversion of a model that does not bear four bits; it is not worth keeping either.
"""


@attrs.frozen(kw_only=True)
class Verification:
    """How a converted model was compared with its source.

    Attributes:
        method: `logits` if both were run and their probabilities compared; `tensors` if only the numbers in
            the file were compared with the source's, which can't notice a wrong layout or vocabulary.
        error: With `logits`, how far the log probabilities of the most probable tokens are from the source's,
            relative to how far these are from each other; the median over all positions.
        limit: The largest error that counts as the same model.
        divergence: With `logits`, the mean Kullback-Leibler divergence from the source, in nats.
        positions: Positions in texts at which they were compared.
        source_backend: The engine that ran the source; empty with `tensors`.
        backend: The engine that ran the result; empty if none could.
        note: With `tensors`, why nothing better was possible.
    """

    method: str
    error: float | None = None
    limit: float | None = None
    divergence: float | None = None
    positions: int = 0
    source_backend: str = ""
    backend: str = ""
    note: str = ""


@attrs.frozen
class Observed:
    """What an engine made of the texts.

    Attributes:
        backend: The engine.
        tokens: The ids of each text.
        probabilities: For each position that was asked for: text of a token -> log probability; empty where
            the engine ended the text.
    """

    backend: str
    tokens: tuple[tuple[int, ...], ...]
    probabilities: tuple[dict[str, float], ...]


def compare_tokens(before: Observed, after: Observed, result: ModelInfo) -> None:
    """Make sure that two models split the texts alike.

    Args:
        before: What was made of the source.
        after: What was made of the result.
        result: For the error.

    Raises:
        ConversionMismatchError: They don't.
    """
    for text, ours, theirs in zip(TEXTS, after.tokens, before.tokens, strict=True):
        if ours == theirs:
            continue
        at = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
        place = (
            f"from token {at}" if at is not None else f"in length, {len(ours)} tokens against {len(theirs)}"
        )
        raise ConversionMismatchError(
            "the converted model splits texts into other tokens than its source",
            path=result.path,
            why=f"they differ {place} in {text[:40]!r}, between {after.backend} and {before.backend}",
            advice="Use llama.cpp's convert_hf_to_gguf.py, and report it.",
        )


def distance(source: Mapping[str, float], result: Mapping[str, float]) -> tuple[float, float] | None:
    """How far one set of log probabilities is from another.

    Args:
        source: Text of a token -> log probability, of the most probable ones.
        result: The same of the other model.

    Returns:
        The root mean square of the differences relative to the spread of the source, both without their
        means so that a common factor does not count; and the divergence in nats. None if too few tokens are
        in both.
    """
    common = sorted(source.keys() & result.keys(), key=lambda text: -source[text])[: ALTERNATIVES // 2]
    if len(common) < _FEWEST_IN_COMMON:
        return None
    ours, theirs = [result[text] for text in common], [source[text] for text in common]
    shift_ours, shift_theirs = math.fsum(ours) / len(ours), math.fsum(theirs) / len(theirs)
    apart = math.fsum((a - shift_ours - b + shift_theirs) ** 2 for a, b in zip(ours, theirs, strict=True))
    spread = math.fsum((b - shift_theirs) ** 2 for b in theirs)
    rest_ours, rest_theirs = (max(1e-12, 1 - math.fsum(map(math.exp, row))) for row in (ours, theirs))
    divergence = math.fsum(math.exp(b) * (b - a) for a, b in zip(ours, theirs, strict=True))
    divergence += rest_theirs * math.log(rest_theirs / rest_ours)
    return math.sqrt(apart / max(spread, 1e-12)), max(0.0, divergence)


def compare_probabilities(
    before: Observed, after: Observed, result: ModelInfo, quantization: str
) -> Verification:
    """Make sure that two models find the same tokens probable.

    Args:
        before: What was made of the source.
        after: What was made of the result, at the same positions.
        result: For the error.
        quantization: The type it was converted to, on which the limit depends.

    Raises:
        ConversionMismatchError: They don't.
    """
    pairs = list(zip(before.probabilities, after.probabilities, strict=True))
    # An engine that would end the text tells no probabilities, and its tokens may have no text at all.
    measured = [found for a, b in pairs if (found := distance(a, b)) is not None]
    told = sum(1 for pair in pairs if min(map(len, pair)) >= _FEWEST_IN_COMMON)
    if len(measured) < max(1, told // 2):
        if told:
            raise ConversionMismatchError(
                "the converted model expects other tokens than its source",
                path=result.path,
                why=f"at {told - len(measured)} of {told} positions the most probable tokens are others",
                advice="Use llama.cpp's convert_hf_to_gguf.py, and report it.",
            )
        note = "the engines told the probabilities of too few tokens that have a text"
        return Verification(method="tensors", backend=after.backend, note=note)
    errors = sorted(error for error, _ in measured)
    error = errors[len(errors) // 2]
    limit = ERROR_LIMITS.get(quantization, max(ERROR_LIMITS.values()))
    if error > limit:
        raise ConversionMismatchError(
            "the converted model does not compute what its source computes",
            path=result.path,
            measured=error,
            limit=limit,
            why=f"its log probabilities are off by {error:.1%} of their spread; in {quantization}, "
            f"{limit:.0%} is the limit",
            advice="Convert to a type with more bits (--to F16); if that fails too, use llama.cpp's "
            "convert_hf_to_gguf.py, and report it.",
        )
    return Verification(
        method="logits",
        error=error,
        limit=limit,
        divergence=math.fsum(found for _, found in measured) / len(measured),
        positions=len(measured),
        source_backend=before.backend,
        backend=after.backend,
    )
