"""Reading GGUF: every value type, version and byte order."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from core.tests.formats import format_samples as samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelplug.errors import ModelFileError
from modelplug.formats import inspect
from modelplug.formats.gguf_header import GgufHeader, read_gguf_header
from modelplug.formats.gguf_values import GgufArray, LongString
from modelplug.formats.source import ByteSource

SHARED = Path(os.environ.get("MODELPLUG_SHARED", Path(__file__).resolve().parents[4] / "shared"))
VOCABULARIES = ["ggml-vocab-gpt-2.gguf", "ggml-vocab-llama-spm.gguf"]


def header_of(path: Path) -> GgufHeader:
    """The header of a GGUF file."""
    with ByteSource(path) as source:
        return read_gguf_header(source)


@pytest.mark.parametrize(("version", "big_endian"), [(1, False), (2, False), (3, False), (3, True)])
def test_every_value_type_in_every_version(version: int, big_endian: bool, tmp_path: Path) -> None:
    """Scalars come back as written and arrays element by element, whatever the version and byte order."""
    path = tmp_path / "every.gguf"
    path.write_bytes(samples.every_type_gguf(version, big_endian))
    header = header_of(path)
    assert (header.version, header.big_endian) == (version, big_endian)
    expected = {
        samples.U8: 7,
        samples.I16: -700,
        samples.F32: 0.5,
        samples.BOOL: True,
        samples.STRING: "text \u00e9",
        samples.I64: -(1 << 40),
        samples.F64: 0.25,
    }
    for kind, value in expected.items():
        assert header.entries[f"scalar.{kind}"] == value
        array = header.entries[f"array.{kind}"]
        assert isinstance(array, GgufArray)
        assert len(array) == 3
        assert list(array) == [value] * 3
        assert array[-1] == value
    nested = header.entries["nested"]
    assert [list(inner) for inner in nested.read(0, 2)] == [[1, 2], ["a", "bc"]]
    assert list(nested[2][0]) == [3]
    assert list(header.entries["empty"]) == []
    info = inspect(path)
    assert info.byte_order == ("big" if big_endian else "little")
    assert info.format_version == str(version)
    assert info.metadata["array.4"]["values"] == [70000] * 3


def test_a_missing_array_element_is_an_index_error(tmp_path: Path) -> None:
    """Asking for an element past the end raises, as for a list."""
    path = tmp_path / "every.gguf"
    path.write_bytes(samples.every_type_gguf())
    with pytest.raises(IndexError, match="index 3 of an array of 3"):
        header_of(path).entries["array.8"][3]


def test_what_a_llama_model_says(tmp_path: Path) -> None:
    """Every field of the record that the file determines is filled in, exactly."""
    path = tmp_path / "misleading-Q4_K_M.gguf"
    path.write_bytes(samples.llama_gguf())
    info = inspect(path)
    assert (info.format, info.kind, info.name, info.architecture) == ("gguf", "model", "tiny", "llama")
    assert (info.layers, info.heads, info.heads_kv) == (2, 4, (2, 2))
    assert (info.embedding_length, info.key_length, info.value_length) == (64, 16, 16)
    assert (info.context_length, info.vocabulary_size) == (512, 32)
    assert (info.tokenizer, info.chat_template) == ("llama", True)
    assert info.quantization == "Q8_0", "from the tensors, not from the name"
    matrix, table, norm = 64 * 64 // 32 * 34, 64 * 32 // 32 * 34, 64 * 4
    assert info.weights.layers == (matrix + norm, matrix + norm)
    assert info.weights.token_embedding == table
    assert info.weights.output == table + norm
    assert not info.weights.tied_embedding
    assert info.tensor_types == {"Q8_0": 2 * matrix + 2 * table, "F32": 3 * norm}
    assert info.parameters == 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64
    assert info.weights.total == sum(info.tensor_types.values())
    assert info.size == path.stat().st_size
    assert info.files == (path,)
    assert info.warnings == ()
    assert info.metadata["tokenizer.ggml.tokens"]["length"] == 32


def test_a_model_without_output_tensor_has_tied_embeddings(tmp_path: Path) -> None:
    """Without `output.weight` the token embedding is also the output head."""
    path = tmp_path / "tied.gguf"
    path.write_bytes(samples.GgufWriter().file(samples.llama_entries(), samples.llama_tensors(tied=True)))
    assert inspect(path).weights.tied_embedding


@pytest.mark.parametrize(
    ("entries", "tensors", "kind"),
    [
        ([], False, "vocabulary"),
        ([("general.type", samples.STRING, "adapter")], True, "adapter"),
        ([("general.type", samples.STRING, "mmproj")], True, "projector"),
        ([("general.type", samples.STRING, "imatrix")], True, "unknown"),
        ([("general.type", samples.STRING, "model")], True, "model"),
    ],
)
def test_kinds(entries: list[samples.Entry], tensors: bool, kind: str, tmp_path: Path) -> None:
    """Vocabularies, adapters and projectors are told from models."""
    path = tmp_path / "some.gguf"
    rows = samples.llama_tensors() if tensors else []
    path.write_bytes(samples.GgufWriter().file(samples.llama_entries() + entries, rows))
    assert inspect(path).kind == kind


def test_heads_that_differ_by_layer(tmp_path: Path) -> None:
    """An array of key/value heads is kept layer by layer."""
    entries = [entry for entry in samples.llama_entries() if "head_count_kv" not in entry[0]]
    entries.append(("llama.attention.head_count_kv", samples.ARRAY, (samples.U32, [4, 0])))
    path = tmp_path / "some.gguf"
    path.write_bytes(samples.GgufWriter().file(entries, samples.llama_tensors()))
    assert inspect(path).heads_kv == (4, 0)


def test_key_value_heads_default_to_heads(tmp_path: Path) -> None:
    """Without its own entry the number of key/value heads is the number of heads, as the format defines."""
    entries = [entry for entry in samples.llama_entries() if "head_count_kv" not in entry[0]]
    path = tmp_path / "some.gguf"
    path.write_bytes(samples.GgufWriter().file(entries, samples.llama_tensors()))
    assert inspect(path).heads_kv == (4, 4)


def test_an_unknown_tensor_type_is_data(tmp_path: Path) -> None:
    """A tensor type from the future is sized by the next tensor's offset, and noted."""
    tensors = samples.llama_tensors()
    tensors[2] = ("blk.0.attn_q.weight", (64, 64), 200, bytes(96))
    tensors[-1] = ("output.weight", (64, 32), 201, bytes(64))
    path = tmp_path / "future.gguf"
    path.write_bytes(samples.GgufWriter().file(samples.llama_entries(), tensors))
    info = inspect(path)
    assert info.tensor_types["type 200"] == 96
    assert info.tensor_types["type 201"] == 64
    assert any("unknown tensor type 200, 201" in warning for warning in info.warnings)


