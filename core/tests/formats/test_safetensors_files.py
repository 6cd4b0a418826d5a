"""Safetensors files."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import pytest
from core.tests.formats import format_samples as samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelplug.errors import ModelFileError, TruncatedModelError
from modelplug.formats import inspect
from modelplug.formats.safetensors import DTYPE_BITS, read_safetensors

if TYPE_CHECKING:
    from pathlib import Path


def refusal(content: bytes, tmp_path: Path) -> ModelFileError:
    """Inspect `content`, which must be refused, and return the error."""
    path = tmp_path / "some.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        inspect(path)
    assert caught.value.path == path
    return caught.value


def header(**rows: object) -> bytes:
    """A header as JSON."""
    return json.dumps(rows).encode()


def row(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    """One tensor's entry."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_what_a_file_says(tmp_path: Path) -> None:
    """Types, layers, parameters and metadata come from the header."""
    path = tmp_path / "model.bin"
    path.write_bytes(samples.llama_safetensors())
    info = inspect(path)
    assert (info.format, info.kind, info.quantization) == ("safetensors", "model", "F16")
    assert info.layers == 2
    assert info.parameters == 2 * 64 + 2 * 128 + 8
    assert info.weights.layers == (128, 128)
    assert info.weights.token_embedding == 256
    assert info.weights.output == 256 + 16
    assert info.metadata == {"format": "pt"}


def test_a_weight_file_of_a_directory_says_so(tmp_path: Path) -> None:
    """Beside a `config.json` the directory is what an engine needs, and a warning says it."""
    samples.write_files(tmp_path, samples.huggingface_files())
    assert str(tmp_path) in inspect(tmp_path / "model.safetensors").warnings[0]


def test_an_adapter_by_its_tensors(tmp_path: Path) -> None:
    """LoRA weights without their configuration are still an adapter."""
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(samples.adapter_files()["adapter_model.safetensors"])
    assert inspect(path).kind == "adapter"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (struct.pack("<Q", 1 << 30) + b"{}", "claims 1073741824 bytes"),
        (samples.raw_safetensors(b"{nonsense}"), "not the JSON"),
        (samples.raw_safetensors(b'{"a":{"dtype":5,"shape":[],"data_offsets":[0,0]}}'), "lacks a proper"),
        (
            samples.raw_safetensors(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}'),
            "lacks a proper",
        ),
        (
            samples.raw_safetensors(b'{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}'),
            "lacks a proper",
        ),
        (samples.raw_safetensors(b'{"a":{"dtype":"F32","shape":[1]}}'), "lacks a proper"),
        (samples.raw_safetensors(b'{"a":[1]}'), "is not a JSON object"),
        (samples.raw_safetensors(b'{"__metadata__":[]}'), "`__metadata__` is not an object"),
        (samples.raw_safetensors(b'{"__metadata__":{"a":1}}'), "`__metadata__` is not an object of texts"),
        (samples.raw_safetensors(b'{} {"a":1}'), "goes on after its end"),
        (samples.raw_safetensors(header(a=row("F32", [2], 0, 4)), bytes(4)), "2 F32 values has 4 bytes"),
        (samples.raw_safetensors(header(a=row("F32", [1], 4, 8)), bytes(8)), "leaves a gap"),
        (
            samples.raw_safetensors(header(a=row("F32", [2], 0, 8), b=row("F32", [1], 4, 8)), bytes(8)),
            "'b' overlaps",
        ),
        (samples.raw_safetensors(header(a=row("F32", [1], 0, 4)), bytes(9)), "5 bytes follow"),
        (
            samples.raw_safetensors(
                b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},'
                b'"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}',
                bytes(4),
            ),
            "'a' occurs twice",
        ),
    ],
)
def test_damage_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    """Every kind of damage is refused with what is wrong and where."""
    error = refusal(content, tmp_path)
    assert words in error.what
    assert error.offset is not None


def test_truncation(tmp_path: Path) -> None:
    """A file cut off in its data or its header says how large it should be."""
    whole = samples.llama_safetensors()
    error = refusal(whole[:-10], tmp_path)
    assert isinstance(error, TruncatedModelError)
    assert (error.expected, error.actual) == (len(whole), len(whole) - 10)
    assert isinstance(refusal(whole[:40], tmp_path), TruncatedModelError)


def test_an_unknown_dtype_is_data(tmp_path: Path) -> None:
    """A type from the future is sized by its offsets."""
    path = tmp_path / "some.safetensors"
    path.write_bytes(samples.raw_safetensors(header(a=row("F2", [8, 2], 0, 4)), bytes(4)))
    assert inspect(path).tensor_types == {"F2": 4}


ROWS = st.dictionaries(
    st.text(max_size=12).filter(lambda name: name != "__metadata__"),
    st.tuples(st.sampled_from(["F32", "F16", "I64", "U8", "BOOL"]), st.lists(st.integers(0, 5), max_size=3)),
    max_size=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, metadata=st.dictionaries(st.text(max_size=9), st.text(max_size=30), max_size=4))
def test_what_is_written_is_read(
    rows: dict[str, tuple[str, list[int]]], metadata: dict[str, str], tmp_path: Path
) -> None:
    """Any names, shapes and metadata come back as they were written, whatever characters they contain."""
    filled = {}
    for name, (dtype, shape) in rows.items():
        count = 1
        for length in shape:
            count *= length
        filled[name] = (dtype, shape, bytes(count * DTYPE_BITS[dtype] // 8))
    path = tmp_path / "any.safetensors"
    path.write_bytes(samples.safetensors(filled, metadata))
    file = read_safetensors(path)
    assert file.metadata == metadata
    assert [(t.name, t.type, list(t.shape)) for t in file.tensors] == [
        (name, dtype, shape) for name, (dtype, shape) in rows.items()
    ]


def test_agrees_with_the_safetensors_package(tmp_path: Path) -> None:
    """A file that the safetensors package wrote is read with the same names, shapes and bytes."""
    numpy = pytest.importorskip("numpy")
    library = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "oracle.safetensors"
    arrays = {"b": numpy.zeros((3, 4), numpy.float16), "a": numpy.ones(5, numpy.int64)}
    library.save_file(arrays, path, metadata={"note": 'a "quoted" {brace}'})
    file = read_safetensors(path)
    assert {t.name: (t.shape, t.size) for t in file.tensors} == {
        name: (array.shape, array.nbytes) for name, array in arrays.items()
    }
    assert file.metadata == {"note": 'a "quoted" {brace}'}
