"""Which models transformers is given, how it is detected, and what its settings admit."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy
import pytest
from gguf import GGUFValueType

import modelplug
import modelplug_transformers
from modelplug.backends.model import GenerateParams, Model
from modelplug.backends.types import BackendState, LoadRequest
from modelplug.errors import BackendError, ConfigError, ModelFileError
from modelplug.formats.inspection import inspect
from modelplug.system.info import CpuInfo, Device, MemoryInfo, SystemInfo
from modelplug_transformers import detection, probe
from modelplug_transformers.loading import torch_device, translated_errors
from modelplug_transformers.settings import TransformersSettings

U32 = GGUFValueType.UINT32
F32 = GGUFValueType.FLOAT32


def system(*devices: Device) -> SystemInfo:
    """Describe a machine."""
    return SystemInfo(
        os="linux",
        os_version="test",
        python="3.11",
        cpu=CpuInfo(model="", architecture="x86_64", physical_cores=2, logical_cores=2, usable_cores=2),
        memory=MemoryInfo(total=8 << 30, available=8 << 30),
        devices=devices,
    )


H100 = Device(id="cuda:0", api="cuda", index=0, name="H100", vendor="nvidia")

# What transformers would load and run wrongly without a word.
VARIANTS: dict[str, tuple[dict[str, Any], str]] = {
    "scaled-positions": (
        {
            "change": {
                "llama.rope.scaling.type": ("linear", GGUFValueType.STRING),
                "llama.rope.scaling.factor": (2.0, F32),
            }
        },
        "linear scaling",
    ),
    "position-frequencies": (
        {"add_tensors": {"rope_freqs.weight": numpy.ones(16, dtype=numpy.float32)}},
        "position frequencies",
    ),
    "unknown-tensors": (
        {"add_tensors": {"blk.0.attn_q.bias": numpy.ones(128, dtype=numpy.float32)}},
        "no place for 128",
    ),
    "missing-tensors": ({"drop_tensors": ("blk.1.ffn_up.weight",)}, "random numbers"),
    "too-few-layers": ({"change": {"llama.block_count": (3, U32)}}, "no place for"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_files_it_would_run_wrongly_are_refused(
    load: Callable[..., Model],
    demo: Callable[[str], Path],
    tmp_path: Path,
    rewrite: Callable[..., Path],
    name: str,
) -> None:
    """The error says why, before anybody sees wrong text."""
    changes, why = VARIANTS[name]
    with pytest.raises(BackendError) as caught:
        load(rewrite(demo("f16"), tmp_path / f"{name}.gguf", **changes))
    assert why in caught.value.why
    assert caught.value.phase == "load"


@pytest.mark.parametrize("key", ["llama.attention.head_count", "llama.embedding_length", "llama.vocab_size"])
def test_values_that_contradict_the_tensors_are_errors(
    load: Callable[..., Model],
    demo: Callable[[str], Path],
    tmp_path: Path,
    rewrite: Callable[..., Path],
    key: str,
) -> None:
    """Whatever the engine raises becomes a `BackendError`."""
    with pytest.raises(BackendError) as caught:
        load(rewrite(demo("f16"), tmp_path / "model.gguf", change={key: (0, U32)}))
    assert caught.value.why


def test_a_model_that_computes_no_numbers_is_an_error(
    load: Callable[..., Model], demo: Callable[[str], Path], tmp_path: Path, rewrite: Callable[..., Path]
) -> None:
    """NaN gives no text made of nonsense."""
    change = {"llama.attention.layer_norm_rms_epsilon": (float("nan"), F32)}
    model = load(rewrite(demo("f16"), tmp_path / "model.gguf", change=change))
    with pytest.raises(BackendError, match="no numbers"):
        list(model.generate("ROMEO:"))


def test_other_models_files_beside_a_gguf_file_are_not_mixed_in(
    load: Callable[..., Model], demo: Callable[[str], Path], tmp_path: Path
) -> None:
    """A GGUF file gives the same text alone and beside another model's configuration."""
    path = tmp_path / "model.gguf"
    path.write_bytes(demo("f16").read_bytes())
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "auto_map": {"AutoConfig": "x.Y"}}')
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "nonsense", "chat_template": "x"}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [13]}')
    params = GenerateParams(max_tokens=16, temperature=0)
    alone, beside = (
        "".join(chunk.text for chunk in load(file).generate("ROMEO:", params)) for file in (demo("f16"), path)
    )
    assert alone == beside


