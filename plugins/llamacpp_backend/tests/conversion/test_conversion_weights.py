"""What is in a converted file: every tensor in its place, order and type."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelplug_llamacpp
from modelplug.errors import (
    ConversionError,
    ConversionMismatchError,
    ConversionRefusedError,
    ModelFileError,
    NothingSuitableError,
)
from modelplug.formats import inspect
from modelplug_llamacpp.conversion.checking import _allowed, check_file
from modelplug_llamacpp.conversion.configuration import read_configuration
from modelplug_llamacpp.conversion.mapping import map_tensors
from modelplug_llamacpp.conversion.weights import open_weights
from modelplug_llamacpp.conversion.writing import packed

SHARED = Path(__file__).parents[5] / "shared/data/models/tiny-llama"
TYPES = ("F16", "Q8_0", "Q4_0")


def tensors_of(path: Path) -> dict[str, Any]:
    """Name -> tensor, with its data copied so that the file can be removed."""
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


@pytest.mark.skipif(not SHARED.exists(), reason="the real models are not here")
@pytest.mark.parametrize("quantization", TYPES)
def test_a_real_model_is_converted_as_others_convert_it(
    quantization: str, tmp_path: Path, models: Any
) -> None:
    """Every tensor has the very bytes that it has in a file made independently, but Q4_0's output head."""
    source = tmp_path / "tiny"
    source.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.model"):
        (source / name).symlink_to(SHARED / name)
    ours = gguf.GGUFReader(models.convert(source, tmp_path / "out.gguf", quantization))
    theirs = gguf.GGUFReader(SHARED / f"tiny-{quantization.lower()}.gguf")
    found, expected = ({t.name: t for t in reader.tensors} for reader in (ours, theirs))

    assert set(found) == set(expected)
    for name, tensor in found.items():
        if quantization == "Q4_0" and name == "output.weight":
            assert tensor.tensor_type.name == "Q8_0"
            continue
        assert tensor.tensor_type == expected[name].tensor_type
        np.testing.assert_array_equal(tensor.data, expected[name].data)
    for key, field in theirs.fields.items():
        if not key.startswith("GGUF.") and key != "general.name":
            assert ours.fields[key].contents() == field.contents(), key


@pytest.mark.parametrize("kind", ["F64", "F32", "F16", "BF16"])
def test_every_type_of_source_is_read(kind: str, tmp_path: Path, models: Any) -> None:
    """F16 tensors hold the nearest number to the source's, norms the very number."""
    path = models.convert(models.write_model(tmp_path / "model", kind), tmp_path / "out.gguf")
    weights = models.weights_of(models.FIGURES)
    found = tensors_of(path)

    down = models.loaded_as(weights["model.layers.1.mlp.down_proj.weight"], kind)
    np.testing.assert_array_equal(found["blk.1.ffn_down.weight"].data, down.astype(np.float16))
    norm = models.loaded_as(weights["model.norm.weight"], kind)
    np.testing.assert_array_equal(found["output_norm.weight"].data, norm)
    assert found["output_norm.weight"].tensor_type.name == "F32"


def test_rows_of_queries_and_keys_change_places_head_by_head(tmp_path: Path, models: Any) -> None:
    """Row i of each half of a head comes to row 2i and 2i + 1; values keep their order."""
    path = models.convert(models.write_model(tmp_path / "model"), tmp_path / "out.gguf")
    weights, found = models.weights_of(models.FIGURES), tensors_of(path)
    for ours, theirs, heads in (("attn_q", "q_proj", 4), ("attn_k", "k_proj", 2)):
        source = weights[f"model.layers.0.self_attn.{theirs}.weight"].astype(np.float16)
        stored = found[f"blk.0.{ours}.weight"].data
        for head in range(heads):
            for row in range(8):
                np.testing.assert_array_equal(stored[head * 16 + 2 * row], source[head * 16 + row])
                np.testing.assert_array_equal(stored[head * 16 + 2 * row + 1], source[head * 16 + 8 + row])
    values = weights["model.layers.0.self_attn.v_proj.weight"].astype(np.float16)
    np.testing.assert_array_equal(found["blk.0.attn_v.weight"].data, values)


