"""Models in several GGUF files are one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from core.tests.formats import format_samples as samples

from modelplug.errors import ModelFileError, TruncatedModelError
from modelplug.formats import inspect

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("given", [1, 2, 3])
def test_any_shard_stands_for_the_model(given: int, tmp_path: Path) -> None:
    """Whichever shard is given, all are found, in order, and counted together."""
    files = samples.shards(3)
    samples.write_files(tmp_path, files)
    info = inspect(tmp_path / f"tiny-{given:05d}-of-00003.gguf")
    assert [path.name for path in info.files] == sorted(files)
    assert info.size == sum(map(len, files.values()))
    whole = tmp_path / "whole.gguf"
    whole.write_bytes(
        samples.GgufWriter().file(samples.llama_entries(layers=3), samples.llama_tensors(layers=3))
    )
    assert info.weights == inspect(whole).weights
    assert info.architecture == "llama"


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    """The error says which shard is not there and where to put it."""
    samples.write_files(tmp_path, samples.shards(3))
    (tmp_path / "tiny-00002-of-00003.gguf").unlink()
    with pytest.raises(ModelFileError, match="shard 2 of 3 is missing") as caught:
        inspect(tmp_path / "tiny-00001-of-00003.gguf")
    assert "Download tiny-00002-of-00003.gguf" in caught.value.advice


def test_a_truncated_shard_is_named(tmp_path: Path) -> None:
    """A shard that is cut off is reported by its own name."""
    files = samples.shards(3)
    name = "tiny-00003-of-00003.gguf"
    samples.write_files(tmp_path, files | {name: files[name][:-200]})
    with pytest.raises(TruncatedModelError, match=name):
        inspect(tmp_path / "tiny-00001-of-00003.gguf")


def test_shards_of_another_model(tmp_path: Path) -> None:
    """Shards whose numbers, counts or tensors contradict each other are refused."""
    files = samples.shards(3)
    first, second = "tiny-00001-of-00003.gguf", "tiny-00002-of-00003.gguf"
    samples.write_files(tmp_path, files | {second: files["tiny-00003-of-00003.gguf"]})
    with pytest.raises(ModelFileError, match=r"'split.no' of tiny-00002-of-00003.gguf is 2 where 1"):
        inspect(tmp_path / first)
    samples.write_files(tmp_path, files | {second: samples.shards(2)["tiny-00002-of-00002.gguf"]})
    with pytest.raises(ModelFileError, match=r"'split.count' of tiny-00002-of-00003.gguf is 2 where 3"):
        inspect(tmp_path / first)


def test_a_tensor_in_two_shards(tmp_path: Path) -> None:
    """A tensor that two shards hold is refused."""
    writer = samples.GgufWriter()
    for number in range(2):
        entries = [("split.no", samples.U16, number), ("split.count", samples.U16, 2)]
        content = writer.file(entries, [("same", (32,), 0, bytes(128))])
        (tmp_path / f"x-{number + 1:05d}-of-00002.gguf").write_bytes(content)
    with pytest.raises(ModelFileError, match="'same', which an earlier shard has too"):
        inspect(tmp_path / "x-00001-of-00002.gguf")


def test_a_wrong_total_of_tensors(tmp_path: Path) -> None:
    """The total that the first shard states must be what the shards hold."""
    writer = samples.GgufWriter()
    entries = [
        ("split.no", samples.U16, 0),
        ("split.count", samples.U16, 1),
        ("split.tensors.count", samples.I32, 7),
    ]
    other = [("split.no", samples.U16, 1), ("split.count", samples.U16, 2)]
    entries[1] = ("split.count", samples.U16, 2)
    (tmp_path / "x-00001-of-00002.gguf").write_bytes(writer.file(entries, [("a", (32,), 0, bytes(128))]))
    (tmp_path / "x-00002-of-00002.gguf").write_bytes(writer.file(other, [("b", (32,), 0, bytes(128))]))
    with pytest.raises(ModelFileError, match=r"'split.tensors.count'.* is 7, but the shards hold 2"):
        inspect(tmp_path / "x-00001-of-00002.gguf")


def test_a_renamed_shard_is_recognised(tmp_path: Path) -> None:
    """A shard under another name can't find the others, and the advice says why."""
    path = tmp_path / "renamed.gguf"
    path.write_bytes(samples.shards(3)["tiny-00001-of-00003.gguf"])
    with pytest.raises(ModelFileError, match=r"'split.count' of renamed.gguf is 3 where 1") as caught:
        inspect(path)
    assert "Keep the names" in caught.value.advice
