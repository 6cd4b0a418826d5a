"""The formats before GGUF: GGML, GGMF, GGJT (versions 1 to 3) and the LoRA format GGLA.

Their headers hold bare numbers whose meaning depends on the architecture, which they do not name. Each known
layout is therefore tried: the one whose vocabulary and tensors lead exactly to the end of the file is the
right one. Without such a layout only the format itself is reported.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import attrs

from modelplug.errors import ModelFileError, TruncatedModelError, UnsupportedFormatError
from modelplug.formats.fingerprint import FingerprintBuilder
from modelplug.formats.ggml_types import GGML_TYPES, GgmlType
from modelplug.formats.model_info import ModelInfo
from modelplug.formats.source import ByteSource, Cursor
from modelplug.formats.weights import Tensor, count_parameters, dominant_type, layer_sizes, type_bytes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["inspect_legacy_ggml"]

_FORMATS: Final = {b"lmgg": "ggml", b"fmgg": "ggmf", b"tjgg": "ggjt", b"algg": "ggla"}
_VERSIONS: Final = {"ggml": (), "ggmf": (1,), "ggjt": (1, 2, 3), "ggla": (1,)}
_MAX_VOCABULARY: Final = 1 << 20
_MAX_TENSORS: Final = 1 << 14

# Before the third GGJT version these stored their scale in 32 bits.
_OLD_BLOCKS: Final = {2: (32, 20), 3: (32, 24), 7: (32, 24), 8: (32, 36), 9: (32, 40)}

# The numbers at the beginning, by architecture; the file type is always the last.
_LAYOUTS: Final[dict[str, tuple[str, ...]]] = {
    "llama": ("n_vocab", "n_embd", "n_mult", "n_head", "n_layer", "n_rot", "ftype"),
    "gptj": ("n_vocab", "n_ctx", "n_embd", "n_head", "n_layer", "n_rot", "ftype"),
    "gptneox": ("n_vocab", "n_ctx", "n_embd", "n_head", "n_layer", "n_rot", "par_res", "ftype"),
    "gpt2": ("n_vocab", "n_ctx", "n_embd", "n_head", "n_layer", "ftype"),
}
_REPEATS_VOCABULARY: Final = frozenset({"gptj", "gpt2"})


@attrs.frozen
class _Layout:
    architecture: str
    numbers: dict[str, int]
    tensors: list[Tensor]
    header_end: int


class _MismatchError(Exception):
    """The file does not have the layout that was tried."""

    def __init__(self, expected: int | None = None) -> None:
        super().__init__()
        self.expected = expected


def inspect_legacy_ggml(path: Path) -> ModelInfo:
    """Inspect a model in one of the formats before GGUF.

    Args:
        path: The file.

    Returns:
        What can be determined; the architecture only where the whole file agrees with it.

    Raises:
        UnsupportedFormatError: The format's version is unknown.
        TruncatedModelError: The file is cut off.
    """
    with ByteSource(path) as source:
        cursor = Cursor(source)
        form = _FORMATS[cursor.take(4)]
        version = cursor.u32() if form != "ggml" else 0
        if form != "ggml" and version not in _VERSIONS[form]:
            raise UnsupportedFormatError(
                f"{path.name} is {form.upper()} of version {version}, which can't be read here",
                path=path,
                offset=4,
                why=f"known versions: {', '.join(map(str, _VERSIONS[form]))}",
                advice="Use a conversion of this model to GGUF.",
            )
        if form == "ggla":
            layout: _Layout | None = _adapter(source, cursor)
        else:
            layout = _best_layout(source, form, version, cursor.position)
        builder = FingerprintBuilder()
        builder.add(source, layout.header_end if layout else 0)
        size = source.size
    return _to_info(path, form, version, layout, size, builder.result())


def _best_layout(source: ByteSource, form: str, version: int, start: int) -> _Layout | None:
    outcomes = [_outcome(source, form, version, start, architecture) for architecture in _LAYOUTS]
    expected = next((outcome for outcome in outcomes if isinstance(outcome, int)), None)
    for outcome in outcomes:
        if isinstance(outcome, _Layout):
            return outcome
    if expected is not None:
        raise TruncatedModelError(
            f"{source.path.name} ends early: its tensors need at least {expected:,} bytes, "
            f"but it has {source.size:,}",
            path=source.path,
            offset=source.size,
            expected=expected,
            actual=source.size,
            why="the file is cut off, as an interrupted download or copy leaves it",
            advice="Download or copy the file again, or better, a GGUF version of the model.",
        )
    return None


def _outcome(
    source: ByteSource, form: str, version: int, start: int, architecture: str
) -> _Layout | int | None:
    """The layout if it fits, the bytes it needs if it fits but for the end of the file, otherwise None."""
    try:
        return _try_layout(source, form, version, start, architecture)
    except _MismatchError as mismatch:
        return mismatch.expected
    except ModelFileError:
        return None  # the numbers of this layout lead outside the file


def _try_layout(source: ByteSource, form: str, version: int, start: int, architecture: str) -> _Layout:
    cursor = Cursor(source, position=start)
    names = _LAYOUTS[architecture]
    numbers = dict(zip(names, cursor.unpack(struct.Struct(f"<{len(names)}I")), strict=True))
    _check_plausible(architecture, numbers)
    if architecture in _REPEATS_VOCABULARY and cursor.u32() != numbers["n_vocab"]:
        raise _MismatchError
    scored = architecture == "llama" and form != "ggml"
    _skip_vocabulary(cursor, numbers["n_vocab"], scored)
    header_end = cursor.position
    tensors = _walk_tensors(
        source, header_end, aligned=form == "ggjt", old_blocks=version < 3 or form != "ggjt"
    )
    if not tensors:
        raise _MismatchError
    return _Layout(_refine(architecture, numbers, tensors), numbers, tensors, header_end)


def _check_plausible(architecture: str, numbers: dict[str, int]) -> None:
    heads, width = numbers["n_head"], numbers["n_embd"]
    plausible = (
        0 < numbers["n_vocab"] <= _MAX_VOCABULARY
        and 0 < width <= 1 << 17
        and 0 < heads <= 1 << 10
        and 0 < numbers["n_layer"] <= 1 << 10
        and width % heads == 0
        and numbers.get("n_rot", 0) <= width // heads
        and 0 < numbers.get("n_ctx", 1) <= 1 << 20
        and numbers.get("par_res", 0) <= 1
        and numbers["ftype"] % 1000 < 64
    )
    if architecture == "llama":
        plausible = plausible and numbers["n_rot"] == width // heads
    if not plausible:
        raise _MismatchError


def _skip_vocabulary(cursor: Cursor, count: int, scored: bool) -> None:
    if not scored:
        cursor.skip_strings(count, 4, "the vocabulary")
        return
    for _ in range(count):
        cursor.skip(cursor.u32() + 4, "the vocabulary")


def _walk_tensors(
    source: ByteSource, start: int, *, aligned: bool, old_blocks: bool, certain: bool = False
) -> list[Tensor]:
    """Follow the tensors, each a small header and its data, to the end of the file.

    Once one tensor was right, or if the layout is `certain`, a file that ends too soon is cut off.
    """
    tensors: list[Tensor] = []
    at = start
    while at < source.size:
        head = source.read_at(at, 512)
        if len(head) < 12 or len(tensors) >= _MAX_TENSORS:
            raise _MismatchError(at + 12 if tensors or certain else None)
        dimensions, name_length, type_number = struct.unpack_from("<3I", head)
        known = GGML_TYPES.get(type_number)
        after = 12 + 4 * dimensions + name_length
        if not 1 <= dimensions <= 4 or not 1 <= name_length <= 256 or known is None:
            raise _MismatchError
        if len(head) < after:
            raise _MismatchError(at + after if tensors or certain else None)
        shape = struct.unpack_from(f"<{dimensions}I", head, 12)
        name = head[after - name_length : after]
        if not name.isascii() or 0 in shape:
            raise _MismatchError
        elements = 1
        for length in shape:
            elements *= length
        size = _stored_bytes(known, type_number, shape[0], elements, old_blocks)
        at += after
        at += -at % 32 if aligned else 0
        if at + size > source.size:
            raise _MismatchError(at + size if tensors or certain else None)
        tensors.append(Tensor(name.decode("ascii"), shape, known.name, elements, size))
        at += size
    return tensors


def _stored_bytes(known: GgmlType, number: int, row: int, elements: int, old_blocks: bool) -> int:
    block, size = _OLD_BLOCKS.get(number, known[1:3]) if old_blocks else known[1:3]
    if row % block:
        raise _MismatchError
    return elements // block * size


def _refine(architecture: str, numbers: dict[str, int], tensors: list[Tensor]) -> str:
    # GPT-2 and StarCoder share a layout; the latter has one key and one value head for all
    if architecture == "gpt2":
        fused = next((t for t in tensors if t.name.endswith("attn/c_attn/w")), None)
        if fused is not None and fused.shape[-1] != 3 * numbers["n_embd"]:
            return "starcoder"
    return architecture


def _adapter(source: ByteSource, cursor: Cursor) -> _Layout:
    numbers = {"lora_r": cursor.u32(), "lora_alpha": cursor.u32()}
    start = cursor.position
    try:
        tensors = _walk_tensors(source, start, aligned=True, old_blocks=False, certain=True)
    except _MismatchError as mismatch:
        if mismatch.expected is not None:
            raise TruncatedModelError(
                f"{source.path.name} ends early: its tensors need at least {mismatch.expected:,} bytes, "
                f"but it has {source.size:,}",
                path=source.path,
                offset=source.size,
                expected=mismatch.expected,
                actual=source.size,
                advice="Download or copy the file again.",
            ) from None
        cursor.bad("what should be the head of a tensor is none", offset=start)
    return _Layout("", numbers, tensors, start)


def _to_info(
    path: Path, form: str, version: int, layout: _Layout | None, size: int, fingerprint: str
) -> ModelInfo:
    warnings = [f"{form.upper()} is obsolete: current engines load GGUF only"]
    numbers = layout.numbers if layout else {}
    tensors = layout.tensors if layout else []
    if layout is None:
        warnings.append("its architecture can't be determined: the format does not name it")
    layers, heads, width = numbers.get("n_layer"), numbers.get("n_head"), numbers.get("n_embd")
    head_width = width // heads if width and heads else None
    several = layout is not None and layout.architecture == "starcoder"
    return ModelInfo(
        path=path,
        format=form,
        format_version=str(version) if version else None,
        kind="adapter" if form == "ggla" else "model",
        architecture=(layout.architecture or None) if layout else None,
        parameters=count_parameters(tensors),
        quantization=dominant_type(tensors),
        tensor_types=type_bytes(tensors),
        context_length=numbers.get("n_ctx"),
        layers=layers,
        embedding_length=width,
        heads=heads,
        heads_kv=((1 if several else heads),) * layers if layers and heads else (),
        key_length=head_width,
        value_length=head_width,
        vocabulary_size=numbers.get("n_vocab"),
        size=size,
        files=(path,),
        weights=layer_sizes(tensors, layers),
        fingerprint=fingerprint,
        warnings=tuple(warnings),
        metadata=dict(numbers),
    )
