"""Converted models compute what their sources compute: llama.cpp against transformers, for every layout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

import modelplug
from modelplug import ModelConverter
from modelplug.backends.types import ConvertRequest, LoadRequest
from modelplug.errors import ConversionMismatchError, ConversionRefusedError, UsageError
from modelplug.formats import inspect

modelplug_llamacpp = pytest.importorskip("modelplug_llamacpp")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

REAL = Path(__file__).parents[2] / "shared/data/models/tiny-llama"
FIGURES = {
    "vocab_size": 320,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LAYOUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "all-heads": ("Llama", {"num_key_value_heads": 4}),
    "tied": ("Llama", {"tie_word_embeddings": True}),
    "biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "wide-heads": ("Llama", {"head_dim": 48}),
    "theta": ("Llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}),
    "linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0}}),
    "llama3": ("Llama", {"rope_parameters": LLAMA3}),
    "mistral": ("Mistral", {"sliding_window": 200, "head_dim": 32}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
}
# A text of any tokens: what a tokenizer makes of it does not matter here.
TOKENS = [1, *((7 * number * number + 3) % 300 + 3 for number in range(47))]


@pytest.fixture(scope="module", autouse=True)
def engine_imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Import and use transformers before the first test, because that leaves traces in the process."""
    import tqdm

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("compiler")))
        # Otherwise a thread watches over the progress bars for as long as the process lives.
        patch.setattr(tqdm.tqdm, "monitor_interval", 0)
        _, model = random_model("llama", tmp_path_factory.mktemp("first"))
        model(torch.tensor([TOKENS]))
        yield


def random_model(layout: str, directory: Path) -> tuple[Path, Any]:
    """A model directory with random weights, large enough that every part matters; and the model."""
    family, changes = LAYOUTS[layout]
    config = getattr(transformers, f"{family}Config")(**{**FIGURES, **changes})
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() == 1:
                weights.add_(0.3 * torch.randn(weights.shape, generator=generator))
            else:
                wide = 1.0 if "embed" in name else weights.shape[1] ** -0.5
                weights.normal_(0, wide, generator=generator)
    # Numbers that F16 holds exactly, so that only the computation can differ.
    model = model.half().float()
    model.half().save_pretrained(directory)
    write_tokenizer(directory)
    return directory, model.float().eval()


def write_tokenizer(directory: Path) -> None:
    """A tokenizer of bytes and letters, which every library reads alike.

    No letter is a byte: engines tell probabilities by text, and random weights make all tokens as probable.
    """
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    texts += ["\u2581", *map(chr, range(0x410, 0x450))][: 320 - len(texts)]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": texts[number],
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number in range(3)
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": {text: number for number, text in enumerate(texts)},
            "merges": [],
        },
    }
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))


def converted(source: Path, output: Path, quantization: str = "F16") -> Path:
    """The result of the plugin alone, without the core's verification."""
    request = ConvertRequest(
        path=source,
        info=inspect(source),
        format="gguf",
        output=output,
        options={"quantization": quantization},
    )
    assert modelplug_llamacpp.modelplug_convert_model(request) == output
    return output


@contextmanager
def in_llama_cpp(path: Path) -> Iterator[Any]:
    """A model in llama.cpp, in this process."""
    from modelplug_llamacpp.engine import LlamaCppModel

    request = LoadRequest(
        backend="llamacpp", path=path, info=inspect(path), context_size=128, threads=1,
        settings={"kv_type": "f32", "flash_attention": False},
    )  # fmt: skip
    model = LlamaCppModel(request)
    try:
        yield model
    finally:
        model.close()


def log_probabilities(model: Any, ids: list[int]) -> dict[int, float]:
    """Token id -> log probability of the most probable tokens after `ids`; empty where the text ends."""
    body = {"prompt": ids, "n_predict": 1, "n_probs": 64, "temperature": 0.0, "stream": False}
    with model._connected() as connection:
        answer = connection.post("/completion", body)
    told = answer.get("completion_probabilities") or [{"top_logprobs": []}]
    return {entry["id"]: entry["logprob"] for entry in told[0]["top_logprobs"]}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_computes_what_transformers_computes(layout: str, tmp_path: Path) -> None:
    """In F16, the 64 most probable tokens have the log probabilities of transformers, token by token."""
    source, model = random_model(layout, tmp_path / layout)
    path = converted(source, tmp_path / "out.gguf")
    with in_llama_cpp(path) as engine, torch.no_grad():
        compared = 0
        for length in (2, 9, 17, 23, 31, 39, len(TOKENS)):
            logits = model(torch.tensor([TOKENS[:length]])).logits[0, -1]
            expected = torch.log_softmax(logits, 0)
            found = log_probabilities(engine, TOKENS[:length])
            compared += len(found)
            # llama.cpp rounds what it multiplies with F16 weights to F16 too: 2**-11, over some layers.
            worst = max((abs(value - float(expected[token])) for token, value in found.items()), default=0)
            assert worst < 0.03
        # Where the most probable token ends the text, or is part of a character, nothing is told.
        assert compared >= 3 * 64