@pytest.mark.parametrize(
    ("quantization", "tied", "expected"),
    [
        ("F16", False, {"output.weight": "F16", "token_embd.weight": "F16", "blk.0.ffn_up.weight": "F16"}),
        (
            "Q8_0",
            False,
            {"output.weight": "Q8_0", "token_embd.weight": "Q8_0", "blk.0.ffn_up.weight": "Q8_0"},
        ),
        (
            "Q4_0",
            False,
            {"output.weight": "Q8_0", "token_embd.weight": "Q4_0", "blk.0.ffn_up.weight": "Q4_0"},
        ),
        ("Q4_0", True, {"token_embd.weight": "Q8_0", "blk.0.ffn_up.weight": "Q4_0"}),
    ],
)
def test_types_of_tensors(
    quantization: str, tied: bool, expected: dict[str, str], tmp_path: Path, models: Any
) -> None:
    """The output head keeps eight bits in Q4_0, also where it is the embedding; norms are always F32."""
    source = models.write_model(tmp_path / "model", tie_word_embeddings=tied)
    found = tensors_of(models.convert(source, tmp_path / "out.gguf", quantization))

    assert {name: found[name].tensor_type.name for name in expected} == expected
    assert ("output.weight" in found) is not tied
    assert found["blk.0.attn_norm.weight"].tensor_type.name == "F32"


def test_rows_that_fill_no_whole_blocks_stay_f16(tmp_path: Path, models: Any) -> None:
    """A tensor with rows of 100 weights is kept in F16 in a file of Q4_0."""
    source = models.write_model(tmp_path / "model", intermediate_size=100)
    found = tensors_of(models.convert(source, tmp_path / "out.gguf", "Q4_0"))

    assert found["blk.0.ffn_down.weight"].tensor_type.name == "F16"
    assert found["blk.0.ffn_up.weight"].tensor_type.name == "Q4_0"


@given(
    values=st.lists(st.floats(-1e4, 1e4, width=32), min_size=32, max_size=32),
    kind=st.sampled_from(["Q8_0", "Q4_0"]),
)
def test_quantised_blocks_are_within_what_is_allowed(values: list[float], kind: str) -> None:
    """Whatever the weights, packing and unpacking them stays within the bound that reading back checks."""
    source = np.array([values], np.float32)
    unpacked = gguf.quants.dequantize(packed(source, kind), gguf.GGMLQuantizationType[kind])

    assert (np.abs(unpacked - source) <= _allowed(source, kind)).all()


@pytest.mark.parametrize("quantization", TYPES)
def test_a_tensor_that_was_written_wrongly_is_noticed(quantization: str, tmp_path: Path, models: Any) -> None:
    """Reading back finds a tensor whose bytes are not its source's, and one that should not be there."""
    source = models.write_model(tmp_path / "model")
    path = models.convert(source, tmp_path / "out.gguf", quantization)
    asked = models.request(source, path, quantization)
    config = read_configuration(source)
    assert config is not None
    shapes = models.shapes_of(models.FIGURES)
    targets = map_tensors(config, shapes, quantization, source)
    changed = tensors_of(path)["blk.1.ffn_gate.weight"]
    with open_weights("safetensors", asked.info.files) as weights:
        check_file(path, targets, weights, (), lambda _: None)
        with pytest.raises(ConversionMismatchError, match="not what was to be written") as surplus:
            check_file(path, targets[:-1], weights, (), lambda _: None)
        with path.open("r+b") as file:
            file.seek(int(changed.data_offset))
            file.write(bytes(changed.data.nbytes))
        with pytest.raises(ConversionMismatchError) as caught:
            check_file(path, targets, weights, (), lambda _: None)

    assert surplus.value.why == "it holds other tensors: output.weight"
    assert "blk.1.ffn_gate.weight does not hold the numbers" in caught.value.why


