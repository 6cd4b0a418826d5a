"""The trained model as GGUF files of several precisions that hold the very same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import gguf
import numpy as np
from numpy.typing import NDArray

from demo_model.tokenizer import BOS, EOS, UNKNOWN, Vocabulary

if TYPE_CHECKING:
    from pathlib import Path

    from demo_model.network import Shape

__all__ = ["CHAT_TEMPLATE", "PRECISIONS", "Export", "Weight", "round_weights"]

Array = NDArray[np.float32]

CHAT_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
    {%- if message['role'] == 'user' %}
        {{- 'USER:\\n' + message['content'] | trim + '\\n\\n' }}
    {%- elif message['role'] == 'assistant' %}
        {{- 'ASSISTANT:\\n' + message['content'] | trim + '\\n\\n' }}
    {%- else %}
        {{- message['content'] | trim + '\\n\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- 'ASSISTANT:\\n' }}
{%- endif %}
"""

DESCRIPTION = (
    "A small demonstration model that speaks like a play. Trained from scratch by tools/train_demo_model.py "
    "of the modelplug repository on the plays of William Shakespeare (tiny-shakespeare.txt), a text in the "
    "public domain. It knows nothing and is not meant to be believed."
)

PRECISIONS = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
}
"""The precisions that can be written, and the number by which GGUF calls each."""

BLOCK = 32
SCALE_BITS = 4
"""Significant bits of a block's scale: times the 7 bits of a value, that makes the 11 of a float16."""


def block_scales(blocks: Array) -> Array:
    """The Q8_0 scale of each row of `blocks`, rounded up to few enough bits."""
    smallest = np.abs(blocks).max(axis=1, keepdims=True).astype(np.float64) / 127
    mantissa, exponent = np.frexp(smallest)
    steps = 2**SCALE_BITS
    scales: Array = np.ldexp(np.ceil(mantissa * steps) / steps, exponent).astype(np.float32)
    return scales


@attrs.frozen(kw_only=True, eq=False)
class Weight:
    """A tensor whose numbers F32, F16 and, if it is a matrix, Q8_0 hold exactly.

    Attributes:
        values: The numbers.
        q8_0: The bytes of its Q8_0 blocks, one row for each of its rows; None for a vector.
    """

    values: Array
    q8_0: NDArray[np.uint8] | None = None


def round_matrix(values: Array) -> Weight:
    """Quantise a matrix to Q8_0 and take the numbers that remain."""
    blocks = values.reshape(-1, BLOCK)
    scales = block_scales(blocks)
    steps = np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales != 0)
    integers = np.clip(np.rint(steps), -127, 127).astype(np.int8)
    packed = np.concatenate([scales.astype(np.float16).view(np.uint8), integers.view(np.uint8)], axis=1)
    remaining = (integers * scales).astype(np.float32).reshape(values.shape)
    return Weight(values=remaining, q8_0=packed.reshape(values.shape[0], -1))


def round_weights(weights: dict[str, Array]) -> dict[str, Weight]:
    """Round weights to numbers that Q8_0, F16 and F32 all hold exactly.

    With the same numbers in every file, engines that read different formats can be compared token by token.
    """
    return {
        name: round_matrix(values)
        if values.ndim == 2
        else Weight(values=values.astype(np.float16).astype(np.float32))
        for name, values in weights.items()
    }


@attrs.frozen(kw_only=True)
class Export:
    """A trained model, ready to be written.

    Attributes:
        shape: Its sizes.
        vocabulary: Its tokenizer.
        weights: Its weights by GGUF name, rounded by `round_weights`.
        training: One sentence on how it was trained.
    """

    shape: Shape
    vocabulary: Vocabulary
    weights: dict[str, Weight]
    training: str

    def write_gguf(self, path: Path, precision: str) -> None:
        """Write one GGUF file, version 3, little-endian, aligned to 32 bytes."""
        writer = gguf.GGUFWriter(path, "llama")
        self._add_description(writer, precision)
        self._add_shape(writer)
        self._add_tokenizer(writer)
        for name, weight in self.weights.items():
            _add_tensor(writer, name, weight, precision)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def _add_description(self, writer: gguf.GGUFWriter, precision: str) -> None:
        parameters = sum(weight.values.size for weight in self.weights.values())
        writer.add_type("model")
        writer.add_name("modelplug demo")
        writer.add_description(f"{DESCRIPTION} {self.training}")
        writer.add_license("mit")
        writer.add_size_label(f"{parameters / 1e6:.1f}M")
        writer.add_languages(["en"])
        writer.add_file_type(PRECISIONS[precision])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)

    def _add_shape(self, writer: gguf.GGUFWriter) -> None:
        shape = self.shape
        writer.add_context_length(shape.context)
        writer.add_embedding_length(shape.width)
        writer.add_block_count(shape.layers)
        writer.add_feed_forward_length(shape.feed_forward)
        writer.add_head_count(shape.heads)
        writer.add_head_count_kv(shape.heads_kv)
        writer.add_rope_dimension_count(shape.head_width)
        writer.add_rope_freq_base(shape.rope_base)
        writer.add_layer_norm_rms_eps(shape.norm_epsilon)
        writer.add_vocab_size(shape.vocabulary)

    def _add_tokenizer(self, writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model("llama")
        writer.add_token_list(self.vocabulary.tokens)
        writer.add_token_scores(self.vocabulary.scores)
        writer.add_token_types(self.vocabulary.types)
        writer.add_bos_token_id(BOS)
        writer.add_eos_token_id(EOS)
        writer.add_unk_token_id(UNKNOWN)
        writer.add_add_bos_token(True)
        writer.add_add_eos_token(False)
        writer.add_chat_template(CHAT_TEMPLATE)


def _add_tensor(writer: gguf.GGUFWriter, name: str, weight: Weight, precision: str) -> None:
    values = weight.values
    if weight.q8_0 is None or precision == "f32":
        writer.add_tensor(name, values)
    elif precision == "f16":
        writer.add_tensor(name, values.astype(np.float16))
    elif precision == "q8_0":
        writer.add_tensor(name, weight.q8_0, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    else:
        kind = gguf.GGMLQuantizationType[precision.upper()]
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
