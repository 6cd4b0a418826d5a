"""Every kind of damage to a GGUF file is refused with what is wrong and at which offset."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from core.tests.formats import format_samples as samples

from modelplug.errors import ModelFileError, TruncatedModelError, UnsupportedFormatError
from modelplug.formats import inspect

if TYPE_CHECKING:
    from pathlib import Path

WRITER = samples.GgufWriter()
MODEL = samples.llama_gguf()
U32_MAX = 0xFFFFFFFF


def refusal(content: bytes, tmp_path: Path) -> ModelFileError:
    """Inspect `content`, which must be refused, and return the error."""
    path = tmp_path / "some.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        inspect(path)
    assert caught.value.path == path
    assert caught.value.advice
    return caught.value


def one_tensor(row: bytes, data: bytes = b"") -> bytes:
    """A file with one row in its tensor table."""
    head = WRITER.header(1, 0) + row
    return head + bytes(-len(head) % 32) + data


def one_entry(entry: bytes) -> bytes:
    """A file with one metadata entry and nothing else."""
    return WRITER.header(0, 1) + entry


def test_an_unsupported_version(tmp_path: Path) -> None:
    """A version from the future is named, and the advice is to update."""
    error = refusal(b"GGUF" + struct.pack("<I", 4) + MODEL[8:], tmp_path)
    assert isinstance(error, UnsupportedFormatError)
    assert "version 4" in error.what
    assert error.offset == 4
    assert "Update modelplug" in error.advice


@pytest.mark.parametrize("keep", [4, 7, 12, 23])
def test_a_file_that_ends_within_its_counts(keep: int, tmp_path: Path) -> None:
    """A few bytes of a model are a truncated model."""
    error = refusal(MODEL[:keep], tmp_path)
    assert isinstance(error, TruncatedModelError)
    assert error.actual == keep


def test_a_file_that_ends_within_its_tensors(tmp_path: Path) -> None:
    """The error says how many bytes there should be, how many there are, and which tensor is incomplete."""
    error = refusal(MODEL[:-500], tmp_path)
    assert isinstance(error, TruncatedModelError)
    assert error.actual == len(MODEL) - 500
    assert error.expected == len(MODEL)
    assert "500 are missing" in error.what
    assert "'output.weight'" in error.what


def test_a_tensor_far_outside(tmp_path: Path) -> None:
    """An offset that no file could have is damage, not truncation."""
    error = refusal(one_tensor(WRITER.tensor("t", (32,), 0, 1 << 60), bytes(128)), tmp_path)
    assert not isinstance(error, TruncatedModelError)
    assert "far outside the file" in error.what


def test_overlapping_tensors(tmp_path: Path) -> None:
    """Two tensors in the same place are named."""
    rows = WRITER.tensor("first", (32,), 0, 0) + WRITER.tensor("second", (32,), 0, 64)
    head = WRITER.header(2, 0) + rows
    error = refusal(head + bytes(-len(head) % 32) + bytes(256), tmp_path)
    assert "'second' overlaps tensor 'first'" in error.what
    assert error.offset == 24 + len(WRITER.tensor("first", (32,), 0, 0))


def test_a_misaligned_tensor(tmp_path: Path) -> None:
    """Data that does not begin at a multiple of the alignment is refused."""
    error = refusal(one_tensor(WRITER.tensor("t", (32,), 0, 4), bytes(256)), tmp_path)
    assert "no multiple of 32" in error.what


@pytest.mark.parametrize("alignment", [0, 3, 48, 1 << 30])
def test_an_impossible_alignment(alignment: int, tmp_path: Path) -> None:
    """The alignment must be a power of two of a sensible size."""
    error = refusal(one_entry(WRITER.entry("general.alignment", samples.U32, alignment)), tmp_path)
    assert "`general.alignment` is" in error.what
    assert error.offset == 24


def test_a_larger_alignment_is_honoured(tmp_path: Path) -> None:
    """Data begins where the stated alignment puts it."""
    writer = samples.GgufWriter(alignment=256)
    entries = [*samples.llama_entries(), ("general.alignment", samples.U32, 256)]
    path = tmp_path / "aligned.gguf"
    path.write_bytes(writer.file(entries, samples.llama_tensors()))
    assert inspect(path).warnings == ()


def test_absurd_counts(tmp_path: Path) -> None:
    """Counts beyond anything plausible are refused before anything is read for them."""
    assert "claims 281474976710656 tensors" in refusal(WRITER.header(1 << 48, 0), tmp_path).what
    error = refusal(WRITER.header(0, 1 << 48), tmp_path)
    assert "metadata entries" in error.what
    assert error.offset == 16


def test_absurd_lengths(tmp_path: Path) -> None:
    """A key, text, array or string in an array longer than the file is refused where it says so."""
    key = WRITER.pack("Q", 1 << 62) + bytes(64)
    assert "key of a metadata entry claims a length" in refusal(one_entry(key), tmp_path).what
    text = WRITER.string("key") + WRITER.pack("IQ", samples.STRING, 1 << 62)
    assert "claims a length of 4611686018427387904" in refusal(one_entry(text), tmp_path).what
    array = WRITER.string("key") + WRITER.pack("IIQ", samples.ARRAY, samples.F32, 1 << 62)
    assert "claims 4611686018427387904 elements" in refusal(one_entry(array), tmp_path).what
    strings = WRITER.string("key") + WRITER.pack("IIQ", samples.ARRAY, samples.STRING, 1 << 62)
    assert "claims 4611686018427387904 strings" in refusal(one_entry(strings), tmp_path).what


@pytest.mark.parametrize("bad_index", [0, 5, 7, 8, 15, 20])
def test_an_overlong_string_in_an_array(bad_index: int, tmp_path: Path) -> None:
    """The offset named is that of the string that reaches past the end, wherever it stands in the array."""
    strings = [WRITER.string("abc")] * 21
    strings[bad_index] = WRITER.pack("Q", 1 << 50) + b"abc"
    head = WRITER.string("tokens") + WRITER.pack("IIQ", samples.ARRAY, samples.STRING, 21)
    error = refusal(one_entry(head + b"".join(strings)), tmp_path)
    assert error.offset == 24 + len(head) + 11 * bad_index
    assert "tokens" in error.what


def test_a_string_array_cut_off(tmp_path: Path) -> None:
    """A file that ends between two strings is truncated there."""
    head = WRITER.string("tokens") + WRITER.pack("IIQ", samples.ARRAY, samples.STRING, 100)
    error = refusal(one_entry(head + WRITER.string("abc") * 33), tmp_path)
    assert isinstance(error, TruncatedModelError)
    assert error.offset == 24 + len(head) + 33 * 11


def test_duplicate_keys(tmp_path: Path) -> None:
    """A key that occurs twice is named at its second place."""
    entry = WRITER.entry("general.name", samples.STRING, "x")
    error = refusal(WRITER.header(0, 2) + entry + entry, tmp_path)
    assert "'general.name' occurs twice" in error.what
    assert error.offset == 24 + len(entry)


def test_duplicate_tensor_names(tmp_path: Path) -> None:
    """Two tensors of one name are refused."""
    rows = WRITER.tensor("same", (32,), 0, 0) + WRITER.tensor("same", (32,), 0, 128)
    assert "two tensors named 'same'" in refusal(WRITER.header(2, 0) + rows + bytes(512), tmp_path).what


def test_bad_utf8(tmp_path: Path) -> None:
    """Names and texts that are not UTF-8 are refused where they stand."""
    error = refusal(one_entry(WRITER.entry(b"\xff\xfe", samples.U32, 1)), tmp_path)
    assert "is not valid UTF-8" in error.what
    assert error.offset == 24
    entry = WRITER.entry("general.name", samples.STRING, b"\xc3\x28")
    assert "the text of 'general.name' is not valid UTF-8" in refusal(one_entry(entry), tmp_path).what
    row = WRITER.tensor(b"\x80", (32,), 0, 0)
    assert "the name of a tensor is not valid UTF-8" in refusal(one_tensor(row, bytes(128)), tmp_path).what


@pytest.mark.parametrize(
    ("key", "kind", "value", "words"),
    [
        ("general.architecture", samples.U32, 5, "5 instead of a text"),
        ("llama.block_count", samples.STRING, "many", "'many' instead of a whole number"),
        ("llama.block_count", samples.I32, -1, "-1 instead of a whole number"),
        ("llama.block_count", samples.U32, U32_MAX, "instead of a number up to"),
        ("llama.context_length", samples.F32, 0.5, "0.5 instead of a whole number"),
        ("llama.context_length", samples.BOOL, True, "True instead of a whole number"),
        ("llama.attention.head_count_kv", samples.ARRAY, (samples.U32, [1]), "an array of 2 numbers"),
        (
            "llama.attention.head_count_kv",
            samples.ARRAY,
            (samples.STRING, ["a", "b"]),
            "an array of 2 values",
        ),
        ("tokenizer.ggml.tokens", samples.U32, 5, "5 instead of an array of strings"),
        ("tokenizer.ggml.tokens", samples.ARRAY, (samples.U32, [1]), "instead of an array of strings"),
        ("tokenizer.ggml.model", samples.ARRAY, (samples.U32, [1]), "instead of a text"),
        ("general.alignment", samples.STRING, "32", "a text instead of a whole number"),
    ],
)
def test_wrong_types_of_known_keys(key: str, kind: int, value: object, words: str, tmp_path: Path) -> None:
    """A well-known entry of the wrong type is named with what it is and what it should be."""
    entries = [entry for entry in samples.llama_entries() if entry[0] != key]
    error = refusal(WRITER.file([*entries, (key, kind, value)], samples.llama_tensors()), tmp_path)
    assert words in error.what
    assert key in error.what
    assert error.offset is not None
    assert error.offset > 0


@pytest.mark.parametrize(
    ("shape", "kind", "words"),
    [
        ((2, 2, 2, 2, 2), 0, "has 5 dimensions"),
        ((0, 32), 0, "has a dimension of 0"),
        ((1 << 40, 1 << 40), 0, "overflows 63 bits"),
        ((33,), 8, "rows of 33 values, which is no multiple of the 32"),
        ((128,), 12, "no multiple of the 256 that Q4_K stores together"),
    ],
)
def test_impossible_tensors(shape: tuple[int, ...], kind: int, words: str, tmp_path: Path) -> None:
    """Dimensions that can't be are refused by name."""
    assert words in refusal(one_tensor(WRITER.tensor("bad", shape, kind, 0), bytes(512)), tmp_path).what


