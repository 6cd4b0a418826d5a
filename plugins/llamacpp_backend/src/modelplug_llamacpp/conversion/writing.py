"""Writes the GGUF file, a few rows of one tensor at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import gguf
import numpy as np

from modelplug.errors import ConversionError
from modelplug_llamacpp.conversion.mapping import QUANTIZATIONS, Target
from modelplug_llamacpp.conversion.weights import SourceWeights, blocks_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelplug_llamacpp.conversion.configuration import Configuration
    from modelplug_llamacpp.conversion.vocabulary import Vocabulary

__all__ = ["ROPE_DIVISORS", "add_metadata", "packed", "write_file"]

ROPE_DIVISORS: Final = "rope_freqs.weight"
_QUANTIZATION_VERSION: Final = 2
_LARGEST_F16: Final = 65504.0


def write_file(
    path: Path,
    config: Configuration,
    vocabulary: Vocabulary,
    targets: list[Target],
    weights: SourceWeights,
    *,
    quantization: str,
    name: str,
    fingerprint: str,
    progress: Callable[[int], None],
) -> None:
    """Write the whole file.

    Args:
        path: The file; it must not exist.
        config: The model's figures.
        vocabulary: Its tokens.
        targets: Its tensors.
        weights: Where their numbers are.
        quantization: One of `QUANTIZATIONS`.
        name: The model's name.
        fingerprint: Of the source, which is kept in the file.
        progress: Told of every number of bytes written.

    Raises:
        ConversionError: A weight is no number, or too large for the type.
        OSError: The file can't be written.
    """
    with _quiet():
        writer = gguf.GGUFWriter(None, config.family.architecture)
        add_metadata(
            writer, config, vocabulary, quantization=quantization, name=name, fingerprint=fingerprint
        )
        divisors = np.array(config.rope.divisors, np.float32)
        for target in targets:
            kind = gguf.GGMLQuantizationType[target.type]
            writer.add_tensor_info(target.name, target.shape, np.float32, target.size, kind)
        if divisors.size:
            writer.add_tensor_info(ROPE_DIVISORS, divisors.shape, np.float32, divisors.nbytes)
        try:
            writer.write_header_to_file(path=path)
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            stream = writer.fout[0]
            writer.write_padding(stream, stream.tell())
            for target in targets:
                for rows in _packed_blocks(target, weights):
                    stream.write(rows)
                    progress(len(rows))
                writer.write_padding(stream, target.size)
            stream.write(divisors.tobytes())
            writer.write_padding(stream, divisors.nbytes)
        finally:
            _close(writer)


def _close(writer: Any) -> None:
    """Close the file for good: the writer's own way stops at the first error, with the file open."""
    for stream in writer.fout or ():
        stream.close()
    writer.fout = None


def add_metadata(
    writer: Any,
    config: Configuration,
    vocabulary: Vocabulary,
    *,
    quantization: str,
    name: str,
    fingerprint: str,
) -> None:
    """Everything in the file that is no tensor; the arguments are those of `write_file`."""
    writer.add_name(name)
    writer.add_file_type(QUANTIZATIONS[quantization])
    writer.add_quantization_version(_QUANTIZATION_VERSION)
    writer.add_string("modelplug.conversion.source", fingerprint)
    writer.add_string("modelplug.conversion.type", quantization)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.inner)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_width)
    writer.add_value_length(config.head_width)
    writer.add_layer_norm_rms_eps(config.epsilon)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_rope_freq_base(config.rope.theta)
    if config.rope.kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope.factor)
    writer.add_vocab_size(config.vocabulary)
    _add_vocabulary(writer, vocabulary)


def _add_vocabulary(writer: Any, vocabulary: Vocabulary) -> None:
    tokens = vocabulary.tokens
    writer.add_tokenizer_model(tokens.model)
    writer.add_tokenizer_pre(tokens.pre)
    writer.add_token_list([token.text for token in tokens.entries])
    if tokens.model == "llama":
        writer.add_token_scores([token.score for token in tokens.entries])
        writer.add_add_space_prefix(tokens.space_prefix)
    writer.add_token_types([token.type for token in tokens.entries])
    if tokens.merges:
        writer.add_token_merges(list(tokens.merges))
    adders = {
        "bos": writer.add_bos_token_id,
        "eos": writer.add_eos_token_id,
        "unk": writer.add_unk_token_id,
        "pad": writer.add_pad_token_id,
    }
    for name, number in vocabulary.special.items():
        adders[name](number)
    writer.add_add_bos_token(vocabulary.add_start)
    writer.add_add_eos_token(vocabulary.add_end)
    if vocabulary.chat_template:
        writer.add_chat_template(vocabulary.chat_template)


def _packed_blocks(target: Target, weights: SourceWeights) -> Iterator[bytes]:
    for start, stop in blocks_of(target):
        rows = weights.rows(target, start, stop)
        _check_numbers(target, rows, start, weights.directory)
        yield packed(rows, target.type).tobytes()


def packed(rows: NDArray[np.float32], kind: str) -> NDArray[Any]:
    """Rows of numbers in a tensor type.

    Args:
        rows: Rows, or the elements of a vector, with values that the type can hold.
        kind: `F32`, `F16`, `Q8_0` or `Q4_0`.
    """
    if kind == "F32":
        return rows.astype("<f4", copy=False)
    if kind == "F16":
        return rows.astype("<f2")
    array: NDArray[Any] = gguf.quants.quantize(rows, gguf.GGMLQuantizationType[kind])
    return array


def _check_numbers(target: Target, rows: NDArray[np.float32], start: int, directory: Path) -> None:
    if not np.isfinite(rows).all():
        where = start + int(np.argwhere(~np.isfinite(rows))[0][0])
        raise ConversionError(
            f"{target.source} holds values that are no numbers",
            path=directory,
            why=f"the first NaN or infinity is in row {where:,}: the training failed, or the file is damaged",
            advice="Download the model again; if it is your own, take an earlier checkpoint.",
        )
    largest = float(np.abs(rows).max(initial=0))
    if target.type == "F16" and largest > _LARGEST_F16:
        raise ConversionError(
            f"{target.source} holds a weight of {largest:.3g}, which F16 can't",
            path=directory,
            why=f"the largest number of that type is {_LARGEST_F16:.0f}",
            advice="Convert to Q8_0, which keeps a scale for each 32 weights: --to Q8_0",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the writer logs of its own doings."""
    logger = logging.getLogger("gguf.gguf_writer")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
