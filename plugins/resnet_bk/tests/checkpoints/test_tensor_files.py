"""Safetensors files of our own writing, with the safetensors library as the judge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_bk.checkpoints.tensor_files import (
    UnsupportedTensorError,
    read_metadata,
    read_tensors,
    tensor_chunks,
)

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
    torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool, torch.complex64,
    torch.complex128, torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip

TABLES = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda name: name != "__metadata__"),
    st.builds(
        lambda shape, dtype: (torch.randint(0, 100, shape)).to(dtype),
        st.lists(st.integers(0, 4), max_size=3),
        st.sampled_from(DTYPES),
    ),
    max_size=6,
)


def write(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a file from its chunks."""
    path.write_bytes(b"".join(tensor_chunks(tensors, metadata)))


@given(tensors=TABLES)
def test_every_table_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    same: Callable[[Any, Any], bool],
    tensors: dict[str, torch.Tensor],
) -> None:
    """Any names, shapes and types that torch and the format have in common survive."""
    path = tmp_path_factory.mktemp("table") / "t.safetensors"
    write(path, tensors)
    back = read_tensors(path)
    assert same({name: back[name] for name in tensors}, tensors)
    assert len(back) == len(tensors)


def test_the_library_reads_what_we_write(tmp_path: Path, same: Callable[[Any, Any], bool]) -> None:
    """The reference implementation gives the same tensors and texts, views and transposes included."""
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors = {
        "whole": base,
        "turned": base.T,
        "part": base[1:3, ::2],
        "scalar": torch.tensor(2.5),
        "none": base[:0],
    }
    path = tmp_path / "t.safetensors"
    write(path, tensors, {"format": "pt"})
    assert same(dict(sorted(safetensors.torch.load_file(path).items())), dict(sorted(tensors.items())))
    assert read_metadata(path) == {"format": "pt"}


def test_conjugated_views_are_stored_as_they_read(tmp_path: Path) -> None:
    """Torch conjugates lazily; the file holds what the reader of the tensor would see."""
    value = torch.tensor([1 + 2j, 3 - 4j])
    write(tmp_path / "t.safetensors", {"a": value.conj(), "b": value.conj().imag})
    back = read_tensors(tmp_path / "t.safetensors")
    assert back["a"].tolist() == [1 - 2j, 3 + 4j]
    assert back["b"].tolist() == [-2.0, 4.0]


def test_what_the_format_can_not_hold_is_refused() -> None:
    """Quantised and other unusual types are an error before anything is written."""
    odd = torch.empty(2, dtype=torch.bits8)
    with pytest.raises(UnsupportedTensorError, match="odd"):
        next(tensor_chunks({"odd": odd}))
