"""Which models ctransformers is given, how it is detected, and what its settings admit."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import math
import platform
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy
import pytest
from gguf import GGUFValueType

import modelplug_ctransformers
from modelplug.backends.compatibility import incompatibility
from modelplug.backends.model import GenerateParams, Model
from modelplug.backends.types import BackendState, LoadRequest
from modelplug.errors import BackendError, ConfigError
from modelplug.formats.inspection import inspect
from modelplug.formats.model_info import ModelInfo
from modelplug.system.info import CpuInfo, Device, MemoryInfo, SystemInfo
from modelplug_ctransformers import detection
from modelplug_ctransformers.engine import cpu_flags, engine_options, library_for
from modelplug_ctransformers.limits import TENSOR_TYPES, check_model
from modelplug_ctransformers.model import _engine_layers

CPU = CpuInfo(
    model="test",
    architecture="x86_64",
    physical_cores=2,
    logical_cores=2,
    usable_cores=2,
    instruction_sets=frozenset({"avx", "avx2", "fma", "f16c"}),
)
H100 = Device(id="cuda:0", api="cuda", index=0, name="H100", vendor="nvidia")


def system(*devices: Device, cpu: CpuInfo = CPU) -> SystemInfo:
    """Describe a machine."""
    return SystemInfo(
        os="linux",
        os_version="test",
        python="3.11",
        cpu=cpu,
        memory=MemoryInfo(total=8 << 30, available=8 << 30),
        devices=devices,
    )


@pytest.fixture
def info(demo: Callable[[str], Path]) -> ModelInfo:
    """What inspection says of the demo model."""
    return inspect(demo("f16"))


# Refused because the engine computes something else without a word, ends its process, or gives no reason.
VARIANTS: dict[str, tuple[dict[str, Any], str]] = {
    "linear-scaling": (
        {
            "change": {
                "llama.rope.scaling.type": ("linear", GGUFValueType.STRING),
                "llama.rope.scaling.factor": (2.0, GGUFValueType.FLOAT32),
            }
        },
        "linear scaling",
    ),
    "no-space-prefix": (
        {"change": {"tokenizer.ggml.add_space_prefix": (False, GGUFValueType.BOOL)}},
        "space before the text",
    ),
    "byte-level-tokenizer": (
        {"change": {"tokenizer.ggml.model": ("gpt2", GGUFValueType.STRING)}},
        "has gpt2",
    ),
    "tied-embedding": ({"drop_tensors": ("output.weight",)}, "output matrix"),
    "experts": (
        {
            "change": {
                "llama.expert_count": (3, GGUFValueType.UINT32),
                "llama.expert_used_count": (2, GGUFValueType.UINT32),
            }
        },
        "mixture-of-experts",
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_models_the_engine_would_run_wrongly_are_refused(
    load: Callable[..., Model],
    demo: Callable[[str], Path],
    tmp_path: Path,
    rewrite: Callable[..., Path],
    name: str,
) -> None:
    """The engine never sees them, and the error says why and what to use instead."""
    changes, why = VARIANTS[name]
    path = rewrite(demo("f16"), tmp_path / f"{name}.gguf", **changes)
    with pytest.raises(BackendError) as caught:
        load(path)
    assert caught.value.cause == "unsupported"
    assert caught.value.phase == "load"
    assert why in caught.value.why
    assert "llamacpp" in caught.value.advice


def test_an_unknown_tensor_is_reported_by_the_engine_as_an_error(
    load: Callable[..., Model], demo: Callable[[str], Path], tmp_path: Path, rewrite: Callable[..., Path]
) -> None:
    """What only the engine notices (here the frequencies of Llama 3.1) becomes a clear error too."""
    extra = {"rope_freqs.weight": numpy.ones(16, dtype=numpy.float32)}
    path = rewrite(demo("f16"), tmp_path / "freqs.gguf", add_tensors=extra)
    with pytest.raises(BackendError, match="could not load") as caught:
        load(path)
    assert "September 2023" in caught.value.advice


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2", "mpt", None])
def test_of_gguf_files_only_llama_and_falcon_are_taken(info: ModelInfo, architecture: str | None) -> None:
    """The engine knows more names, but loads only these two."""
    with pytest.raises(BackendError, match="can't run") as caught:
        check_model(attrs.evolve(info, architecture=architecture), None, "ctransformers")
    assert "llama and falcon" in caught.value.why


@pytest.mark.parametrize("kind", ["IQ4_XS", "BF16", "MXFP4", "TQ1_0", "Q4_0_4_4"])
def test_tensor_types_that_came_later_are_refused(info: ModelInfo, kind: str) -> None:
    """The error names the type."""
    with pytest.raises(BackendError) as caught:
        check_model(attrs.evolve(info, tensor_types={"F32": 10, kind: 10}), None, "ctransformers")
    assert kind in caught.value.why


def test_the_path_decides_nothing(
    load: Callable[..., Model], demo: Callable[[str], Path], tmp_path: Path
) -> None:
    """A llama model in a folder named after other models is a llama model."""
    folder = tmp_path / "falcon-mpt-gpt2-prompts"
    folder.mkdir()
    path = folder / "starcoder-q4_0.gguf"
    path.write_bytes(demo("f16").read_bytes())
    assert load(path).info.architecture == "llama"


def test_a_directory_with_one_file_is_that_file(
    load: Callable[..., Model], demo: Callable[[str], Path], tmp_path: Path
) -> None:
    """What inspection accepts as a model is loaded, the directory form too."""
    (tmp_path / "model.gguf").write_bytes(demo("q8_0").read_bytes())
    assert load(tmp_path).tokenize("a")


def test_older_versions_of_gguf_load(
    load: Callable[..., Model], demo: Callable[[str], Path], tmp_path: Path
) -> None:
    """Version 2 has the layout of version 3, and gives the same tokens."""
    data = bytearray(demo("f16").read_bytes())
    data[4:8] = struct.pack("<I", 2)
    path = tmp_path / "v2.gguf"
    path.write_bytes(data)
    assert load(path).tokenize("hello") == load(demo("f16")).tokenize("hello")


def test_legacy_files_need_their_type_said(info: ModelInfo) -> None:
    """Files before GGUF don't say what they hold, and the error says how the user can."""
    legacy = attrs.evolve(info, format="ggjt", architecture=None, tensor_types={"Q4_0": 1}, metadata={})
    with pytest.raises(BackendError) as caught:
        check_model(legacy, None, "ctransformers")
    assert "model_type" in caught.value.advice
    assert check_model(legacy, "falcon", "ctransformers") == "falcon"
    told = attrs.evolve(legacy, architecture="gptneox")
    assert check_model(told, None, "ctransformers") == "gpt-neox"


