"""Inspection takes little time and memory whatever the file is or claims."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from core.tests.formats import format_samples as samples

from modelplug.errors import ModelFileError
from modelplug.formats import inspect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WRITER = samples.GgufWriter()
MOST_MEMORY = 64 << 20
GIB = 1 << 30


def array_of_strings(path: Path) -> None:
    """Four million empty strings, the most that is allowed."""
    head = (
        WRITER.header(0, 1) + WRITER.string("k") + WRITER.pack("IIQ", samples.ARRAY, samples.STRING, 1 << 22)
    )
    sparse(path, head, GIB)


def array_of_too_many_strings(path: Path) -> None:
    """A gigabyte of empty strings."""
    head = (
        WRITER.header(0, 1) + WRITER.string("k") + WRITER.pack("IIQ", samples.ARRAY, samples.STRING, 1 << 27)
    )
    sparse(path, head, GIB)


def long_string(path: Path) -> None:
    """A text of nearly a gigabyte."""
    head = WRITER.header(0, 1) + WRITER.string("k") + WRITER.pack("IQ", samples.STRING, GIB - 100)
    sparse(path, head, GIB)


def many_tensors(path: Path) -> None:
    """As many tensors as are allowed, with names as long as are allowed together."""
    rows = b"".join(WRITER.tensor(f"{number:0127}", (32,), 0, 128 * number) for number in range(1 << 16))
    path.write_bytes(WRITER.header(1 << 16, 0) + rows)


def long_names(path: Path) -> None:
    """Tensors with long names."""
    rows = b"".join(WRITER.tensor(f"{number:04000}", (32,), 0, 0) for number in range(5000))
    path.write_bytes(WRITER.header(5000, 0) + rows)


def many_entries(path: Path) -> None:
    """As many metadata entries as are allowed, each a short array."""
    rows = (
        WRITER.entry(f"{number:0200}", samples.ARRAY, (samples.U8, [1] * 100)) for number in range(1 << 14)
    )
    path.write_bytes(WRITER.header(0, 1 << 14) + b"".join(rows))


def many_texts(path: Path) -> None:
    """A hundred texts just short enough to be kept."""
    rows = (WRITER.entry(f"{number}", samples.STRING, "x" * (1 << 20)) for number in range(100))
    path.write_bytes(WRITER.header(0, 100) + b"".join(rows))


def wide_nesting(path: Path) -> None:
    """Arrays of arrays without end."""
    head = (
        WRITER.header(0, 1) + WRITER.string("k") + WRITER.pack("IIQ", samples.ARRAY, samples.ARRAY, 1 << 16)
    )
    sparse(path, head, GIB)


def long_json(path: Path) -> None:
    """A safetensors header of 16 MiB that is one long list."""
    path.write_bytes(samples.raw_safetensors(b'{"a":' + b"[]," * (5 << 20) + b"}"))


def many_small_tensors(path: Path) -> None:
    """A safetensors header with as many tensors as are allowed."""
    rows = (b'"%06d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % number for number in range(1 << 16))
    path.write_bytes(samples.raw_safetensors(b"{" + b",".join(rows) + b"}"))


def long_metadata(path: Path) -> None:
    """A safetensors header with one long text."""
    path.write_bytes(samples.raw_safetensors(b'{"__metadata__":{"a":"' + b"x" * (15 << 20) + b'"}}'))


def many_escapes(path: Path) -> None:
    """A safetensors header with one long text of escaped quotes."""
    path.write_bytes(samples.raw_safetensors(b'{"__metadata__":{"a":"' + b'\\"' * (7 << 20) + b'"}}'))


def many_backslashes(path: Path) -> None:
    """A safetensors header with one long text of backslashes."""
    path.write_bytes(samples.raw_safetensors(b'{"__metadata__":{"a":"' + b"\\" * (15 << 20) + b'"}}'))


def many_spaces(path: Path) -> None:
    """A safetensors header of nearly nothing but spaces."""
    path.write_bytes(samples.raw_safetensors(b'{"a"' + b" " * (15 << 20) + b"}"))


def long_pickle(path: Path) -> None:
    """A pickle of two million instructions."""
    path.write_bytes(samples.pytorch_zip(b"\x80\x02" + b"N0" * (1 << 20)))


def deep_pickle(path: Path) -> None:
    """A pickle that nests tuples as deep as it can."""
    path.write_bytes(samples.pytorch_zip(b"\x80\x02)" + b"2\x86" * (1 << 18) + b"."))


def many_words(path: Path) -> None:
    """A GGJT vocabulary of a million empty words."""
    head = b"tjgg" + struct.pack("<8I", 3, 1 << 20, 64, 256, 4, 2, 16, 2)
    sparse(path, head, GIB)


def many_ggml_tensors(path: Path) -> None:
    """A GGLA adapter of very many tensors."""
    content = bytearray(b"algg" + struct.pack("<3I", 1, 8, 16))
    for _ in range(100_000):
        content += struct.pack("<4I", 1, 8, 0, 1) + b"x" * 8
        content += bytes(-len(content) % 32 + 4)
    path.write_bytes(content)


def zip_of_many(path: Path) -> None:
    """A zip directory that claims 65,535 members in all the file."""
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, 60 << 20, 0, 0)
    path.write_bytes(b"PK\x03\x04")
    sparse(path, b"PK\x03\x04", 64 << 20)
    with path.open("ab") as file:
        file.write(end)


def zeros(path: Path) -> None:
    """A gigabyte of nothing."""
    sparse(path, b"", GIB)


def sparse(path: Path, head: bytes, size: int) -> None:
    """A file of `size` bytes that takes no room on the disk."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)


