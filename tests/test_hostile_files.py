"""Files that are broken, misleading or made to do harm, given to every engine.

First as a user gives them: inspection refuses them, and no engine is started. Then past inspection, straight
to the engine: whatever it does then, a segmentation fault included, happens to its worker only.
"""

from __future__ import annotations

import contextlib
import importlib.util
import random
import shlex
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import modelplug
from modelplug.backends.engine_start import start_engine
from modelplug.backends.types import Deadlines, LoadPlan, LoadRequest
from modelplug.data import demo_model_path
from modelplug.errors import (
    BackendError,
    ModelFileError,
    ModelplugError,
    NothingSuitableError,
    WorkerCrashedError,
)
from modelplug.formats import inspect
from modelplug.testing.demo_gguf import DemoGguf, Tensor, read_demo_gguf

ENGINES = {
    "llamacpp": ("modelplug_llamacpp", "xllamacpp"),
    "ctransformers": ("modelplug_ctransformers", "ctransformers"),
    "transformers": ("modelplug_transformers", "transformers"),
    "llamafile": ("modelplug_llamafile", "xllamacpp"),
}
FAKE_LLAMAFILE = (
    Path(__file__).parent.parent / "plugins" / "llamafile_backend" / "tests" / "fake_llamafile" / "program.py"
)
ALIGNMENT = 32
DEADLINES = Deadlines(start=60.0, load=60.0, first_token=60.0, close=5.0)
LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 1234567\n"
)
HTML = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>403</body></html>\n"

pytestmark = pytest.mark.timeout(300)


def demo() -> DemoGguf:
    """The bundled model, taken apart."""
    return read_demo_gguf(demo_model_path())


def text(value: str | bytes) -> bytes:
    """A GGUF string."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def gguf(
    *,
    entries: bytes | None = None,
    more_entries: int = 0,
    version: int = 3,
    counts: tuple[int, int] | None = None,
    row: Callable[[int, Tensor, int], tuple[str | bytes, tuple[int, ...], int, int]] | None = None,
) -> bytes:
    """The demo model written anew, with something changed.

    Args:
        entries: The metadata's bytes; None takes the demo model's.
        more_entries: How many entries there are more than the demo model has.
        version: The format version in the header.
        counts: The numbers of tensors and entries that the header claims; None tells the truth.
        row: Gives name, shape, type and offset of each tensor's row, from its number, itself and its true
            offset.
    """
    source = demo()
    table, data = bytearray(), bytearray()
    for number, tensor in enumerate(source.tensors):
        data += bytes(-len(data) % ALIGNMENT)
        name, shape, kind, offset = (
            row(number, tensor, len(data)) if row else (tensor.name, tensor.shape, tensor.kind, len(data))
        )
        table += text(name) + struct.pack("<I", len(shape))
        table += struct.pack(f"<{len(shape)}QIQ", *shape[::-1], kind, offset)
        data += tensor.stored
    tensors, pairs = counts or (len(source.tensors), len(source.metadata) + more_entries)
    header = b"GGUF" + struct.pack("<IQQ", version, tensors, pairs)
    header += (source.entries if entries is None else entries) + table
    return header + bytes(-len(header) % ALIGNMENT) + data + bytes(-len(data) % ALIGNMENT)


def changed_row(number: int, **changes: Any) -> bytes:
    """The demo model with one tensor's row changed."""

    def row(index: int, tensor: Tensor, offset: int) -> tuple[Any, Any, Any, Any]:
        mine = changes if index == number else {}
        shift = mine.get("shift", 0)
        return (
            mine.get("name", tensor.name),
            mine.get("shape", tensor.shape),
            mine.get("kind", tensor.kind),
            mine.get("offset", offset + shift),
        )

    return gguf(row=row)


def string_entry(key: str | bytes, value: str | bytes) -> bytes:
    """A metadata entry that holds a string."""
    return text(key) + struct.pack("<I", 8) + text(value)


