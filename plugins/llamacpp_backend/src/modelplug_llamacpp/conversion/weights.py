"""Reads the source's tensors a few rows at a time, in whatever form and type they are stored."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from modelplug.errors import ConversionRefusedError, NothingSuitableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelplug_llamacpp.conversion.mapping import Target

__all__ = ["SourceWeights", "blocks_of", "open_weights"]

_NUMPY_TYPES: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_BLOCK_BYTES: Final = 16 << 20


class SourceWeights:
    """Tensors of the source by name; a row is read when it is asked for.

    Args:
        directory: Where they are.
        tensors: Name -> the stored array, and whether it holds BF16 as whole numbers of 16 bits.
    """

    def __init__(self, directory: Path, tensors: dict[str, tuple[Any, bool]]) -> None:
        self.directory = directory
        self._tensors = tensors

    def rows(self, target: Target, start: int, stop: int) -> NDArray[np.float32]:
        """Rows (or elements of a vector) of a tensor, in the order in which the result has them.

        Args:
            target: Which tensor, and whether its rows change places.
            start: The first row.
            stop: The row after the last.
        """
        stored, bfloat16 = self._tensors[target.source]
        chosen: Any = slice(start, stop)
        if target.heads:
            chosen = _interleaved(target.shape[0] // target.heads, np.arange(start, stop))
        rows = stored[chosen]
        if not isinstance(rows, np.ndarray):
            return np.ascontiguousarray(rows.float().numpy())
        if bfloat16:
            return (rows.astype(np.uint32) << 16).view(np.float32)
        return rows.astype(np.float32)


def _interleaved(head_width: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where rows come from: row 2i of a head from its first half, row 2i + 1 from its second."""
    head, within = rows // head_width, rows % head_width
    taken: NDArray[np.int64] = head * head_width + within % 2 * (head_width // 2) + within // 2
    return taken


def blocks_of(target: Target) -> Iterator[tuple[int, int]]:
    """Ranges of rows that together are the tensor, none much larger than 16 MiB."""
    length = target.shape[1] if len(target.shape) > 1 else 1
    step = max(1, _BLOCK_BYTES // (4 * length))
    for start in range(0, target.shape[0], step):
        yield start, min(start + step, target.shape[0])


@contextlib.contextmanager
def open_weights(form: str, files: Sequence[Path]) -> Iterator[SourceWeights]:
    """Open the weight files of a model for reading.

    Args:
        form: `safetensors` or `pytorch`, as inspection found it.
        files: All of them.

    Raises:
        ConversionRefusedError: A tensor has a type that holds no plain numbers, or a file can't be read
            safely.
        NothingSuitableError: Reading this form takes a library that is not installed.
    """
    tensors: dict[str, tuple[Any, bool]] = {}
    for file in files:
        tensors |= _safetensors(file) if form == "safetensors" else _pytorch(file)
    yield SourceWeights(files[0].parent, tensors)
    tensors.clear()


def _safetensors(file: Path) -> dict[str, tuple[Any, bool]]:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        # Inspection has walked the header within bounds and found every tensor in its place.
        header = json.loads(stream.read(length))
    data = np.memmap(file, np.uint8, "r", offset=8 + length)
    tensors: dict[str, tuple[Any, bool]] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        kind = entry["dtype"]
        if kind not in _NUMPY_TYPES:
            tensors[name] = (_Unreadable(file, name, kind), False)
            continue
        start, stop = entry["data_offsets"]
        tensors[name] = (data[start:stop].view(_NUMPY_TYPES[kind]).reshape(entry["shape"]), kind == "BF16")
    return tensors


class _Unreadable:
    """A tensor that is an error to read, which one that is left out never is."""

    def __init__(self, file: Path, name: str, kind: str) -> None:
        self._error = ConversionRefusedError(
            f"{file.name} can't be converted: {name} is stored as {kind}",
            path=file,
            why=f"the types that can be read are {', '.join(_NUMPY_TYPES)}",
            advice="Convert the original model, or download a GGUF file of it.",
        )

    def __getitem__(self, _chosen: object) -> Any:
        raise self._error


def _pytorch(file: Path) -> dict[str, tuple[Any, bool]]:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise NothingSuitableError(
            f"{file.name} can't be read",
            why="its weights are a PyTorch checkpoint, and torch is not installed",
            advice="pip install torch, or use a model directory with *.safetensors files.",
        ) from error
    try:
        loaded = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:
        raise ConversionRefusedError(
            f"{file.name} can't be read safely",
            path=file,
            why=str(error).strip().partition("\n")[0],
            advice="Only checkpoints of nothing but tensors, written by torch 1.6 or later, are read. Use a "
            "directory with *.safetensors files, or save the model as such with transformers: "
            "model.save_pretrained(DIRECTORY).",
        ) from error
    floating = {torch.float64, torch.float32, torch.float16, torch.bfloat16}
    return {
        name: (tensor if tensor.dtype in floating else _Unreadable(file, name, str(tensor.dtype)), False)
        for name, tensor in loaded.items()
    }
