"""Damaged and hostile files: the engine would crash on them or take them, and the host must not notice."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFValueType

import modelplug
from modelplug.backends.model import Model
from modelplug.errors import BackendError, ModelFileError, ModelplugError

U32 = GGUFValueType.UINT32


def _patched(data: bytes, offset: int, patch: bytes) -> bytes:
    return data[:offset] + patch + data[offset + len(patch) :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: data[:0],
    "only-magic": lambda data: data[:4],
    "cut-in-header": lambda data: data[:2000],
    "cut-in-weights": lambda data: data[: len(data) // 2],
    "cut-by-one-byte": lambda data: data[:-1],
    "version-99": lambda data: _patched(data, 4, struct.pack("<I", 99)),
    "huge-tensor-count": lambda data: _patched(data, 8, struct.pack("<Q", 2**60)),
    "huge-key-count": lambda data: _patched(data, 16, struct.pack("<Q", 2**60)),
    "huge-key-length": lambda data: _patched(data, 24, struct.pack("<Q", 2**60)),
}


OTHER_FILES: dict[str, bytes] = {
    "lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n",
    "web-page": b"<!DOCTYPE html><html><body>404</body></html>",
    "noise": bytes((index * 7919) % 251 for index in range(5000)),
}


@pytest.mark.parametrize("name", [*DAMAGE, *OTHER_FILES])
def test_damaged_files_never_reach_the_engine(demo: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    """Inspection rejects them with a clear error, whatever the isolation."""
    path = tmp_path / "model.gguf"
    path.write_bytes(OTHER_FILES.get(name) or DAMAGE[name](demo("q8_0").read_bytes()))
    for isolation in ("process", "inline"):
        with pytest.raises(ModelFileError):
            modelplug.load(path, backend="ctransformers", isolation=isolation)


def test_the_engine_by_itself_takes_a_cut_file(demo: Callable[[str], Path], tmp_path: Path) -> None:
    """Why inspection is needed: the engine loads half a file, or dies of it."""
    path = tmp_path / "half.gguf"
    data = demo("f16").read_bytes()
    path.write_bytes(data[: len(data) // 2])
    code = (
        "import sys, ctransformers\n"
        "config = ctransformers.Config(context_length=64)\n"
        "model = ctransformers.LLM(sys.argv[1], config=config, lib='basic')\n"
        "model.eval([1, 2, 3])\n"
        "print('taken')"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert run.returncode < 0 or "taken" in run.stdout


FATAL: dict[str, dict[str, tuple[Any, GGUFValueType]]] = {
    "no-heads": {"llama.attention.head_count": (0, U32)},
    "no-key-heads": {"llama.attention.head_count_kv": (0, U32)},
    "start-token": {"tokenizer.ggml.bos_token_id": (999_999, U32)},
    "end-token": {"tokenizer.ggml.eos_token_id": (999_999, U32)},
}


@pytest.mark.parametrize("name", FATAL)
def test_values_that_kill_the_engine_are_refused(
    load: Callable[..., Model],
    demo: Callable[[str], Path],
    tmp_path: Path,
    rewrite: Callable[..., Path],
    name: str,
) -> None:
    """Well-formed files with such values would end the process with SIGFPE or SIGSEGV."""
    path = rewrite(demo("f16"), tmp_path / "model.gguf", change=FATAL[name])
    with pytest.raises(BackendError) as caught:
        load(path)
    assert caught.value.cause == "unsupported"


@pytest.mark.parametrize(
    "change",
    [
        {"llama.attention.head_count_kv": (3, U32)},
        {"llama.embedding_length": (64, U32)},
        {"llama.feed_forward_length": (0, U32)},
        {"llama.rope.dimension_count": (0, U32)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_values_that_contradict_the_tensors_are_errors(
    load: Callable[..., Model],
    demo: Callable[[str], Path],
    tmp_path: Path,
    rewrite: Callable[..., Path],
    change: dict[str, tuple[Any, GGUFValueType]],
) -> None:
    """The engine's refusal becomes a clear error."""
    with pytest.raises(BackendError):
        load(rewrite(demo("f16"), tmp_path / "model.gguf", change=change))


def test_a_model_that_computes_no_numbers_is_an_error(
    load: Callable[..., Model], demo: Callable[[str], Path], tmp_path: Path, rewrite: Callable[..., Path]
) -> None:
    """NaN gives no text made of nonsense."""
    change = {"llama.attention.layer_norm_rms_epsilon": (float("nan"), GGUFValueType.FLOAT32)}
    model = load(rewrite(demo("f16"), tmp_path / "model.gguf", change=change))
    with pytest.raises(BackendError, match="no numbers"):
        list(model.generate("ROMEO:"))


def test_a_model_runs_in_a_worker(demo: Callable[[str], Path]) -> None:
    """The same tokens come through the worker as inline, and refusals do too."""
    params = modelplug.GenerateParams(max_tokens=16, temperature=0)
    texts = []
    for isolation in ("process", "inline"):
        with modelplug.load(
            demo("f16"), backend="ctransformers", isolation=isolation, threads=1, context_size=128
        ) as model:
            texts.append("".join(chunk.text for chunk in model.generate("ROMEO:", params)))
            assert model.effective.context_size == 128
            with pytest.raises(ModelplugError):
                list(model.generate("ROMEO:", modelplug.GenerateParams(min_p=0.5)))
    assert texts[0] == texts[1]
