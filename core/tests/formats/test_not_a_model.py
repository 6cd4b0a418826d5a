"""Files that are no model are named for what they are."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest
from core.tests.formats import format_samples as samples

from modelplug.errors import ModelFileError, ModelNotFoundError, NotAModelError
from modelplug.formats import inspect

if TYPE_CHECKING:
    from pathlib import Path


def archive(kind: str) -> bytes:
    """A zip or tar archive with a model inside."""
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as target:
            target.writestr("inner.gguf", samples.llama_gguf())
    else:
        with tarfile.open(fileobj=out, mode="w") as tar:
            info = tarfile.TarInfo("model.gguf")
            tar.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "words", "advice"),
    [
        (b"", "it is empty", "Download or copy the file again"),
        (samples.LFS_POINTER, "a Git LFS pointer", "git lfs pull"),
        (samples.WEB_PAGE, "a web page", "/resolve/"),
        (b"\xef\xbb\xbf  <html>", "a web page", "/resolve/"),
        (
            b"Invalid username or password.",
            "a text that begins 'Invalid username",
            "download the model again",
        ),
        (b'{"error": "not found"}', "a JSON text", "weight file"),
        (bytes(5000), "all zeros at its beginning", "Download or copy"),
        (b"\x1f\x8b\x08" + bytes(9), "a gzip archive", "Unpack it"),
        (archive("zip"), "a zip archive", "Unpack it"),
        (archive("tar"), "a tar archive", "Unpack it"),
        (b"\x89HDF\r\n\x1a\n\x01", "an HDF5 file", "safetensors"),
        (b"\x01\x02\x03\x04\x05", "of an unknown format", "plugin"),
    ],
)
def test_what_is_not_a_model(content: bytes, words: str, advice: str, tmp_path: Path) -> None:
    """Each impostor is named for what it is, with what to do about it."""
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(NotAModelError) as caught:
        inspect(path)
    assert words in caught.value.what
    assert advice in caught.value.advice


def test_the_size_behind_an_lfs_pointer(tmp_path: Path) -> None:
    """A pointer says how large the model it stands for is."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(samples.LFS_POINTER)
    with pytest.raises(NotAModelError, match="123,456,789 bytes"):
        inspect(path)


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (samples.huggingface_files(), "model.safetensors"),
        (samples.sharded_huggingface_files(), "model-00002-of-00002.safetensors"),
        (samples.directories()["pytorch"], "pytorch_model.bin"),
        (samples.shards(3), "tiny-00002-of-00003.gguf"),
        (samples.adapter_files(), "adapter_model.safetensors"),
    ],
)
@pytest.mark.parametrize(
    ("content", "words"),
    [(samples.LFS_POINTER, "a Git LFS pointer"), (samples.WEB_PAGE, "a web page"), (b"", "it is empty")],
)
def test_an_impostor_among_the_files_of_a_model(
    files: dict[str, bytes], name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    """A repository cloned without Git LFS is recognised by its weight file, which the error names."""
    samples.write_files(tmp_path, files | {name: content})
    with pytest.raises(NotAModelError, match=f"{name} is not a model.*{words}"):
        inspect(tmp_path)


@pytest.mark.parametrize("suffix", [".part", ".incomplete", ".crdownload", ".aria2"])
def test_partial_downloads(suffix: str, tmp_path: Path) -> None:
    """A file under the name that a download tool uses until it is done is refused, whatever it holds."""
    path = tmp_path / f"model.gguf{suffix}"
    path.write_bytes(samples.llama_gguf())
    with pytest.raises(NotAModelError, match="an unfinished download"):
        inspect(path)


def test_a_download_that_aria2_still_controls(tmp_path: Path) -> None:
    """A file with aria2's control file beside it is unfinished, though it has its full size."""
    path = tmp_path / "model.gguf"
    path.write_bytes(samples.llama_gguf())
    (tmp_path / "model.gguf.aria2").write_bytes(b"x")
    with pytest.raises(NotAModelError, match=r"aria2 keeps model.gguf.aria2") as caught:
        inspect(path)
    assert "aria2c -c" in caught.value.advice


def test_nothing_there(tmp_path: Path) -> None:
    """A path that leads nowhere is its own error."""
    with pytest.raises(ModelNotFoundError, match="there is no file"):
        inspect(tmp_path / "missing.gguf")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    """A named pipe, which would block for ever, is refused without being opened."""
    path = tmp_path / "pipe.gguf"
    os.mkfifo(path)
    with pytest.raises(ModelFileError, match="not a regular file"):
        inspect(path)


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000])
def test_paths_that_cannot_be(path: str) -> None:
    """A path that the system rejects is an error of our own."""
    with pytest.raises(ModelFileError):
        inspect(path)