def with_entry(entry: bytes) -> bytes:
    """The demo model with one more metadata entry."""
    return gguf(entries=demo().entries + entry, more_entries=1)


def other_architecture() -> bytes:
    """The demo model under the name of an architecture that nobody has."""
    return gguf(entries=demo().entries.replace(text("llama"), text("lhama"), 1))


def without_tokens() -> bytes:
    """The demo model with its token list under another name."""
    key = "tokenizer.ggml.tokens"
    return gguf(entries=demo().entries.replace(text(key), text("tokenizer.ggml.tokenz"), 1))


def random_weights() -> bytes:
    """A right header, and noise for weights."""
    whole = demo_model_path().read_bytes()
    return whole[: len(whole) // 4] + random.Random(1).randbytes(len(whole) - len(whole) // 4)


def noise_behind_magic() -> bytes:
    """Random bytes after the right magic and version."""
    return b"GGUF" + struct.pack("<I", 3) + random.Random(2).randbytes(100_000)


# Each must be refused by inspection, whoever is to load it.
REFUSED: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "web page": lambda: HTML,
    "LFS pointer": lambda: LFS_POINTER,
    "magic alone": lambda: b"GGUF",
    "noise": lambda: random.Random(3).randbytes(10_000),
    "noise behind the magic": noise_behind_magic,
    "partial download": lambda: demo_model_path().read_bytes()[:700_000],
    "cut within the header": lambda: demo_model_path().read_bytes()[:5_000],
    "header without data": lambda: demo_model_path().read_bytes()[:40_000],
    "unsupported version": lambda: gguf(version=99),
    "version zero": lambda: gguf(version=0),
    "absurd tensor count": lambda: gguf(counts=(2**62, len(demo().metadata))),
    "absurd entry count": lambda: gguf(counts=(len(demo().tensors), 2**62)),
    "absurd string length": lambda: with_entry(text("x") + struct.pack("<IQ", 8, 2**63)),
    "absurd array length": lambda: with_entry(text("x") + struct.pack("<IIQ", 9, 4, 2**61)),
    "absurd shape": lambda: changed_row(3, shape=(2**62, 2**62)),
    "unknown value type": lambda: with_entry(text("x") + struct.pack("<IQ", 77, 1)),
    "duplicate key": lambda: with_entry(string_entry("general.architecture", "llama")),
    "key that is no text": lambda: with_entry(string_entry(b"\xff\xfe", "x")),
    "tensor name that is no text": lambda: changed_row(3, name=b"\xff\xfe\xfd"),
    "duplicate tensor": lambda: changed_row(3, name="output_norm.weight"),
    "tensor past the end": lambda: changed_row(3, offset=2**31),
    "offset that overflows": lambda: changed_row(3, offset=2**64 - 32),
    "overlapping tensors": lambda: changed_row(3, offset=0),
    "misaligned tensor": lambda: changed_row(3, shift=1),
}
# A header says nothing against these; what the engine makes of them is its own affair.
DOUBTFUL: dict[str, Callable[[], bytes]] = {
    "unknown architecture": other_architecture,
    "no tokens": without_tokens,
    "noise for weights": random_weights,
    "shape of another model": lambda: changed_row(3, shape=(64, 64)),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every hostile file by its name."""
    directory = tmp_path_factory.mktemp("hostile")
    made = {}
    for number, (name, make) in enumerate({**REFUSED, **DOUBTFUL}.items()):
        made[name] = directory / f"hostile-{number}.gguf"
        made[name].write_bytes(make())
    return made


@pytest.fixture(scope="module")
def llamafile_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a stand-in for the llamafile program, put on PATH."""
    directory = tmp_path_factory.mktemp("programs")
    program = directory / "llamafile"
    command = shlex.join([sys.executable, str(FAKE_LLAMAFILE), "--fake", "modern:"])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(directory), prepend=":")
        yield program