def test_a_very_long_text_is_recorded_not_kept(tmp_path: Path) -> None:
    """A metadata text of megabytes is described by its length, and inspection goes on after it."""
    entries = [("general.description", samples.STRING, "x" * (3 << 20)), *samples.llama_entries()]
    path = tmp_path / "long.gguf"
    path.write_bytes(samples.GgufWriter().file(entries, samples.llama_tensors()))
    assert isinstance(header_of(path).entries["general.description"], LongString)
    assert inspect(path).metadata["general.description"]["length"] == 3 << 20


def test_a_string_array_longer_than_a_window(tmp_path: Path) -> None:
    """Strings are skipped rightly across the boundaries at which the file is read."""
    tokens = ["t" * (number % 50) for number in range(40_000)] + ["x" * 300_000] * 20 + ["end"]
    entries = [("tokens", samples.ARRAY, (samples.STRING, tokens)), ("after", samples.U32, 42)]
    path = tmp_path / "large.gguf"
    path.write_bytes(samples.GgufWriter().file(entries))
    header = header_of(path)
    assert header.entries["after"] == 42
    assert header.entries["tokens"][39_999] == tokens[39_999]
    assert header.entries["tokens"][-1] == "end"


def test_the_fingerprint_is_the_contents(tmp_path: Path) -> None:
    """Same bytes, same fingerprint, whatever the path and times; a change in header or weights changes it."""
    content = samples.llama_gguf()
    first, second, third = tmp_path / "a.gguf", tmp_path / "b.gguf", tmp_path / "c.gguf"
    first.write_bytes(content)
    second.write_bytes(content)
    os.utime(second, (1, 1))
    assert inspect(first).fingerprint == inspect(second).fingerprint
    third.write_bytes(content[:-1] + b"\x01")
    assert inspect(third).fingerprint != inspect(first).fingerprint
    third.write_bytes(content.replace(b"token31", b"tokenXX"))
    assert inspect(third).fingerprint != inspect(first).fingerprint


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
WHOLE = st.integers(0, 255)
VALUES = st.one_of(
    st.tuples(st.just(samples.U8), WHOLE),
    st.tuples(st.just(samples.I32), st.integers(-(1 << 31), (1 << 31) - 1)),
    st.tuples(st.just(samples.U64), st.integers(0, (1 << 64) - 1)),
    st.tuples(st.just(samples.F64), st.floats(allow_nan=False)),
    st.tuples(st.just(samples.BOOL), st.booleans()),
    st.tuples(st.just(samples.STRING), st.text(max_size=40)),
    st.tuples(st.just(samples.ARRAY), st.tuples(st.just(samples.STRING), st.lists(st.text(max_size=9)))),
    st.tuples(st.just(samples.ARRAY), st.tuples(st.just(samples.U8), st.lists(WHOLE, max_size=30))),
)
SHAPES = st.lists(st.integers(1, 7), max_size=3).map(lambda rest: (32, *rest))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    entries=st.dictionaries(NAMES.map(lambda name: "k." + name), VALUES, max_size=8),
    shapes=st.dictionaries(NAMES, SHAPES, max_size=5),
    layout=st.sampled_from([(1, False), (2, False), (3, False), (3, True)]),
)
def test_what_is_written_is_read(
    entries: dict[str, tuple[int, object]],
    shapes: dict[str, tuple[int, ...]],
    layout: tuple[int, bool],
    tmp_path: Path,
) -> None:
    """Any metadata and any tensor table come back as they were written."""
    path = tmp_path / "any.gguf"
    tensors = []
    for name, shape in shapes.items():
        count = 1
        for length in shape:
            count *= length
        tensors.append((name, shape, 8, samples.q8_0(count)))
    writer = samples.GgufWriter(*layout)
    path.write_bytes(writer.file([(key, *value) for key, value in entries.items()], tensors))
    header = header_of(path)
    assert list(header.entries) == list(entries)
    for key, (kind, value) in entries.items():
        found = header.entries[key]
        if kind == samples.ARRAY:
            assert list(found) == value[1]  # type: ignore[index]
        else:
            assert found == value
    assert [(entry.name, entry.shape) for entry in header.tensors] == list(shapes.items())
    assert inspect(path).weights.total == sum(len(data) for _, _, _, data in tensors)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_cut_of_a_file_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    """However much is missing at its end, a model is never taken for a whole one."""
    whole = samples.llama_gguf()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: data.draw(st.integers(4, len(whole) - 32))])  # the last padding may be missing
    with pytest.raises(ModelFileError, match=r"ends early|damaged"):
        inspect(path)


