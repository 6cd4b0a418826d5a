"""Models inside executables."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
from core.tests.formats import format_samples as samples

from modelplug.errors import ModelFileError, NotAModelError, UnsupportedFormatError
from modelplug.formats import inspect, zip_directory
from modelplug.formats.source import ByteSource

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "content",
    [
        samples.llamafile(),
        samples.llamafile(prefix=b"\x7fELF" + bytes(200)),
        samples.llamafile(prefix=b"MZ" + bytes(77), shifted=True),
    ],
)
def test_the_model_inside(content: bytes, tmp_path: Path) -> None:
    """The model in an executable is inspected in place, and where it begins is recorded."""
    path = tmp_path / "tiny.llamafile"
    path.write_bytes(content)
    alone = tmp_path / "alone.gguf"
    alone.write_bytes(samples.llama_gguf())
    info, model = inspect(path), inspect(alone)
    assert (info.format, info.payload, info.architecture) == ("llamafile", "tiny.gguf", "llama")
    assert content[info.payload_offset :].startswith(samples.llama_gguf())
    assert info.weights == model.weights
    assert info.fingerprint == model.fingerprint
    assert info.size == len(content)
    assert info.metadata["llamafile.args"] == ["-m", "tiny.gguf"]


def test_the_arguments_choose_the_model(tmp_path: Path) -> None:
    """Of several models inside, the one its arguments name is the model; otherwise the largest."""
    path = tmp_path / "two.llamafile"
    for arguments, expected in (("-m\n/zip/small.gguf", "small.gguf"), ("--server", "large.gguf")):
        path.write_bytes(b"MZqFpD=" + bytes(100))
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("large.gguf", samples.llama_gguf() + bytes(1000))
            archive.writestr("small.gguf", samples.llama_gguf())
            archive.writestr(".args", arguments)
        assert inspect(path).payload == expected


def test_a_zip64_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive with the directory of files over 4 GiB is read too."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    path = tmp_path / "large.llamafile"
    path.write_bytes(samples.llamafile())
    assert b"PK\x06\x06" in path.read_bytes()
    assert inspect(path).payload == "tiny.gguf"


def test_a_compressed_model(tmp_path: Path) -> None:
    """A compressed model can't be used in place; the advice says how to store it."""
    path = tmp_path / "packed.llamafile"
    path.write_bytes(samples.llamafile(method=zipfile.ZIP_DEFLATED))
    with pytest.raises(UnsupportedFormatError, match=r"holds 'tiny.gguf' compressed"):
        inspect(path)


def test_the_engine_alone(tmp_path: Path) -> None:
    """A llamafile without a model inside is an engine, and the error says how to use it."""
    path = tmp_path / "llamafile"
    path.write_bytes(samples.llamafile(b""))
    with pytest.raises(NotAModelError, match="llamafile without a model inside") as caught:
        inspect(path)
    assert "as a backend" in caught.value.advice


def test_some_other_executable(tmp_path: Path) -> None:
    """A program without an archive is not a model."""
    path = tmp_path / "program"
    path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(500))
    with pytest.raises(NotAModelError):
        inspect(path)


def test_damage_inside_names_offsets_in_the_executable(tmp_path: Path) -> None:
    """Offsets in errors count from the beginning of the file, not of the model inside."""
    content = samples.llamafile()
    start = content.index(b"GGUF")
    damaged = content[: start + 8] + b"\xff" * 8 + content[start + 16 :]
    path = tmp_path / "damaged.llamafile"
    path.write_bytes(damaged)
    with pytest.raises(ModelFileError, match="claims 18446744073709551615 tensors") as caught:
        inspect(path)
    assert caught.value.offset == start + 8


@pytest.mark.parametrize("position", range(-22, 0))
def test_any_damage_to_the_end_record(position: int, tmp_path: Path) -> None:
    """Whatever is wrong in the archive's last record, the answer is an error of our own or still right."""
    content = bytearray(samples.llamafile())
    content[position] ^= 0xFF
    path = tmp_path / "damaged.llamafile"
    path.write_bytes(content)
    try:
        info = inspect(path)
    except ModelFileError as error:
        assert error.path == path  # noqa: PT017  both outcomes are right
    else:
        assert info.payload == "tiny.gguf"


def test_small_members_are_unpacked_within_bounds(tmp_path: Path) -> None:
    """A member that unpacks to more than it claims is cut at the bound, not followed."""
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(10_000_000))
    with ByteSource(path) as source:
        (member,) = zip_directory.read_zip_directory(source) or []
        assert zip_directory.member_bytes(source, member, 1000) is None
        lying = zip_directory.ZipMember(
            name=member.name,
            method=member.method,
            size=10,
            packed_size=member.packed_size,
            header_offset=member.header_offset,
            encrypted=False,
        )
        unpacked = zip_directory.member_bytes(source, lying, 100_000)
    assert unpacked is not None
    assert len(unpacked) == 100_000