HOSTILE = [
    array_of_strings,
    array_of_too_many_strings,
    long_string,
    many_tensors,
    long_names,
    many_entries,
    many_texts,
    wide_nesting,
    long_json,
    many_small_tensors,
    long_metadata,
    many_escapes,
    many_backslashes,
    many_spaces,
    long_pickle,
    deep_pickle,
    many_words,
    many_ggml_tensors,
    zip_of_many,
    zeros,
]


def attempt(path: Path) -> str:
    """Inspect, and say how it ended."""
    try:
        return inspect(path).format
    except ModelFileError as error:
        return type(error).__name__


@pytest.mark.parametrize("build", HOSTILE, ids=lambda build: build.__name__)
def test_no_file_costs_much(build: Callable[[Path], None], tmp_path: Path) -> None:
    """No hostile file makes inspection take a second of processor time or allocate 64 MiB."""
    path = tmp_path / "hostile.bin"
    build(path)
    attempt(path)  # imports and the page cache do not count
    times: list[float] = []
    # A processor is slower while others use its caches, but not in every one of several attempts.
    while not times or (min(times) >= 1.0 and len(times) < 10):
        started = time.process_time()
        first = attempt(path)
        times.append(time.process_time() - started)
    seconds = min(times)
    tracemalloc.start()
    try:
        second = attempt(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert first == second
    assert seconds < 1.0
    assert peak < MOST_MEMORY
    print(f"{build.__name__}: {first}, {seconds * 1000:.0f} ms, {peak / (1 << 20):.1f} MiB")


def test_time_does_not_depend_on_size(tmp_path: Path) -> None:
    """A model of a gigabyte is inspected by reading as little as one of a few kilobytes."""
    elements = GIB // 34 * 32 // 4096
    small, large = tmp_path / "small.gguf", tmp_path / "large.gguf"
    for path, rows in ((small, 64), (large, elements)):
        entries = [("general.architecture", samples.STRING, "llama")]
        head = WRITER.header(1, 1) + b"".join(WRITER.entry(*entry) for entry in entries)
        head += WRITER.tensor("blk.0.w.weight", (4096, rows), 8, 0)
        head += bytes(-len(head) % 32)
        sparse(path, head, len(head) + 4096 * rows // 32 * 34)
    assert large.stat().st_size > 1_000_000_000
    best = {small: math.inf, large: math.inf}
    for _ in range(20):
        # In turn: a moment in which the machine is busy with something else then hits both.
        for path in best:
            started = time.perf_counter()
            inspect(path)
            best[path] = min(best[path], time.perf_counter() - started)
    assert best[large] < 2 * best[small] + 0.005


def test_importing_stays_light() -> None:
    """Importing the package and inspecting a GGUF file loads no engine, no numpy and no cattrs."""
    code = (
        "import sys, json, modelplug.formats as f; f.inspect; "
        "heavy = {'numpy', 'torch', 'gguf', 'cattrs', 'zipfile', 'rich'}; "
        "print(json.dumps(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