def _train_sentencepiece(path: Path, **options: Any) -> Any:
    """Put a small SentencePiece tokenizer into a model's directory, and give the original implementation."""
    sentencepiece = importlib.import_module("sentencepiece")
    words = ("my", "lord", "and", "lady", "go", "to", "the", "city", "with", "love", "speak", "no", "more")
    lines = [" ".join(words[(3 * start + 5 * step) % len(words)] for step in range(9)) for start in range(60)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(path / "tokenizer"),
        model_type="bpe",
        vocab_size=320,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    return sentencepiece.SentencePieceProcessor(model_file=str(path / "tokenizer.model"))


def test_a_bare_sentencepiece_tokenizer_gives_its_own_tokens(
    load: Callable[..., Model], directory: Callable[..., Path]
) -> None:
    """With `tokenizer.model` alone, tokens are those of SentencePiece, with the start token in front."""
    path = directory(drop=("tokenizer.json", "tokenizer_config.json"))
    original = _train_sentencepiece(path, normalization_rule_name="identity", remove_extra_whitespaces=False)
    model = load(path)
    for text in ("my lord, go", " two  spaces", "naïve 日本", "\n\n", "love\tno more"):
        assert model.tokenize(text) == [1, *original.encode(text)]
        assert model.detokenize(model.tokenize(text)) == text


def test_a_tokenizer_that_would_give_other_tokens_is_refused(
    load: Callable[..., Model], directory: Callable[..., Path]
) -> None:
    """A SentencePiece file whose rules transformers does not carry over is an error, not garbage."""
    path = directory(drop=("tokenizer.json", "tokenizer_config.json"))
    _train_sentencepiece(path, normalization_rule_name="nmt_nfkc_cf")
    with pytest.raises(BackendError, match="can't run") as caught:
        load(path)
    assert "other tokens than the original" in caught.value.why


def test_a_damaged_tokenizer_is_refused(load: Callable[..., Model], directory: Callable[..., Path]) -> None:
    """It becomes a `BackendError` that says what the engine said."""
    model = directory()
    (model / "tokenizer.json").write_text("{")
    with pytest.raises(BackendError) as caught:
        load(model)
    assert caught.value.why


@pytest.mark.parametrize(
    ("method", "package"), [("gptq", "gptqmodel"), ("awq", "gptqmodel"), ("aqlm", "aqlm")]
)
def test_quantised_directories_need_their_package(
    load: Callable[..., Model],
    directory: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    package: str,
) -> None:
    """The error names the method and the package, before anything is loaded."""
    found = importlib.util.find_spec
    quantisers = {"gptqmodel", "auto_gptq", "awq", "aqlm"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in quantisers else found(name, *rest)
    )
    with pytest.raises(BackendError) as caught:
        load(directory(quantization_config={"quant_method": method, "bits": 4}))
    assert caught.value.cause == "missing-package"
    assert package in caught.value.why


def test_code_that_comes_with_a_model_does_not_run_unasked(
    load: Callable[..., Model], directory: Callable[..., Path], tmp_path: Path
) -> None:
    """Neither a known nor an unknown kind of model runs its code, and the error says how to allow it."""
    flag = tmp_path / "ran"
    code = f"import pathlib\npathlib.Path({str(flag)!r}).write_text('x')\n"
    auto_map = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    model = directory("own", model_type="own", auto_map=auto_map)
    (model / "own.py").write_text(code)
    with pytest.raises(BackendError) as caught:
        load(model)
    assert "architecture own" in caught.value.why or caught.value.cause == "remote-code"
    assert not flag.exists()


def test_pytorch_files_are_not_unpickled_unsafely(
    load: Callable[..., Model], directory: Callable[..., Path], tmp_path: Path
) -> None:
    """A weight file that would run code when unpickled is an error, and the code does not run."""
    torch = importlib.import_module("torch")
    flag = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.write_text, (flag, "x"))

    model = directory(drop=("model.safetensors",))
    torch.save({"lm_head.weight": torch.zeros(2, 2), "evil": Evil()}, model / "pytorch_model.bin")
    with pytest.raises((BackendError, ModelFileError)):
        load(model)
    assert not flag.exists()


