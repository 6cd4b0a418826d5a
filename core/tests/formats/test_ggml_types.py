"""Tensor types: names and sizes agree with the gguf package."""

from __future__ import annotations

import pytest

from modelplug.formats.ggml_types import GGML_TYPES, ggml_type_name


def test_sizes_agree_with_the_gguf_package() -> None:
    """Every type the gguf package knows has the same name, block size and bytes here."""
    constants = pytest.importorskip("gguf.constants")
    for kind, (block_size, block_bytes) in constants.GGML_QUANT_SIZES.items():
        assert GGML_TYPES[int(kind)][:3] == (kind.name, block_size, block_bytes)


def test_removed_types_keep_their_numbers() -> None:
    """A type that engines dropped is still sized, and marked as removed."""
    removed = {number for number, known in GGML_TYPES.items() if known.removed}
    assert removed == {4, 5, 31, 32, 33, 36, 37, 38}


def test_a_row_takes_whole_blocks() -> None:
    """The bytes of a row follow from block size and block bytes."""
    assert GGML_TYPES[12].row_bytes(4096) == 4096 // 256 * 144


def test_an_unknown_type_is_named_by_its_number() -> None:
    """A type from the future has a name that can be shown."""
    assert ggml_type_name(999) == "type 999"
