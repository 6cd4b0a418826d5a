"""Hugging Face directories and caches."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from core.tests.formats import format_samples as samples

from modelplug.errors import ModelFileError, NotAModelError, TruncatedModelError
from modelplug.formats import ModelInfo, inspect

SHARED = Path(os.environ.get("MODELPLUG_SHARED", Path(__file__).resolve().parents[4] / "shared"))
REVISION = "0123456789abcdef0123456789abcdef01234567"


def test_what_a_hugging_face_directory_says(tmp_path: Path) -> None:
    """Configuration, weights and tokenizer together fill the record."""
    directory = samples.write_files(tmp_path / "model", samples.huggingface_files())
    info = inspect(directory)
    assert (info.format, info.format_version, info.architecture) == ("huggingface", "safetensors", "llama")
    assert info.path == directory
    assert (info.layers, info.heads, info.heads_kv, info.key_length) == (2, 4, (2, 2), 2)
    assert (info.context_length, info.vocabulary_size, info.quantization) == (256, 16, "F16")
    assert info.tokenizer == "LlamaTokenizer"
    assert info.chat_template
    assert info.metadata["architectures"] == ["LlamaForCausalLM"]
    assert info.weights.total == 2 * (info.parameters or 0)
    assert info.files == (directory / "model.safetensors",)


@pytest.mark.parametrize("name", ["chat_template.jinja", "chat_template.json"])
def test_a_chat_template_of_its_own_file(name: str, tmp_path: Path) -> None:
    """A template may be in the tokenizer's settings or in a file of its own."""
    files = samples.huggingface_files() | {"tokenizer_config.json": b"{}"}
    samples.write_files(tmp_path, files)
    assert not inspect(tmp_path).chat_template
    (tmp_path / name).write_text("{{ messages }}")
    assert inspect(tmp_path).chat_template


def test_sharded_weights(tmp_path: Path) -> None:
    """The index says which files belong to the model; a missing one is named."""
    samples.write_files(tmp_path, samples.sharded_huggingface_files())
    info = inspect(tmp_path)
    assert [path.name for path in info.files] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    assert info.parameters == 256
    info.files[1].unlink()
    with pytest.raises(ModelFileError, match=r"model-00002-of-00002.safetensors is missing"):
        inspect(tmp_path)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd.safetensors", ".hidden.safetensors"])
def test_an_index_that_points_elsewhere(name: str, tmp_path: Path) -> None:
    """An index can't make inspection read files outside the directory."""
    index = json.dumps({"weight_map": {"a": name}}).encode()
    samples.write_files(tmp_path, {"config.json": b"{}", "model.safetensors.index.json": index})
    with pytest.raises(ModelFileError, match="not a plain file name"):
        inspect(tmp_path)


@pytest.mark.parametrize(
    ("method", "bits", "quantization", "parameters"),
    [("gptq", 4, "GPTQ-4", 8 * 64 + 128), ("awq", 8, "AWQ-8", 4 * 64 + 128), ("hqq", 4, "HQQ", None)],
)
def test_quantised_directories(
    method: str, bits: int, quantization: str, parameters: int | None, tmp_path: Path
) -> None:
    """GPTQ and AWQ are named, and their packed weights counted as what they stand for."""
    rows = {
        "model.embed_tokens.weight": ("F16", (16, 8), bytes(256)),
        "model.layers.0.q_proj.qweight": ("I32", (8, 8), bytes(256)),
        "model.layers.0.q_proj.scales": ("F16", (1, 8), bytes(16)),
    }
    config = samples.llama_config(
        quantization_config={"quant_method": method, "bits": bits, "group_size": 128}
    )
    samples.write_files(tmp_path, {"config.json": config, "model.safetensors": samples.safetensors(rows)})
    info = inspect(tmp_path)
    assert (info.quantization, info.parameters) == (quantization, parameters)
    assert info.metadata["quantization_config"]["bits"] == bits


def test_a_cache_repository_and_its_snapshot(tmp_path: Path) -> None:
    """A repository in the Hugging Face cache stands for the snapshot its main branch points to."""
    repository = tmp_path / "models--org--name"
    blobs = samples.write_files(repository / "blobs", samples.huggingface_files())
    snapshot = repository / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    for blob in blobs.iterdir():
        (snapshot / blob.name).symlink_to(blob)
    samples.write_files(repository / "snapshots" / "other", {"config.json": b"{}"})
    samples.write_files(repository / "refs", {"main": REVISION.encode()})
    info = inspect(repository)
    assert info.name == "org/name"
    assert info.path == repository
    assert info.files == (snapshot / "model.safetensors",)
    assert inspect(snapshot).fingerprint == info.fingerprint
    (repository / "refs" / "main").unlink()
    os.utime(repository / "snapshots" / "other", (1, 1))
    assert inspect(repository).fingerprint == info.fingerprint
    with pytest.raises(NotAModelError, match="it is a Hugging Face cache of 1 models"):
        inspect(tmp_path)


def test_a_cache_link_to_an_unfinished_blob(tmp_path: Path) -> None:
    """A weight file whose blob is not there leaves a directory without weights."""
    samples.write_files(tmp_path, {"config.json": samples.llama_config()})
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ModelFileError):
        inspect(tmp_path)


def test_a_pytorch_directory(tmp_path: Path) -> None:
    """Pickled weights are counted too."""
    samples.write_files(tmp_path, samples.directories()["pytorch"])
    info = inspect(tmp_path)
    assert (info.format, info.format_version, info.parameters) == ("huggingface", "pytorch", 320)
    assert any("no tokenizer" in warning for warning in info.warnings)