def test_pytorch_directories_load(
    load: Callable[..., Model], directory: Callable[..., Path], demo: Callable[[str], Path]
) -> None:
    """The same weights in a PyTorch file give the same text."""
    torch = importlib.import_module("torch")
    tensors = importlib.import_module("safetensors.torch").load_file(demo("hf") / "model.safetensors")
    model = directory(drop=("model.safetensors",))
    torch.save(tensors, model / "pytorch_model.bin")
    params = GenerateParams(max_tokens=16, temperature=0)
    first, second = (
        "".join(chunk.text for chunk in load(path).generate("ROMEO:", params)) for path in (demo("hf"), model)
    )
    assert first == second


def test_settings_are_checked(load: Callable[..., Model], demo: Callable[[str], Path]) -> None:
    """Unknown names, wrong values and contradictions are errors; the guide's name for the type works."""
    wrong: list[dict[str, Any]] = [
        {"torch_dtype": "int8"},
        {"gpu_layer": 3},
        {"batch_size": 0},
        {"dtype": "float32", "torch_dtype": "float16"},
    ]
    for settings in wrong:
        with pytest.raises(ConfigError):
            load(demo("hf"), settings=settings)
    model = load(demo("hf"), settings={"torch_dtype": "bfloat16", "device_map": "auto", "batch_size": 32})
    assert str(next(iter(model._loaded.model.parameters())).dtype) == "torch.bfloat16"  # type: ignore[attr-defined]
    assert model.effective.batch_size == 32
    assert TransformersSettings(dtype="float16").precision == "float16"


def test_the_context_ends_where_the_model_ends(
    load: Callable[..., Model], demo: Callable[[str], Path]
) -> None:
    """More context than the model has positions is cut, and a note says so."""
    model = load(demo("hf"), context_size=100_000)
    assert model.effective.context_size == 512
    assert "512" in model.effective.notes[0]


def test_the_process_is_left_as_it_was(demo: Callable[[str], Path]) -> None:
    """Loading inline sets no environment variable and prints nothing."""
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "import modelplug_transformers as plugin\n"
        "from modelplug.backends.types import LoadRequest\n"
        "from modelplug.formats.inspection import inspect\n"
        "path = Path(sys.argv[1]); before = dict(os.environ)\n"
        "request = LoadRequest(backend='transformers', path=path, info=inspect(path))\n"
        "model = plugin.modelplug_load_model(request)\n"
        "list(model.generate('ROMEO:'))\n"
        "assert dict(os.environ) == before, set(os.environ) ^ set(before)\n"
        "import huggingface_hub.constants as hub\n"
        "assert hub.HF_HUB_OFFLINE\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(demo("f16"))], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_detection_imports_no_engine() -> None:
    """A fresh interpreter that detects has imported neither the engine nor anything heavy."""
    code = (
        "import sys, modelplug_transformers as plugin\n"
        "from modelplug.system.info import *\n"
        "cpu = CpuInfo(model='', architecture='x86_64', physical_cores=1, logical_cores=1, usable_cores=1)\n"
        "memory = MemoryInfo(total=1, available=1)\n"
        "system = SystemInfo(os='linux', os_version='', python='', cpu=cpu, memory=memory)\n"
        "report = plugin.modelplug_detect_backends(system)\n"
        "heavy = {'transformers', 'numpy', 'torch', 'huggingface_hub', 'accelerate'} & set(sys.modules)\n"
        "print(report.state, sorted(heavy))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["cpu", "[]"]


@pytest.mark.parametrize(
    ("version", "state"),
    [("2.6.0+cpu", "cpu"), ("2.6.0+cu124", "gpu"), ("2.6.0", "gpu"), ("2.6.0+rocm6.2", "cpu")],
)
def test_detection_tells_from_torchs_build_whether_the_gpu_is_used(
    monkeypatch: pytest.MonkeyPatch, version: str, state: str
) -> None:
    """A CPU build beside a GPU is CPU only, with the cause."""
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version if name == "torch" else "5.0.0")
    monkeypatch.setattr(sys, "platform", "linux")
    report = detection.report(system(H100))
    assert report.state.value == state
    assert (report.devices == ("cuda:0",)) == (state == "gpu")
    assert report.dequantises == (2.0 if state == "gpu" else 4.0)
    assert bool(report.cause) == (state == "cpu")