def test_the_sliding_window_is_said_and_kept_within(tmp_path: Path) -> None:
    """A window below the context's length limits the context, and the plan says so."""
    source, _ = random_model("mistral", tmp_path / "mistral")
    info = inspect(source)
    request = ConvertRequest(path=source, info=info, format="gguf", output=tmp_path / "out.gguf")

    plan = modelplug_llamacpp.modelplug_plan_conversion(request)
    assert "limited to 200 tokens instead of 256" in plan.notes[0]
    assert inspect(converted(source, tmp_path / "out.gguf")).context_length == 200


@pytest.mark.parametrize("quantization", ["F16", "Q8_0"])
@pytest.mark.parametrize("broken", ["order", "theta"])
def test_a_wrong_conversion_does_not_come_through(
    broken: str, quantization: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With rows in the wrong order, or positions at the wrong speed, verification throws the file away.

    The same model converted rightly comes through.
    """
    import modelplug_llamacpp.conversion as conversion

    source, _ = random_model("theta", tmp_path / "model")
    right = conversion.read_configuration

    def wrong(directory: Path) -> Any:
        config = right(directory)
        assert config is not None
        if broken == "order":
            return attrs.evolve(config, family=attrs.evolve(config.family, interleaved=False))
        return attrs.evolve(config, rope=attrs.evolve(config.rope, theta=10000.0))

    sound = ModelConverter().convert(source, to=quantization).verification
    assert sound is not None
    assert sound.method == "logits"
    monkeypatch.setattr(conversion, "read_configuration", wrong)
    with pytest.raises(ConversionMismatchError) as caught:
        ModelConverter().convert_model(source, to=quantization, output=tmp_path / "wrong.gguf")
    assert caught.value.measured is not None
    assert sound.error < caught.value.limit < caught.value.measured
    assert not (tmp_path / "wrong.gguf").exists()


def test_what_was_converted_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's lines: ask, convert, load; a second conversion gives the file of the first."""
    monkeypatch.setenv("MODELPLUG_DISABLE_PLUGINS", "transformers,ctransformers,llamafile")
    source, _ = random_model("tied", tmp_path / "model")
    converter = ModelConverter()

    assert converter.needs_conversion(source)
    path = converter.convert_model(source)
    result = modelplug.GGUFModel().load(path)
    assert result.success, result.error
    assert result.model is not None
    result.model.close()

    written = path.stat().st_mtime_ns
    assert converter.convert(source).converted is False
    assert path.stat().st_mtime_ns == written
    with pytest.raises(UsageError, match="exists"):
        converter.convert(source, to="Q8_0", output=path)
    os.utime(source / "model.safetensors")
    with pytest.raises(UsageError, match="exists"):
        converter.convert(source)
    assert converter.convert(source, force=True).converted


@pytest.mark.skipif(not REAL.exists(), reason="the real models are not here")
def test_the_program_converts_a_real_model(tmp_path: Path) -> None:
    """`modelplug convert` verifies by running both, and says so; a refusal has its exit code and tool."""
    source = tmp_path / "tiny"
    source.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.model"):
        shutil.copy(REAL / name, source)
    program = [sys.executable, "-m", "modelplug", "convert"]
    done = subprocess.run([*program, str(source), "--to", "Q8_0", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert Path(answer["path"]) == tmp_path / "tiny-Q8_0.gguf"
    assert answer["verification"]["method"] == "logits"
    assert answer["verification"]["error"] < 0.1

    again = subprocess.run([*program, answer["path"], "--json"], capture_output=True, text=True)
    assert again.returncode == 1
    assert json.loads(again.stdout)["tool"] == "llama-quantize"
    assert again.stderr.startswith("error: tiny-Q8_0.gguf can't be converted here\n")


def test_old_formats_are_run_or_refused_by_name(tmp_path: Path) -> None:
    """A GGJT file is refused with llama.cpp's script or, where that can't read it, what has to be fetched."""
    sample = tmp_path / "old.bin"
    for version, kind, tool in ((3, 8, "convert_llama_ggml_to_gguf.py"), (1, 8, "convert_hf_to_gguf.py")):
        sample.write_bytes(ggjt(version, kind))
        assert inspect(sample).format == "ggjt"
        with pytest.raises(ConversionRefusedError) as caught:
            ModelConverter().convert_model(sample)
        assert caught.value.tool == tool


def ggjt(version: int, kind: int) -> bytes:
    """A Llama file of the format GGJT with one layer's worth of one tensor, packed as Q8_0."""
    import struct

    data = b"tjgg" + struct.pack("<8I", version, 1, 32, 256, 1, 1, 32, 7)
    data += struct.pack("<I", 1) + b"a" + struct.pack("<f", 0.0)
    name = b"tok_embeddings.weight"
    data += struct.pack("<5I", 2, len(name), kind, 32, 1) + name
    data += bytes(-len(data) % 32)
    return data + bytes(34 if version == 3 else 36)