def test_an_adapter_directory(tmp_path: Path) -> None:
    """A LoRA directory is an adapter that names its base model."""
    samples.write_files(tmp_path, samples.adapter_files())
    info = inspect(tmp_path)
    assert info.kind == "adapter"
    assert info.metadata["adapter.base_model_name_or_path"] == "org/base"
    assert info.metadata["adapter.r"] == 8
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(NotAModelError, match="holds no weights"):
        inspect(tmp_path)


def test_a_directory_with_one_gguf(tmp_path: Path) -> None:
    """A single model in a directory is that model; a projector beside it does not count."""
    samples.write_files(
        tmp_path, {"model.gguf": samples.llama_gguf(), "mmproj-f16.gguf": samples.llama_gguf()}
    )
    info = inspect(tmp_path)
    assert info.path == tmp_path
    assert info.files == (tmp_path / "model.gguf",)


def test_a_directory_with_shards(tmp_path: Path) -> None:
    """The shards of one model are one model, and a missing first shard is reported."""
    samples.write_files(tmp_path, samples.shards(3))
    assert len(inspect(tmp_path).files) == 3
    (tmp_path / "tiny-00001-of-00003.gguf").unlink()
    with pytest.raises(ModelFileError, match="shard 1 of 3 is missing"):
        inspect(tmp_path)


def test_a_directory_with_several_models(tmp_path: Path) -> None:
    """Several models are listed, and one is suggested to be chosen."""
    samples.write_files(tmp_path, {"a.gguf": samples.llama_gguf(), "b.gguf": samples.llama_gguf()})
    with pytest.raises(ModelFileError, match=r"holds 2 models: found a.gguf, b.gguf") as caught:
        inspect(tmp_path)
    assert str(tmp_path / "a.gguf") in caught.value.advice


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "it is empty"),
        ({"notes.txt": b"hello"}, "neither a GGUF file nor config.json"),
        ({"model.gguf.part": b"GGUF"}, "unfinished download: model.gguf.part"),
    ],
)
def test_directories_without_a_model(files: dict[str, bytes], words: str, tmp_path: Path) -> None:
    """A directory that holds no model is told what it holds instead."""
    samples.write_files(tmp_path, files)
    with pytest.raises(NotAModelError, match=words):
        inspect(tmp_path)


def test_a_configuration_without_weights(tmp_path: Path) -> None:
    """A configuration alone is not a model."""
    samples.write_files(tmp_path, {"config.json": samples.llama_config()})
    with pytest.raises(NotAModelError, match="a configuration but no weights"):
        inspect(tmp_path)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (b"{", "it is not JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff\xff", "it is not JSON"),
        (b"[" * 100_000, "nested too deeply|not JSON"),
        (b"{}" + b" " * (2 << 20), "at most 1048576"),
        (samples.llama_config(num_hidden_layers="two"), "'num_hidden_layers' is 'two'"),
        (samples.llama_config(num_hidden_layers=1 << 40), "'num_hidden_layers' is 1099511627776"),
        (samples.llama_config(model_type=5), "'model_type' is 5 instead of a text"),
    ],
)
def test_damaged_configurations(config: bytes, words: str, tmp_path: Path) -> None:
    """A configuration that can't be used is refused by name."""
    samples.write_files(tmp_path, samples.huggingface_files() | {"config.json": config})
    with pytest.raises(ModelFileError, match=words):
        inspect(tmp_path)


def test_truncated_weights_in_a_directory(tmp_path: Path) -> None:
    """A weight file that is cut off is reported by its name."""
    weights = samples.llama_safetensors()[:-1]
    samples.write_files(tmp_path, samples.huggingface_files() | {"model.safetensors": weights})
    with pytest.raises(TruncatedModelError, match=r"model.safetensors ends early"):
        inspect(tmp_path)


def test_a_plugins_format(tmp_path: Path) -> None:
    """A file or directory the core does not know is offered to the plugins before it is refused."""
    seen: list[Path] = []

    def extra(path: Path) -> ModelInfo | None:
        seen.append(path)
        return ModelInfo(path=path, format="exotic") if path.suffix == ".exotic" else None

    path = tmp_path / "model.exotic"
    path.write_bytes(b"EXOT" + bytes(range(200)))
    assert inspect(path, extra=extra).format == "exotic"
    other = tmp_path / "model.unknown"
    other.write_bytes(b"\x01\x02\x03\x04")
    with pytest.raises(NotAModelError):
        inspect(other, extra=extra)
    folder = tmp_path / "folder.exotic"
    folder.mkdir()
    assert inspect(folder, extra=extra).format == "exotic"
    assert seen == [path, other, folder]


def test_the_home_directory_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the user's home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "model.gguf").write_bytes(samples.llama_gguf())
    assert inspect("~/model.gguf").path == tmp_path / "model.gguf"


def test_real_tiny_llama_directory() -> None:
    """The tiny trained model's directory is read exactly."""
    directory = SHARED / "data" / "models" / "tiny-llama"
    if not directory.exists():
        pytest.skip("the shared models are not here; generated ones cover the same")
    info = inspect(directory)
    expected: dict[str, Any] = {"format": "huggingface", "parameters": 1_049_728, "quantization": "F16"}
    assert {name: getattr(info, name) for name in expected} == expected