# Bad input -----------------------------------------------------------------------------------------------


def test_a_missing_shard_is_named(tmp_path: Path, models: Any) -> None:
    """Inspection refuses an index that names a file that is not there, before anything is planned."""
    source = models.write_model(tmp_path / "model")
    (source / "model.safetensors").rename(source / "model-00001-of-00002.safetensors")
    files = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))

    with pytest.raises(ModelFileError, match=r"model-00002-of-00002\.safetensors is missing"):
        models.request(source, tmp_path / "out.gguf")


def test_weights_in_several_files_are_joined(tmp_path: Path, models: Any) -> None:
    """A model whose weights are split over files gives the same bytes as in one file."""
    whole = models.write_model(tmp_path / "whole")
    split = models.write_model(tmp_path / "split")
    (split / "model.safetensors").unlink()
    weights = models.weights_of(models.FIGURES)
    places = {}
    for number, names in enumerate((list(weights)[::2], list(weights)[1::2])):
        file = f"model-0000{number + 1}-of-00002.safetensors"
        models.write_safetensors(split / file, {name: weights[name] for name in names})
        places |= dict.fromkeys(names, file)
    (split / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    first = tensors_of(models.convert(whole, tmp_path / "whole.gguf"))
    second = tensors_of(models.convert(split, tmp_path / "split.gguf"))

    assert set(first) == set(second)
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor.data, second[name].data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 3}, "9 of its 30 tensors are missing"),
        ({"intermediate_size": 128}, "shape 96 x 64 instead of 128 x 64"),
        ({"num_hidden_layers": 1}, "9 of its tensors have no place"),
        ({"num_attention_heads": 3, "head_dim": 16}, "3 heads of 16 elements can't share 2"),
        ({"num_attention_heads": 0}, "'num_attention_heads' in config.json is 0 instead of a whole number"),
        ({"tie_word_embeddings": "no"}, "'tie_word_embeddings' in config.json is 'no' instead of true or"),
        ({"hidden_size": None}, "'hidden_size' in config.json is missing"),
        ({"rms_norm_eps": -1}, "'rms_norm_eps' in config.json is -1 instead of a number above 0"),
        ({"hidden_act": "gelu"}, "its activation is 'gelu'"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "of the kind 'yarn'"),
        ({"rope_scaling": {"rope_type": "linear"}}, "'factor' in config.json is missing"),
        ({"partial_rotary_factor": 0.5}, "partial"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantised already \\(gptq\\)"),
        ({"vocab_size": 260}, "tokens, but the model embeds|shape"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path, models: Any
) -> None:
    """A configuration that contradicts itself or the weights, or wants what llama.cpp lacks, is refused."""
    source = models.write_model(tmp_path / "model")
    config = {**json.loads((source / "config.json").read_text()), **changes}
    (source / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    output = tmp_path / "out.gguf"

    with pytest.raises(ConversionRefusedError, match=message):
        modelplug_llamacpp.modelplug_plan_conversion(models.request(source, output))
    assert not output.exists()


def test_other_architectures_are_left_to_other_plugins(tmp_path: Path, models: Any) -> None:
    """A class that shares no layout with Llama is answered with None, and so is another target format."""
    other = models.write_model(tmp_path / "other", architectures=["GPT2LMHeadModel"])
    llama = models.write_model(tmp_path / "llama")

    assert modelplug_llamacpp.modelplug_plan_conversion(models.request(other, tmp_path / "a")) is None
    asked = models.request(llama, tmp_path / "b")
    assert modelplug_llamacpp.modelplug_plan_conversion(attrs.evolve(asked, format="onnx")) is None


def test_without_its_libraries_it_is_said_what_to_install(
    tmp_path: Path, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where gguf or numpy is missing, the plan ends with the command that installs it."""
    source = models.write_model(tmp_path / "model")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gguf" else find(name))

    with pytest.raises(NothingSuitableError, match="can't convert yet: gguf is not installed") as caught:
        modelplug_llamacpp.modelplug_plan_conversion(models.request(source, tmp_path / "out.gguf"))
    assert caught.value.advice.endswith("-m pip install gguf")


def test_planning_imports_no_library(tmp_path: Path, models: Any) -> None:
    """A plan reads headers only: neither numpy nor gguf nor the engine is imported for it."""
    source = models.write_model(tmp_path / "model")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "import modelplug_llamacpp\n"
        "from modelplug.backends.types import ConvertRequest\n"
        "from modelplug.formats import inspect\n"
        "source = Path(sys.argv[1])\n"
        "request = ConvertRequest(path=source, info=inspect(source), format='gguf', output=source)\n"
        "assert modelplug_llamacpp.modelplug_plan_conversion(request).size > 200_000\n"
        "print({'numpy', 'gguf', 'xllamacpp', 'torch'} & set(sys.modules))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(source)], capture_output=True, text=True, check=True, timeout=60
    )

    assert result.stdout.strip() == "set()"


def test_a_type_that_only_llama_cpp_writes_names_its_program(tmp_path: Path, models: Any) -> None:
    """Asked for Q5_K_M, the refusal gives the command that makes it of the F16 file."""
    source = models.write_model(tmp_path / "model")

    with pytest.raises(ConversionRefusedError) as caught:
        modelplug_llamacpp.modelplug_plan_conversion(models.request(source, tmp_path / "out.gguf", "Q5_K_M"))
    assert caught.value.tool == "llama-quantize"
    assert "llama-quantize model-F16.gguf model-Q5_K_M.gguf Q5_K_M" in caught.value.advice


@pytest.mark.parametrize(
    ("value", "quantization", "message"),
    [
        (float("nan"), "F16", "holds values that are no numbers"),
        (float("inf"), "Q8_0", "holds values that are no numbers"),
        (1e6, "F16", "holds a weight of 1e\\+06, which F16 can't"),
    ],
)
def test_weights_that_are_no_use_are_named(
    value: float, quantization: str, message: str, tmp_path: Path, models: Any
) -> None:
    """NaN, infinity, and what F16 can't hold are errors that name the tensor."""
    source = models.write_model(tmp_path / "model")
    weights = models.weights_of(models.FIGURES)
    weights["model.layers.1.mlp.up_proj.weight"][70, 3] = value
    models.write_safetensors(source / "model.safetensors", weights)

    with pytest.raises(ConversionError, match=message) as caught:
        models.convert(source, tmp_path / "out.gguf", quantization)
    assert "model.layers.1.mlp.up_proj.weight" in caught.value.what


def test_q8_0_holds_what_f16_can_not(tmp_path: Path, models: Any) -> None:
    """The advice for too large a weight works."""
    source = models.write_model(tmp_path / "model")
    weights = models.weights_of(models.FIGURES)
    weights["model.layers.1.mlp.up_proj.weight"][70, 3] = 1e6
    models.write_safetensors(source / "model.safetensors", weights)

    found = tensors_of(models.convert(source, tmp_path / "out.gguf", "Q8_0"))["blk.1.ffn_up.weight"]
    values = gguf.quants.dequantize(found.data, found.tensor_type)
    assert values[70, 3] == pytest.approx(1e6, rel=0.01)


def test_whole_numbers_are_no_weights(tmp_path: Path, models: Any) -> None:
    """A tensor of a type that can't be read is refused by name and type."""
    source = models.write_model(tmp_path / "model")
    file = source / "model.safetensors"
    # The same length in bytes, so that the header stays consistent.
    file.write_bytes(file.read_bytes().replace(b'"dtype": "F32"', b'"dtype": "I32"', 1))

    with pytest.raises(ConversionRefusedError, match=r"model\.embed_tokens\.weight is stored as I32"):
        models.convert(source, tmp_path / "out.gguf")


def test_checkpoints_of_pytorch_are_read_without_running_anything(tmp_path: Path, models: Any) -> None:
    """A checkpoint gives the same bytes as safetensors; one that names a function to call is refused."""
    torch = pytest.importorskip("torch")
    whole = models.write_model(tmp_path / "whole")
    other = models.write_model(tmp_path / "other")
    (other / "model.safetensors").unlink()
    weights = {name: torch.from_numpy(values) for name, values in models.weights_of(models.FIGURES).items()}
    torch.save(weights, other / "pytorch_model.bin")
    first = models.convert(whole, tmp_path / "whole.gguf", "Q8_0")
    second = models.convert(other, tmp_path / "other.gguf", "Q8_0")
    for name, tensor in tensors_of(first).items():
        np.testing.assert_array_equal(tensor.data, tensors_of(second)[name].data)

    torch.save({**weights, "trap": print}, other / "pytorch_model.bin")
    with pytest.raises(ConversionRefusedError, match="can't be read safely"):
        models.convert(other, tmp_path / "trap.gguf")


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_a_full_disk_is_an_error_of_the_family(tmp_path: Path, models: Any) -> None:
    """When the file can't grow, the error names the file and the system's reason."""
    source = models.write_model(tmp_path / "model")
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "import modelplug_llamacpp\n"
        "from modelplug.backends.types import ConvertRequest\n"
        "from modelplug.errors import ConversionError\n"
        "from modelplug.formats import inspect\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "source, output = map(Path, sys.argv[1:])\n"
        "request = ConvertRequest(path=source, info=inspect(source), format='gguf', output=output)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    modelplug_llamacpp.modelplug_convert_model(request)\n"
        "except ConversionError as error:\n"
        "    print(error.what, '|', error.why)\n"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    output = tmp_path / "out.gguf"
    result = subprocess.run(
        [sys.executable, "-c", script, str(source), str(output)],
        capture_output=True, text=True, check=False, env=environment, timeout=60,
    )  # fmt: skip

    assert result.stdout.strip() == f"{output} can't be written | File too large", result.stderr


def test_memory_does_not_grow_with_the_model(tmp_path: Path, models: Any) -> None:
    """Tensors of 128 MB are converted with a fraction of that beside what the libraries take."""
    source = models.write_model(
        tmp_path / "model",
        "F16",
        hidden_size=2048,
        intermediate_size=16384,
        num_hidden_layers=1,
        vocab_size=272,
    )
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "import gguf, numpy\n"
        "import modelplug_llamacpp.conversion.checking\n"
        "from modelplug.backends.types import ConvertRequest\n"
        "from modelplug.formats import inspect\n"
        "source, output = map(Path, sys.argv[1:])\n"
        "request = ConvertRequest(path=source, info=inspect(source), format='gguf', output=output,\n"
        "                         options={'quantization': 'Q8_0'})\n"
        "import modelplug_llamacpp, psutil\n"
        "peak = 0\n"
        "def look(step, done):\n"
        "    global peak\n"
        "    # Pages of the mapped files are shared, and the system takes them back when it needs them.\n"
        "    memory = psutil.Process().memory_info()\n"
        "    peak = max(peak, memory.rss - memory.shared)\n"
        "import attrs\n"
        "memory = psutil.Process().memory_info()\n"
        "before = memory.rss - memory.shared\n"
        "modelplug_llamacpp.modelplug_convert_model(attrs.evolve(request, progress=look))\n"
        "print(peak - before)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(source), str(tmp_path / "out.gguf")],
        capture_output=True, text=True, check=True, timeout=110,
    )  # fmt: skip

    assert inspect(source).size > 200 << 20
    assert int(result.stdout) < 100 << 20