def _legacy_gpt2(path: Path) -> Path:
    """Write a small GPT-2 with random weights in the format that ggml's examples had in 2023."""
    width, context, layers, draw = 32, 64, 2, random.Random(0)
    words = [bytes([code]) for code in range(32, 127)] + [b"\n", b" the", b"<|endoftext|>"]
    out = [struct.pack("<I7i", 0x67676D6C, len(words), context, width, 2, layers, 0, len(words))]
    out += [struct.pack("<I", len(word)) + word for word in words]

    def tensor(name: str, *sizes: int) -> None:
        out.append(struct.pack(f"<3i{len(sizes)}i", len(sizes), len(name), 0, *sizes) + name.encode())
        count = math.prod(sizes)
        out.append(struct.pack(f"<{count}f", *(draw.gauss(0, 0.5) for _ in range(count))))

    for name, *sizes in (
        ("ln_f/g", width),
        ("ln_f/b", width),
        ("wte", width, len(words)),
        ("wpe", width, context),
    ):
        tensor(f"model/{name}", *sizes)
    for layer in range(layers):
        for name in ("ln_1/g", "ln_1/b", "ln_2/g", "ln_2/b"):
            tensor(f"model/h{layer}/{name}", width)
        for name, inner, outer in (
            ("attn/c_attn", width, 3 * width),
            ("attn/c_proj", width, width),
            ("mlp/c_fc", width, 4 * width),
            ("mlp/c_proj", 4 * width, width),
        ):
            tensor(f"model/h{layer}/{name}/w", inner, outer)
            tensor(f"model/h{layer}/{name}/b", outer)
    path.write_bytes(b"".join(out))
    return path


def test_a_legacy_file_runs(load: Callable[..., Model], tmp_path: Path) -> None:
    """A GPT-2 in the old format loads, keeps to the context it states, and tokenises both ways."""
    path = _legacy_gpt2(tmp_path / "model.bin")
    model = load(path)
    assert model.effective.context_size == 64
    assert "64 tokens" in model.effective.notes[0]
    assert not model.capabilities.embeddings
    tokens = model.tokenize("hello the")
    assert model.detokenize(tokens) == "hello the"
    params = GenerateParams(max_tokens=None, temperature=0)
    last = list(model.generate("hello the", params))[-1]
    assert last.stats is not None
    assert last.stats.completion_tokens == 64 - len(tokens)
    report = detection.report(system())
    assert incompatibility(report, model.info) == ""
    assert "architecture gpt2" in incompatibility(report, attrs.evolve(model.info, format="gguf"))


@pytest.mark.parametrize(
    ("device", "layers", "expected"),
    [("cpu", -1, 0), ("cuda:0", 0, 0), ("cuda:0", 3, 3), ("cuda:0", -1, 7)],
)
def test_all_layers_are_counted_as_the_engine_counts(
    info: ModelInfo, device: str, layers: int, expected: int
) -> None:
    """-1 would mean the CPU there: all layers are the blocks, the output head and both caches."""
    request = LoadRequest(
        backend="ctransformers", path=info.path, info=info, device=device, gpu_layers=layers
    )
    assert info.layers == 4
    assert _engine_layers(request) == expected