def test_detection_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch it is broken; without transformers it is not installed."""
    missing = {"torch"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else object())
    report = detection.report(system())
    assert report.state is BackendState.BROKEN
    assert "torch" in report.cause
    missing.add("transformers")
    assert detection.report(system()).state is BackendState.NOT_INSTALLED


def test_the_deep_probe_asks_the_installed_version() -> None:
    """Architectures come from the engine's own tables."""
    fields = probe.probe()
    assert {"llama", "qwen2", "gpt2", "qwen3moe"} <= set(fields["architectures"])
    assert fields["state"] in ("cpu", "gpu")
    assert json.dumps(fields)


@pytest.mark.parametrize(
    ("device", "environ", "expected"),
    [
        ("cpu", {}, "cpu"),
        ("cuda:1", {}, "cuda:1"),
        ("cuda:1", {"CUDA_VISIBLE_DEVICES": "3,1"}, "cuda:1"),
        ("cuda:3", {"CUDA_VISIBLE_DEVICES": "3,1"}, "cuda:0"),
        ("rocm:2", {"HIP_VISIBLE_DEVICES": "2"}, "cuda:0"),
        ("metal:0", {}, "mps"),
    ],
)
def test_devices_are_named_as_torch_names_them(device: str, environ: dict[str, str], expected: str) -> None:
    """The driver's number becomes torch's, which counts visible devices only."""
    assert torch_device(device, environ) == expected


def test_running_out_of_memory_is_told_apart() -> None:
    """It has its own cause, so that loading can be tried with less."""
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")):
        with pytest.raises(BackendError) as caught, translated_errors("load", "could not load"):
            raise error
        assert caught.value.cause == "out-of-memory"


def test_architectures_the_installed_version_lacks_are_refused(
    demo: Callable[[str], Path],
) -> None:
    """The error names the architecture and says whether it is the format or the model that is unknown."""
    info = attrs.evolve(inspect(demo("f16")), architecture="rwkv7")
    request = LoadRequest(backend="transformers", path=info.path, info=info)
    with pytest.raises(BackendError) as caught:
        modelplug_transformers.modelplug_load_model(request)
    assert "rwkv7 from GGUF files" in caught.value.why


def test_the_hook_leaves_other_backends_alone(demo: Callable[[str], Path]) -> None:
    """A request for another backend is not this plugin's business."""
    request = LoadRequest(backend="llamacpp", path=demo("f16"), info=inspect(demo("f16")))
    assert modelplug_transformers.modelplug_load_model(request) is None


def test_damaged_files_never_reach_the_engine(demo: Callable[[str], Path], tmp_path: Path) -> None:
    """Inspection rejects them with a clear error."""
    data = demo("q8_0").read_bytes()
    for damaged in (b"", data[:2000], data[: len(data) // 2], b"<!DOCTYPE html>"):
        path = tmp_path / "model.gguf"
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError):
            modelplug.load(path, backend="transformers")


def test_a_model_runs_in_a_worker(demo: Callable[[str], Path]) -> None:
    """The same tokens come through the worker as inline, and no file stays behind."""
    params = modelplug.GenerateParams(max_tokens=16, temperature=0)
    texts = []
    for isolation in ("process", "inline"):
        with modelplug.load(
            demo("f16"), backend="transformers", isolation=isolation, threads=1, context_size=128
        ) as model:
            texts.append("".join(chunk.text for chunk in model.generate("ROMEO:", params)))
            assert model.effective.context_size == 128
    assert texts[0] == texts[1]
