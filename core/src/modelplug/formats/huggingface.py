"""Hugging Face model directories: `config.json`, weights and tokenizer files."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from modelplug.errors import ModelFileError, NotAModelError
from modelplug.formats.fingerprint import FingerprintBuilder
from modelplug.formats.model_info import ModelInfo
from modelplug.formats.pytorch import read_pytorch
from modelplug.formats.safetensors import read_safetensors
from modelplug.formats.source import ByteSource, exists, file_size
from modelplug.formats.weight_index import indexed_files
from modelplug.formats.weights import (
    MAX_LAYERS,
    Tensor,
    count_parameters,
    dominant_type,
    layer_sizes,
    type_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import NoReturn

__all__ = ["inspect_huggingface", "read_json", "weight_files"]

_MAX_JSON: Final = 1 << 20
_MAX_TEXT: Final = 8 << 20
_TOKENIZER_CLASS: Final = re.compile(rb'"tokenizer_class"\s*:\s*"(\w{1,64})"')


def read_json(path: Path, builder: FingerprintBuilder | None = None) -> dict[str, Any]:
    """Read a small JSON object.

    Raises:
        ModelFileError: It is too large, not JSON, or not an object.
    """
    size = file_size(path)
    if size > _MAX_JSON:
        _bad(path, f"it has {size} bytes (at most {_MAX_JSON} are plausible)")
    with ByteSource(path) as source:
        data = source.read_at(0, size)
    if builder is not None:
        builder.add_bytes(data)
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        _bad(path, "it is nested too deeply")
    except ValueError as error:
        _bad(path, f"it is not JSON ({error})", getattr(error, "pos", None))
    if not isinstance(value, dict):
        _bad(path, "it is not a JSON object", 0)
    return value


def _bad(path: Path, what: str, offset: int | None = None) -> NoReturn:
    raise ModelFileError(
        f"{path.name} is damaged: {what}",
        path=path,
        offset=offset,
        advice="Download the file again from the model's repository.",
    )


def weight_files(directory: Path) -> tuple[str, list[Path]]:
    """The weight files of a model directory, as its libraries would choose them.

    Returns:
        `safetensors` or `pytorch`, and the files; the latter may be empty.

    Raises:
        ModelFileError: An index names files that are missing.
    """
    for form, index, single, pattern in (
        ("safetensors", "model.safetensors.index.json", "model.safetensors", "*.safetensors"),
        ("pytorch", "pytorch_model.bin.index.json", "pytorch_model.bin", "pytorch_model*.bin"),
    ):
        if exists(directory / single):
            return form, [directory / single]
        if exists(directory / index):
            return form, indexed_files(directory / index)
        found = sorted(path for path in directory.glob(pattern) if not path.name.startswith("adapter"))
        if found:
            return form, found
    return "", []


def inspect_huggingface(path: Path, directory: Path) -> ModelInfo:
    """Inspect a Hugging Face model directory.

    Args:
        path: What the user gave, for the record.
        directory: The directory with `config.json`.

    Returns:
        What its configuration and its weight files' headers say.

    Raises:
        NotAModelError: There are no weights.
        ModelFileError: A file is damaged, cut off or missing.
    """
    builder = FingerprintBuilder()
    config = read_json(directory / "config.json", builder)
    form, files = weight_files(directory)
    if not files:
        _refuse_weightless(directory)
    tensors, warnings, metadata = _read_weights(form, files, builder)
    reader = _Config(directory / "config.json", config)
    metadata |= _plain_entries(config)
    quantization, parameters = _quantization(config, tensors, metadata)
    tokenizer, template = _tokenizer(directory)
    if tokenizer is None:
        warnings.append("the directory holds no tokenizer: engines can't turn text into tokens")
    layers = reader.whole("num_hidden_layers", "n_layer", "num_layers", "n_layers", most=MAX_LAYERS)
    width = reader.whole("hidden_size", "n_embd", "d_model")
    heads, kv_heads, head_width = reader.attention(width)
    return ModelInfo(
        path=path,
        format="huggingface",
        format_version=form,
        name=reader.text("_name_or_path") or _cache_name(directory),
        architecture=reader.text("model_type"),
        parameters=parameters,
        quantization=quantization,
        tensor_types=type_bytes(tensors),
        context_length=reader.whole("max_position_embeddings", "n_positions", "seq_length", "max_seq_len"),
        layers=layers,
        embedding_length=width,
        heads=heads,
        heads_kv=(kv_heads,) * layers if kv_heads and layers else (),
        key_length=head_width,
        value_length=reader.whole("v_head_dim") or head_width,
        sliding_window=reader.window(),
        state_bytes=reader.whole("state_bytes"),
        experts=reader.whole("num_local_experts", "num_experts", "n_routed_experts") or None,
        vocabulary_size=reader.whole("vocab_size"),
        tokenizer=tokenizer,
        chat_template=template,
        size=sum(file_size(file) for file in files),
        files=tuple(files),
        weights=layer_sizes(tensors, layers),
        fingerprint=builder.result(),
        warnings=tuple(warnings),
        metadata=metadata,
    )


class _Config:
    """`config.json`, each entry checked for its type."""

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        self.path = path
        # A model that also sees or hears keeps the figures of its language model in a section of their own.
        text = values.get("text_config")
        self.values = {**values, **text} if isinstance(text, dict) else values

    def whole(self, *names: str, most: int = 1 << 40) -> int | None:
        """The first of these entries that is there, which must be a whole number of at least 0."""
        for name in names:
            value = self.values.get(name)
            if value is None or isinstance(value, (list, dict)):
                continue  # a number for each layer: families differ too much in what it means
            if type(value) is not int or not 0 <= value <= most:
                _bad(self.path, f"{name!r} is {value!r:.60} instead of a whole number from 0 to {most}")
            return int(value)
        return None

    def text(self, name: str) -> str | None:
        """A text; None if absent or empty."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            _bad(self.path, f"{name!r} is {value!r:.60} instead of a text")
        return value or None

    def attention(self, width: int | None) -> tuple[int | None, int | None, int | None]:
        """Heads, heads of keys and values, and the width of a head, in a model of this width."""
        heads = self.whole("num_attention_heads", "n_head", "n_heads")
        head_width = self.whole("head_dim") or (width // heads if width and heads else None)
        kv_heads = self.whole("num_key_value_heads", "num_kv_heads")
        if not kv_heads:
            one = self.values.get("multi_query") is True and not self.values.get("new_decoder_architecture")
            kv_heads = 1 if one else heads
        return heads, kv_heads, head_width

    def window(self) -> int | None:
        """The sliding window, where the configuration switches it on."""
        if self.values.get("use_sliding_window") is False:
            return None
        return self.whole("sliding_window") or None


def _plain_entries(config: dict[str, Any]) -> dict[str, Any]:
    """What goes into the metadata: single values, and the classes that implement the model."""
    kept = {key: value for key, value in config.items() if _scalar(value)}
    architectures = config.get("architectures")
    if isinstance(architectures, list) and architectures:
        kept["architectures"] = [str(name)[:200] for name in architectures[:8]]
    return kept


def _scalar(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, (bool, int)) or (isinstance(value, str) and len(value) <= 1024)


def _read_weights(
    form: str, files: Sequence[Path], builder: FingerprintBuilder
) -> tuple[list[Tensor], list[str], dict[str, Any]]:
    tensors: list[Tensor] = []
    warnings: list[str] = []
    metadata: dict[str, Any] = {}
    names: set[str] = set()
    for file in files:
        if form == "safetensors":
            part = read_safetensors(file, builder).tensors
        else:
            checkpoint = read_pytorch(file)
            part = checkpoint.tensors
            builder.add_bytes(checkpoint.fingerprint.encode())
            warnings += [f"{file.name}: {warning}" for warning in checkpoint.warnings]
        for tensor in part:
            if tensor.name in names:
                _bad(file, f"tensor {tensor.name!r} is in another file too")
            names.add(tensor.name)
        tensors += part
    return tensors, warnings, metadata


def _quantization(
    config: dict[str, Any], tensors: list[Tensor], metadata: dict[str, Any]
) -> tuple[str | None, int | None]:
    """The storage type and the number of parameters, which quantised formats pack several to an element."""
    stated = config.get("quantization_config")
    if not isinstance(stated, dict):
        return dominant_type(tensors), count_parameters(tensors)
    method = str(stated.get("quant_method", "unknown"))[:40]
    bits = stated.get("bits", stated.get("w_bit"))
    metadata["quantization_config"] = {key: value for key, value in stated.items() if _scalar(value)}
    if method not in {"gptq", "awq"} or type(bits) is not int or not 1 <= bits <= 8:
        return method.upper(), None
    packed = sum(tensor.elements * (32 // bits) for tensor in tensors if tensor.name.endswith(".qweight"))
    helpers = (".qweight", ".qzeros", ".scales", ".g_idx")
    plain = sum(tensor.elements for tensor in tensors if not tensor.name.endswith(helpers))
    return f"{method.upper()}-{bits}", (packed + plain) or None


def _tokenizer(directory: Path) -> tuple[str | None, bool]:
    """The kind of tokenizer and whether there is a chat template."""
    kind = None
    for name, meaning in (
        ("tokenizer.json", "tokenizers"),
        ("tokenizer.model", "sentencepiece"),
        ("spiece.model", "sentencepiece"),
        ("vocab.json", "bpe"),
        ("vocab.txt", "wordpiece"),
        ("tekken.json", "tekken"),
    ):
        if exists(directory / name):
            kind = meaning
            break
    template = exists(directory / "chat_template.jinja") or exists(directory / "chat_template.json")
    settings = directory / "tokenizer_config.json"
    if exists(settings):
        # looked through, not parsed: it may hold thousands of added tokens
        with ByteSource(settings) as source:
            text = source.read_at(0, _MAX_TEXT)
        template = template or re.search(rb'"chat_template"\s*:\s*["\[]', text) is not None
        stated = _TOKENIZER_CLASS.search(text)
        kind = stated[1].decode("ascii") if stated and kind else kind
    return kind, template


def _cache_name(directory: Path) -> str | None:
    """`org/name` for a snapshot in the Hugging Face cache."""
    for part in directory.parts[::-1]:
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/", 1)
    return None


def _refuse_weightless(directory: Path) -> NoReturn:
    if any(directory.glob("*.incomplete")):
        why = "a download was interrupted"
    else:
        why = "there is neither a *.safetensors nor a pytorch_model*.bin file beside config.json"
    raise NotAModelError(
        f"{directory.name} has a configuration but no weights",
        path=directory,
        why=why,
        advice="Download the model's weight files into this directory.",
    )