def test_options_are_checked_against_the_engines_own() -> None:
    """Every option that is passed exists in the installed version; a made-up one is an error."""
    config = importlib.import_module("ctransformers").Config
    known = {field.name for field in dataclasses.fields(config)}
    assert {"mmap", "mlock", "context_length", "gpu_layers"} <= known
    assert engine_options(config, mmap=True) == {"mmap": True}
    with pytest.raises(BackendError, match="use_mmap"):
        engine_options(config, use_mmap=True)


def test_settings_are_checked(load: Callable[..., Model], demo: Callable[[str], Path]) -> None:
    """A batch beyond the engine's buffers would abort the process; a wrong name would be dropped."""
    for settings in ({"batch_size": 513}, {"batch_size": 0}, {"model_type": "qwen"}, {"mmap": True}):
        with pytest.raises(ConfigError):
            load(demo("f16"), settings=settings)
    model = load(demo("f16"), settings={"use_mmap": False, "batch_size": 64, "library": "basic"})
    assert model.effective.batch_size == 64


def test_detection_imports_no_engine() -> None:
    """A fresh interpreter that detects has imported neither the engine nor anything heavy."""
    code = (
        "import sys, modelplug_ctransformers as plugin\n"
        "from modelplug.system.info import *\n"
        "cpu = CpuInfo(model='', architecture='x86_64', physical_cores=1, logical_cores=1, usable_cores=1)\n"
        "memory = MemoryInfo(total=1, available=1)\n"
        "system = SystemInfo(os='linux', os_version='', python='', cpu=cpu, memory=memory)\n"
        "report = plugin.modelplug_detect_backends(system)\n"
        "heavy = {'ctransformers', 'numpy', 'torch', 'huggingface_hub', 'cpuinfo'} & set(sys.modules)\n"
        "print(report.state, report.version, sorted(heavy))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["cpu", "0.2.27", "[]"]


def test_detection_tells_why_the_gpu_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the CUDA 12 libraries the report is CPU only, with cause and the command that helps."""
    monkeypatch.setattr(detection, "_has_cuda_12", lambda: False)
    report = detection.report(system(H100))
    assert report.state is BackendState.CPU
    assert "CUDA 12" in report.cause
    assert "ctransformers[cuda]==0.2.27" in report.install
    monkeypatch.setattr(detection, "_has_cuda_12", lambda: True)
    report = detection.report(system(H100, attrs.evolve(H100, id="cuda:1", index=1)))
    assert (report.state, report.devices, report.gpu_offload) == (BackendState.GPU, ("cuda:0",), "layers")


def test_detection_promises_nothing_for_amd_and_apple() -> None:
    """The wheel has no build for them; the advice is to compile, not an extra that does not exist."""
    amd = Device(id="rocm:0", api="rocm", index=0, name="RX 7900", vendor="amd")
    report = detection.report(system(amd))
    assert report.state is BackendState.CPU
    assert "rocm" in report.cause
    assert "CT_HIPBLAS=1" in report.install
    assert "[rocm]" not in report.install


def test_detection_tells_not_installed_from_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package, another version, and no library for this processor are three different things."""
    monkeypatch.setattr(detection, "pick_library", lambda *_: None)
    assert detection.report(system()).state is BackendState.BROKEN
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "0.2.26")
    report = detection.report(system())
    assert report.state is BackendState.BROKEN
    assert "0.2.26" in report.cause
    monkeypatch.setattr(detection, "library_directory", lambda: None)
    report = detection.report(system())
    assert report.state is BackendState.NOT_INSTALLED
    assert "pip install ctransformers==0.2.27" in report.install


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx", "avx2", "fma", "f16c"}, "avx2"),
        ({"avx", "f16c"}, "avx"),
        ({"avx"}, "basic"),
        (set(), "basic"),
    ],
)
def test_the_build_suits_the_processor(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], expected: str
) -> None:
    """A build for other instructions would end the process with SIGILL."""
    directory = detection.library_directory()
    assert directory is not None
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert detection.pick_library(directory, frozenset(flags)) == expected


def test_no_slow_search_for_processor_features() -> None:
    """Where the features can be read from a file, the engine is told the build and asks no slow package."""
    if cpu_flags():
        assert library_for(None, cpu_flags()) is not None
    assert library_for("basic", cpu_flags()) == "basic"


def test_the_deep_probe_loads_the_library() -> None:
    """On a machine where the engine works, the probe has nothing to add."""
    module, _, function = detection.report(system()).deep_probe.partition(":")
    assert getattr(importlib.import_module(module), function)() == {}


def test_the_hook_leaves_other_backends_alone(info: ModelInfo) -> None:
    """A request for another backend is not this plugin's business."""
    request = LoadRequest(backend="llamacpp", path=info.path, info=info)
    assert modelplug_ctransformers.modelplug_load_model(request) is None


def test_tensor_types_are_named_as_inspection_names_them(demo: Callable[[str], Path]) -> None:
    """The names in the report are those that appear in `ModelInfo`."""
    for precision in ("f32", "f16", "q8_0", "q4_0"):
        assert set(inspect(demo(precision)).tensor_types) <= TENSOR_TYPES