def test_unknown_value_types(tmp_path: Path) -> None:
    """A value or element type that does not exist can't be skipped, so the file is refused there."""
    entry = WRITER.string("key") + WRITER.pack("I", 13)
    assert "'key' has the unknown value type 13" in refusal(one_entry(entry), tmp_path).what
    array = WRITER.string("key") + WRITER.pack("IIQ", samples.ARRAY, 77, 1)
    assert "elements of the unknown type 77" in refusal(one_entry(array), tmp_path).what
    flag = WRITER.string("key") + WRITER.pack("IB", samples.BOOL, 2)
    assert "truth value stored as 2" in refusal(one_entry(flag), tmp_path).what


def test_arrays_nested_too_deeply(tmp_path: Path) -> None:
    """Nesting has a limit well below Python's own."""
    deep = WRITER.string("key") + WRITER.pack("I", samples.ARRAY)
    deep += WRITER.pack("IQ", samples.ARRAY, 1) * 5000 + WRITER.pack("IQ", samples.U8, 0)
    assert "nested too deeply" in refusal(one_entry(deep), tmp_path).what


def test_oddities_are_warnings(tmp_path: Path) -> None:
    """What only some engines refuse is accepted with a warning: gaps, order, long names, removed types."""
    writer = samples.GgufWriter()
    long_name = "n" * 64
    rows = writer.tensor("late", (32,), 0, 512) + writer.tensor(long_name, (32,), 31, 0)
    head = writer.header(2, 1) + writer.entry("general.architecture", samples.STRING, "llama") + rows
    path = tmp_path / "odd.gguf"
    path.write_bytes(head + bytes(-len(head) % 32) + bytes(1024))
    warnings = " / ".join(inspect(path).warnings)
    for words in ("Q4_0_4_4", "unused bytes before 1", "not in the order", "longer than the 63 bytes"):
        assert words in warnings


def test_a_missing_architecture_is_a_warning(tmp_path: Path) -> None:
    """Such a file can be inspected, though nothing will run it."""
    path = tmp_path / "anonymous.gguf"
    path.write_bytes(WRITER.file([], samples.llama_tensors()))
    info = inspect(path)
    assert info.architecture is None
    assert "`general.architecture` is missing" in info.warnings[0]