@pytest.fixture(scope="module")
def runtime(llamafile_program: Path, tmp_path_factory: pytest.TempPathFactory) -> modelplug.Runtime:
    """One runtime for all files; the backends are found once."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELPLUG_HOME", str(home))
        runtime = modelplug.Runtime()
        runtime.backends.reports()
        return runtime


def skip_without(engine: str) -> None:
    """Skip if the engine's packages are missing."""
    if any(importlib.util.find_spec(name) is None for name in ENGINES[engine]):
        pytest.skip(f"{' or '.join(ENGINES[engine])} is not installed")


# As users do ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_no_engine_is_handed_a_file_that_inspection_refuses(
    engine: str, files: dict[str, Path], runtime: modelplug.Runtime
) -> None:
    """Each hostile file is an error that names the file and says what to do, before any engine is started."""
    skip_without(engine)
    tried: list[LoadPlan] = []
    for name in REFUSED:
        with pytest.raises(ModelFileError) as caught:
            modelplug.load(
                files[name], backend=engine, fallback="never", runtime=runtime, on_attempt=tried.append
            )
        assert caught.value.path == files[name], name
        assert caught.value.what, name
        assert caught.value.advice, name
    assert not tried


@pytest.mark.parametrize("name", DOUBTFUL)
@pytest.mark.parametrize("engine", ENGINES)
def test_what_inspection_can_not_see_is_contained(
    engine: str, name: str, files: dict[str, Path], runtime: modelplug.Runtime
) -> None:
    """A file that is wrong in a way no header tells gives an error of modelplug's own, or a working model."""
    skip_without(engine)
    try:
        model = modelplug.load(
            files[name], backend=engine, fallback="never", runtime=runtime, deadlines=DEADLINES
        )
    except (ModelFileError, NothingSuitableError, BackendError):
        return
    with model:
        _use(model)


def _use(model: modelplug.Model) -> None:
    """Generate a little; the engine may fail at that, but only as engines fail."""
    params = modelplug.GenerateParams(max_tokens=4, temperature=0.0)
    with contextlib.suppress(BackendError):
        assert list(model.generate("ROMEO:", params))[-1].finish_reason


# Past inspection ------------------------------------------------------------------------------------------

QUICK = tuple(REFUSED) + tuple(DOUBTFUL)
SLOW = ("empty", "noise behind the magic", "partial download", "tensor past the end", "no tokens")


def hand_over(engine: str, path: Path) -> ModelplugError | None:
    """Give a file to an engine as if it were the demo model; the error, if there is one."""
    info = attrs.evolve(inspect(demo_model_path()), path=path, files=(path,))
    request = LoadRequest(
        backend=engine, path=path, info=info, context_size=256, threads=1, deadlines=DEADLINES
    )
    try:
        with start_engine(request, engine, isolation="process").model as model:
            _use(model)
    except ModelplugError as error:
        return error
    return None


@pytest.mark.parametrize("engine", ENGINES)
def test_the_worker_contains_what_an_engine_does_with_a_hostile_file(
    engine: str, files: dict[str, Path], llamafile_program: Path
) -> None:
    """Handed over past inspection, no file does anything to this process but give an error."""
    skip_without(engine)
    names = QUICK if engine in ("llamacpp", "ctransformers") else SLOW
    errors = {name: hand_over(engine, files[name]) for name in names}
    assert errors["empty"] is not None
    for name, error in errors.items():
        if error is not None:
            assert error.what, name
            assert error.to_dict()["what"], name
    if engine == "ctransformers":
        # This library is known to crash on such files; if it never does, this test proves nothing.
        crashed = {name for name, error in errors.items() if isinstance(error, WorkerCrashedError)}
        assert crashed
        signals = {getattr(errors[name], "signal_name", None) for name in crashed}
        assert signals & {"SIGSEGV", "SIGABRT", "SIGBUS"}
