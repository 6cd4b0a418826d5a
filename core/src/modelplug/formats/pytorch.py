"""PyTorch checkpoints, zipped and legacy: recognised and described, never unpickled."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import attrs

from modelplug.errors import NotAModelError, TruncatedModelError
from modelplug.formats.fingerprint import FingerprintBuilder
from modelplug.formats.model_info import ModelInfo
from modelplug.formats.not_a_model import refuse_unknown
from modelplug.formats.pickle_scan import PickleReport, scan_pickle
from modelplug.formats.source import ByteSource
from modelplug.formats.weights import Tensor, count_parameters, dominant_type, layer_sizes, type_bytes
from modelplug.formats.zip_directory import ZipMember, member_bytes, member_start, read_zip_directory

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NoReturn

__all__ = ["PytorchFile", "inspect_pytorch", "read_pytorch"]

_MAX_PICKLE: Final = 4 << 20
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_STORAGES: Final[dict[str, tuple[str, int]]] = {
    "DoubleStorage": ("F64", 8),
    "FloatStorage": ("F32", 4),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8),
    "IntStorage": ("I32", 4),
    "ShortStorage": ("I16", 2),
    "CharStorage": ("I8", 1),
    "ByteStorage": ("U8", 1),
    "BoolStorage": ("BOOL", 1),
    "ComplexFloatStorage": ("C64", 8),
    "ComplexDoubleStorage": ("C128", 16),
}
# What a checkpoint of tensors needs. Anything else runs code of its own when loaded without
# `weights_only=True`.
_HARMLESS: Final = re.compile(
    r"torch\.(?:_utils\._rebuild_\w+|\w*Storage|storage\.\w+|Size|device|nn\.parameter\.Parameter"
    r"|serialization\._get_layout|\w*int\d+|float\w*|bfloat16|bool|half|long|double"
    r"|_tensor\._rebuild_from_type_v2|Tensor)|collections\.(?:OrderedDict|defaultdict)|_codecs\.encode"
    r"|numpy\.(?:dtype|ndarray|_?core\.multiarray\.(?:scalar|_reconstruct))|builtins\.(?:set|list|dict|int|float)"
)


@attrs.frozen(kw_only=True)
class PytorchFile:
    """What one checkpoint file holds.

    Attributes:
        form: `pytorch` or `pytorch-legacy`.
        tensors: Its tensors; empty if the structure could not be followed.
        globals: Every class or function its pickle names.
        warnings: Oddities.
        size: Bytes of the file.
        fingerprint: Of the file.
    """

    form: str
    tensors: tuple[Tensor, ...]
    globals: tuple[str, ...]
    warnings: tuple[str, ...]
    size: int
    fingerprint: str


def inspect_pytorch(path: Path) -> ModelInfo:
    """Inspect a PyTorch checkpoint by itself, without unpickling anything.

    Args:
        path: The file.

    Returns:
        What its directory and a scan of its pickle say. The globals the pickle names are in the metadata.

    Raises:
        NotAModelError: It is some other zip archive or pickle.
        TruncatedModelError: It is cut off.
        ModelFileError: It is damaged.
    """
    file = read_pytorch(path)
    weights = layer_sizes(file.tensors)
    # a training checkpoint also holds what the optimiser remembers of each parameter
    model = [tensor for tensor in file.tensors if not tensor.name.startswith("optim")]
    return ModelInfo(
        path=path,
        format=file.form,
        parameters=count_parameters(model),
        quantization=dominant_type(model),
        tensor_types=type_bytes(file.tensors),
        layers=len(weights.layers) or None,
        size=file.size,
        files=(path,),
        weights=weights,
        fingerprint=file.fingerprint,
        warnings=file.warnings,
        metadata={"pickle.globals": list(file.globals)},
    )


def read_pytorch(path: Path) -> PytorchFile:
    """Read a checkpoint of either form.

    Raises:
        NotAModelError: It is neither.
        TruncatedModelError: It is cut off.
        ModelFileError: It is damaged.
    """
    with ByteSource(path) as source:
        head = source.read_at(0, 4096)
        if head.startswith(b"PK\x03\x04"):
            return _read_zip(source)
        if not head.startswith(b"\x80"):  # a Git LFS pointer, a web page, nothing at all
            refuse_unknown(path, head, source.size)
        return _read_legacy(source)


def _read_zip(source: ByteSource) -> PytorchFile:
    path = source.path
    members = read_zip_directory(source)
    if members is None:
        raise TruncatedModelError(
            f"{path.name} ends early: the directory at the end of the archive is missing",
            path=path,
            offset=source.size,
            actual=source.size,
            why="the file is cut off, as an interrupted download or copy leaves it",
            advice="Download or copy the file again.",
        )
    pickle = next((member for member in members if _is_pickle(member)), None)
    if pickle is None:
        _refuse_other_zip(path, members)
    for member in members:
        member_start(source, member)
    data = member_bytes(source, pickle, _MAX_PICKLE)
    report = scan_pickle(data) if data is not None else None
    builder = FingerprintBuilder()
    builder.add(source, 0)
    builder.add_bytes(data or b"")
    return _file(source, "pytorch", report, builder.result())


def _is_pickle(member: ZipMember) -> bool:
    return member.name == "data.pkl" or member.name.endswith("/data.pkl")


def _refuse_other_zip(path: Path, members: list[ZipMember]) -> NoReturn:
    names = [member.name for member in members]
    inner = next((name for name in names if name.lower().endswith((".gguf", ".safetensors", ".bin"))), None)
    others = (
        "1 file, and that is no model" if len(names) == 1 else f"{len(names)} files, none of them a model"
    )
    holds = f"it holds {inner!r}" if inner else f"it holds {others}"
    raise NotAModelError(
        f"{path.name} is not a model: it is a zip archive",
        path=path,
        why=holds,
        advice="Unpack it (`unzip`) and give the model inside."
        if inner
        else "Give the path of a model file.",
    )


def _read_legacy(source: ByteSource) -> PytorchFile:
    """Before torch 1.6: four pickles one after the other, then the keys of the storages, then their data."""
    data = source.read_at(0, _MAX_PICKLE)
    magic = scan_pickle(data)
    if magic.value != _LEGACY_MAGIC:
        raise NotAModelError(
            f"{source.path.name} is not a model: it is a Python pickle, but no PyTorch checkpoint",
            path=source.path,
            why="pickles can hold anything, and loading one runs whatever it says",
            advice="Load it with the program that wrote it, if you trust it, and save safetensors or GGUF.",
        )
    version = scan_pickle(data, magic.end)
    system = scan_pickle(data, version.end)
    report = scan_pickle(data, system.end) if system.understood else None
    builder = FingerprintBuilder()
    builder.add(source, report.end if report else len(data))
    file = _file(source, "pytorch-legacy", report, builder.result())
    stored = sum(tensor.size for tensor in file.tensors)
    if stored > source.size:
        raise TruncatedModelError(
            f"{source.path.name} ends early: its tensors take {stored} bytes, but the file has {source.size}",
            path=source.path,
            offset=source.size,
            expected=stored,
            actual=source.size,
            advice="Download or copy the file again.",
        )
    return file


def _file(source: ByteSource, form: str, report: PickleReport | None, fingerprint: str) -> PytorchFile:
    tensors, warnings = _tensors(report)
    return PytorchFile(
        form=form,
        tensors=tuple(tensors),
        globals=report.globals if report else (),
        warnings=tuple(warnings),
        size=source.size,
        fingerprint=fingerprint,
    )


def _tensors(report: PickleReport | None) -> tuple[list[Tensor], list[str]]:
    if report is None or not report.understood:
        return [], ["the checkpoint's structure could not be followed without loading it"]
    tensors = []
    counted: set[str] = set()
    for name, tensor in report.tensors.items():
        if tensor.storage_key and tensor.storage_key in counted:
            continue  # the same numbers under a second name (tied weights) are stored and counted once
        counted.add(tensor.storage_key)
        kind, width = _STORAGES.get(tensor.storage_type, (tensor.storage_type, 0))
        elements = math.prod(tensor.shape)
        tensors.append(Tensor(name, tensor.shape, kind, elements, elements * width))
    foreign = [name for name in report.globals if not _HARMLESS.fullmatch(name)]
    warnings = []
    if foreign:
        shown = ", ".join(foreign[:5]) + (", ..." if len(foreign) > 5 else "")
        warnings.append(f"loading it would run code beyond tensors: {shown}")
    return tensors, warnings
