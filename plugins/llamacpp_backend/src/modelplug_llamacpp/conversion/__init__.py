"""Converts model directories of the Llama family to GGUF; importing this imports neither numpy nor gguf."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelplug.errors import ConversionError, ConversionRefusedError, NothingSuitableError
from modelplug_llamacpp.conversion.configuration import read_configuration
from modelplug_llamacpp.conversion.mapping import QUANTIZATIONS, Target, map_tensors
from modelplug_llamacpp.conversion.vocabulary import read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelplug.backends.types import ConversionPlan, ConvertRequest
    from modelplug_llamacpp.conversion.configuration import Configuration

__all__ = ["convert", "plan"]

_NEEDED: Final = ("gguf", "numpy")
# How llama.cpp's types are called, as far as a typing mistake is to be told from them.
_TYPE_NAME: Final = re.compile(r"(?:I?Q|TQ)[1-8]_[\w]{1,6}|BF16|F32|MXFP4\w*|NVFP4")


def plan(request: ConvertRequest) -> ConversionPlan | None:
    """What converting would come to; None if it is no model of the Llama family, or no GGUF is wanted.

    Raises:
        ConversionRefusedError: It is, and can't be converted.
        NothingSuitableError: A library that it takes is not installed.
    """
    from modelplug.backends.types import ConversionPlan

    prepared = _prepared(request)
    if prepared is None:
        return None
    config, targets = prepared
    vocabulary = read_vocabulary(request.info.files[0].parent, config)
    texts = [token.text for token in vocabulary.tokens.entries] + list(vocabulary.tokens.merges)
    # A text has its length in 8 bytes before it; a token has a score and a type as well.
    header = sum(len(text.encode()) + 16 for text in texts) + len(str(vocabulary.chat_template)) * 4
    tensors = sum(target.size + len(target.name) + 64 + 32 for target in targets)
    return ConversionPlan(size=tensors + header + 65536, notes=config.notes)


def convert(request: ConvertRequest) -> Path | None:
    """Convert, and compare what was written with its source; None as for `plan`.

    Raises:
        ConversionError: It can't be done; what was written so far is for the caller to remove.
    """
    prepared = _prepared(request)
    if prepared is None:
        return None
    config, targets = prepared
    try:
        _write_and_check(request, config, targets)
    except OSError as error:
        raise ConversionError(
            f"{request.output} can't be written",
            path=request.output,
            why=error.strerror or str(error),
            advice="Free some space, or convert to another disk with --output.",
        ) from error
    return request.output


def _prepared(request: ConvertRequest) -> tuple[Configuration, list[Target]] | None:
    """The figures and the tensors of a model that can be converted."""
    info = request.info
    if info.format != "huggingface" or request.format != "gguf":
        return None
    directory = info.files[0].parent
    config = read_configuration(directory)
    if config is None:
        return None
    quantization = str(request.options.get("quantization", "F16"))
    if quantization not in QUANTIZATIONS:
        other = quantization if _TYPE_NAME.fullmatch(quantization) else "TYPE"
        raise ConversionRefusedError(
            f"{directory.name} can't be converted to {quantization}",
            path=directory,
            tool="llama-quantize",
            why=f"the types that can be written here are {', '.join(QUANTIZATIONS)}",
            advice="Use one of them. For other types convert to F16, then use llama.cpp's own program: "
            f"llama-quantize {directory.name}-F16.gguf {directory.name}-{other}.gguf {other}",
        )
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise NothingSuitableError(
            "the llama.cpp plugin can't convert yet",
            why=f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            advice=f"{sys.executable} -m pip install {' '.join(missing)}",
        )
    return config, map_tensors(config, _shapes(request), quantization, directory)


def _shapes(request: ConvertRequest) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor, from the headers."""
    from modelplug.formats.pytorch import read_pytorch
    from modelplug.formats.safetensors import read_safetensors

    shapes: dict[str, tuple[int, ...]] = {}
    for file in request.info.files:
        if request.info.format_version == "safetensors":
            shapes |= {tensor.name: tensor.shape for tensor in read_safetensors(file).tensors}
        else:
            shapes |= {tensor.name: tensor.shape for tensor in read_pytorch(file).tensors}
    return shapes


def _write_and_check(request: ConvertRequest, config: Configuration, targets: list[Target]) -> None:
    from modelplug_llamacpp.conversion.checking import check_file
    from modelplug_llamacpp.conversion.weights import open_weights
    from modelplug_llamacpp.conversion.writing import write_file

    info = request.info
    vocabulary = read_vocabulary(info.files[0].parent, config)
    total = sum(target.size for target in targets)
    with open_weights(info.format_version or "", info.files) as weights:
        write_file(
            request.output,
            config,
            vocabulary,
            targets,
            weights,
            quantization=str(request.options.get("quantization", "F16")),
            name=str(request.options.get("name") or info.files[0].parent.name),
            fingerprint=info.fingerprint,
            progress=_counter(request.progress, "writing", total, 0.0),
        )
        counter = _counter(request.progress, "reading back", total, 0.5)
        check_file(request.output, targets, weights, config.rope.divisors, counter)


def _counter(
    tell: Callable[[str, float], None], step: str, total: int, before: float
) -> Callable[[int], None]:
    """Counts bytes of one half of the work, and passes on how far the whole is."""
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        tell(step, min(1.0, before + 0.5 * done / max(1, total)))

    return count