def test_agrees_with_the_gguf_package(tmp_path: Path) -> None:
    """Names, shapes, types, sizes and offsets are those that the gguf package reads."""
    gguf = pytest.importorskip("gguf")
    numpy = pytest.importorskip("numpy")
    path = tmp_path / "oracle.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_token_list(["a", "b", "c"])
    writer.add_array("numbers", [1, 2, 3])
    generator = numpy.random.default_rng(1)
    for name, kind in [("token_embd.weight", "F16"), ("blk.0.a.weight", "Q8_0"), ("blk.1.b.weight", "Q4_0")]:
        values = generator.normal(size=(8, 64)).astype(numpy.float32)
        quantised = gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind])
        writer.add_tensor(name, quantised, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    reader = gguf.GGUFReader(path)
    header = header_of(path)
    info = inspect(path)
    sizes = {}
    for expected, found in zip(reader.tensors, header.tensors, strict=True):
        assert (found.name, list(found.shape)) == (expected.name, expected.shape.tolist())
        assert found.type_number == int(expected.tensor_type)
        assert header.data_start + found.offset == expected.data_offset
        sizes[expected.tensor_type.name] = int(expected.n_bytes)
    assert info.tensor_types == sizes
    assert list(header.entries["tokenizer.ggml.tokens"]) == ["a", "b", "c"]
    assert list(header.entries["numbers"]) == [1, 2, 3]


@pytest.mark.parametrize("name", VOCABULARIES)
def test_real_vocabularies(name: str, tmp_path: Path) -> None:
    """A real vocabulary file is read as what it is; one made on the spot stands in where it is absent."""
    path = SHARED / "data" / "gguf" / name
    expected = {"ggml-vocab-gpt-2.gguf": ("gpt2", 50257), "ggml-vocab-llama-spm.gguf": ("llama", 32000)}[name]
    if not path.exists():
        path = tmp_path / name
        entries = samples.llama_entries(vocabulary=expected[1])
        entries = [entry for entry in entries if entry[0] != "tokenizer.ggml.model"]
        entries.append(("tokenizer.ggml.model", samples.STRING, expected[0]))
        path.write_bytes(samples.GgufWriter().file(entries))
    info = inspect(path)
    assert (info.kind, info.tokenizer, info.vocabulary_size) == ("vocabulary", *expected)
    assert info.weights.total == 0
    tokens = header_of(path).entries["tokenizer.ggml.tokens"]
    assert len(tokens.read(100, 50)) == 50


@pytest.mark.parametrize(("name", "kind"), [("f16", "F16"), ("q8_0", "Q8_0"), ("q4_0", "Q4_0")])
def test_real_tiny_llama(name: str, kind: str) -> None:
    """The tiny trained model is read exactly, in each of its quantisations."""
    path = SHARED / "data" / "models" / "tiny-llama" / f"tiny-{name}.gguf"
    if not path.exists():
        pytest.skip("the shared models are not here; generated models cover the same")
    info = inspect(path)
    assert info.quantization == kind
    assert info.parameters == 1_049_728
    assert (info.layers, info.heads_kv) == (4, (2, 2, 2, 2))
    with ByteSource(path) as source:
        assert read_gguf_header(source).data_start + info.weights.total <= path.stat().st_size


def test_the_version_can_be_told_from_a_swapped_one(tmp_path: Path) -> None:
    """Version 3 in big-endian order is not taken for version 50331648."""
    path = tmp_path / "big.gguf"
    path.write_bytes(samples.GgufWriter(3, big_endian=True).file(samples.llama_entries()))
    assert struct.unpack("<I", path.read_bytes()[4:8])[0] == 50331648
    assert inspect(path).format_version == "3"
