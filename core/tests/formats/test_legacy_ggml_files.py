"""Files from before GGUF, which hardly say what they hold."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from core.tests.formats import format_samples as samples

from modelplug.errors import ModelFileError, TruncatedModelError, UnsupportedFormatError
from modelplug.formats import inspect

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("content", "form", "version"),
    [
        (samples.ggjt(3), "ggjt", "3"),
        (samples.ggjt(2), "ggjt", "2"),
        (samples.ggjt(1), "ggjt", "1"),
        (samples.ggjt(1, magic=b"fmgg"), "ggmf", "1"),
        (samples.ggjt(1, magic=b"lmgg"), "ggml", None),
    ],
)
def test_llama_in_every_old_format(content: bytes, form: str, version: str | None, tmp_path: Path) -> None:
    """A Llama model is recognised because its whole file agrees with that layout, and sized exactly."""
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    info = inspect(path)
    assert (info.format, info.format_version, info.architecture) == (form, version, "llama")
    assert (info.layers, info.heads, info.embedding_length, info.vocabulary_size) == (2, 4, 64, 5)
    assert info.quantization == "Q4_0"
    block = 18 if version == "3" else 20
    assert info.weights.layers == (64 * 64 // 32 * block,) * 2
    assert info.parameters == 2 * 64 * 64 + 2 * 64 * 5 + 64
    assert "obsolete" in info.warnings[0]


def test_gpt2(tmp_path: Path) -> None:
    """Another architecture's layout is found by trying."""
    path = tmp_path / "gpt2.bin"
    path.write_bytes(samples.gpt2_ggml())
    info = inspect(path)
    assert (info.architecture, info.context_length, info.layers) == ("gpt2", 128, 1)
    assert info.weights.layers == (64 * 192 * 2,)


def test_a_layout_that_is_not_known(tmp_path: Path) -> None:
    """Where nothing fits, only the format is reported; nothing is guessed."""
    path = tmp_path / "strange.bin"
    path.write_bytes(b"lmgg" + struct.pack("<20I", *range(1, 21)))
    info = inspect(path)
    assert (info.format, info.architecture, info.layers, info.parameters) == ("ggml", None, None, None)
    assert "can't be determined" in info.warnings[1]


def test_an_unknown_version(tmp_path: Path) -> None:
    """GGJT of a version that never was is refused."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"tjgg" + struct.pack("<I", 4))
    with pytest.raises(UnsupportedFormatError, match="GGJT of version 4"):
        inspect(path)


def test_truncation(tmp_path: Path) -> None:
    """A Llama model that is cut off within its tensors is reported as such."""
    path = tmp_path / "model.bin"
    path.write_bytes(samples.ggjt(3)[:-40])
    with pytest.raises(TruncatedModelError, match="ends early"):
        inspect(path)


def test_an_adapter(tmp_path: Path) -> None:
    """GGLA is an adapter with its rank; damage in it is refused."""
    path = tmp_path / "adapter.bin"
    path.write_bytes(samples.ggla())
    info = inspect(path)
    assert (info.format, info.kind) == ("ggla", "adapter")
    assert info.metadata == {"lora_r": 8, "lora_alpha": 16}
    assert info.parameters == 256
    path.write_bytes(samples.ggla()[:-4])
    with pytest.raises(TruncatedModelError):
        inspect(path)
    path.write_bytes(samples.ggla()[:16] + b"\xff" * 64)
    with pytest.raises(ModelFileError, match="head of a tensor"):
        inspect(path)
