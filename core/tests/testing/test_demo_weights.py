"""The demo model in other formats, checked against the libraries that define those formats."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from modelplug.data import demo_model_path
from modelplug.testing import demo_weights
from modelplug.testing.demo_gguf import PRECISIONS, DemoGguf, read_demo_gguf
from modelplug.testing.demo_hugging_face import write_demo_hugging_face
from modelplug.testing.demo_weights import write_gguf, write_hugging_face_directory

if TYPE_CHECKING:
    from pathlib import Path

gguf = pytest.importorskip("gguf")
numpy = pytest.importorskip("numpy")
safetensors_numpy = pytest.importorskip("safetensors.numpy")
tokenizers = pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this module's results are kept."""
    return tmp_path_factory.mktemp("demo-weights")


@pytest.fixture(scope="module")
def demo() -> DemoGguf:
    """The bundled file, read."""
    return read_demo_gguf(demo_model_path())


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> Any:
    """The directory's tokenizer, loaded by the library that defines its format."""
    return tokenizers.Tokenizer.from_file(str(write_hugging_face_directory(directory) / "tokenizer.json"))


def tensors_of(path: Path) -> dict[str, Any]:
    """Every tensor of a GGUF file as 32-bit numbers, read by the `gguf` library."""
    return {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        for tensor in gguf.GGUFReader(path).tensors
    }


def metadata_of(path: Path) -> dict[str, Any]:
    """The metadata of a GGUF file, read by the `gguf` library, without what belongs to the container."""
    fields = gguf.GGUFReader(path).fields
    return {key: field.contents() for key, field in fields.items() if not key.startswith("GGUF.")}


@pytest.mark.parametrize("precision", ["f32", "f16", "q8_0"])
def test_lossless_precisions_hold_the_bundled_numbers(directory: Path, precision: str) -> None:
    """F32, F16 and Q8_0 files dequantise to exactly the weights of the bundled file."""
    expected, written = tensors_of(demo_model_path()), tensors_of(write_gguf(directory, precision))
    assert list(written) == list(expected)
    for name, values in expected.items():
        assert numpy.array_equal(written[name], values), name


def test_q8_0_is_the_bundled_file_itself(directory: Path) -> None:
    """Asking for the bundled precision gives the bundled bytes."""
    assert write_gguf(directory, "q8_0").read_bytes() == demo_model_path().read_bytes()


def test_q4_0_is_quantised_as_the_format_defines(directory: Path) -> None:
    """The Q4_0 blocks are, byte for byte, those that the `gguf` library makes of the same weights."""
    expected = tensors_of(demo_model_path())
    for tensor in gguf.GGUFReader(write_gguf(directory, "q4_0")).tensors:
        values = expected[tensor.name]
        if values.ndim == 2:
            assert tensor.tensor_type == gguf.GGMLQuantizationType.Q4_0
            assert numpy.array_equal(tensor.data, gguf.quants.quantize(values, tensor.tensor_type)), (
                tensor.name
            )
        else:
            assert numpy.array_equal(tensor.data, values), tensor.name


@pytest.mark.parametrize("precision", PRECISIONS)
def test_metadata_differs_in_the_file_type_alone(directory: Path, precision: str) -> None:
    """Tokenizer, sizes and description are copied; only `general.file_type` tells the precision."""
    expected = metadata_of(demo_model_path()) | {"general.file_type": PRECISIONS[precision][1]}
    assert metadata_of(write_gguf(directory, precision)) == expected


def test_an_unknown_precision_is_named(tmp_path: Path) -> None:
    """A precision that is not offered is refused by name, and nothing is written."""
    with pytest.raises(ValueError, match=r"'q5_0' is not one of f32, f16, q8_0, q4_0"):
        write_gguf(tmp_path, "q5_0")
    assert list(tmp_path.iterdir()) == []


def test_results_are_kept(tmp_path: Path) -> None:
    """A second call returns the file and the directory of the first, untouched."""
    first = [write_gguf(tmp_path, "f16"), write_hugging_face_directory(tmp_path)]
    stamps = [path.stat() for path in first]
    assert [write_gguf(tmp_path, "f16"), write_hugging_face_directory(tmp_path)] == first
    assert [path.stat() for path in first] == stamps
    assert sorted(tmp_path.iterdir()) == sorted(first)


def test_a_changed_demo_model_is_not_mistaken_for_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of the results depend on the bundled file's content."""
    before = write_gguf(tmp_path, "q8_0")
    monkeypatch.setattr(demo_weights, "_content_id", lambda: "00000000")
    assert write_gguf(tmp_path, "q8_0") != before


def test_losing_a_race_for_the_directory_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another process finishes the same directory first, its result is used and no rest is left."""
    write = write_demo_hugging_face

    def write_while_another_finishes(source: DemoGguf, made: Path) -> None:
        write(source, made)
        (tmp_path / made.name).mkdir()
        write(source, tmp_path / made.name)

    monkeypatch.setattr(demo_weights, "write_demo_hugging_face", write_while_another_finishes)
    target = write_hugging_face_directory(tmp_path)
    assert list(tmp_path.iterdir()) == [target]
    assert (target / "model.safetensors").exists()


def test_a_directory_in_the_way_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else under the result's name is neither overwritten nor returned."""
    write = write_demo_hugging_face

    def write_while_something_appears(source: DemoGguf, made: Path) -> None:
        write(source, made)
        (tmp_path / made.name / "unrelated").mkdir(parents=True)

    monkeypatch.setattr(demo_weights, "write_demo_hugging_face", write_while_something_appears)
    with pytest.raises(OSError, match="demo-hf"):
        write_hugging_face_directory(tmp_path)


def test_all_formats_take_under_three_seconds(tmp_path: Path) -> None:
    """Deriving every format from the bundled file is quick enough for every test run."""
    begin = time.process_time()
    for precision in PRECISIONS:
        write_gguf(tmp_path, precision)
    write_hugging_face_directory(tmp_path)
    assert time.process_time() - begin < 3


def test_hugging_face_weights_have_the_rows_in_that_order(directory: Path, demo: DemoGguf) -> None:
    """Every tensor is there once; queries and keys have the halves of each head apart."""
    written = safetensors_numpy.load_file(write_hugging_face_directory(directory) / "model.safetensors")
    expected = tensors_of(demo_model_path())
    assert len(written) == len(expected)
    assert numpy.array_equal(written["model.embed_tokens.weight"], expected["token_embd.weight"])
    assert numpy.array_equal(written["lm_head.weight"], expected["output.weight"])
    for layer in range(demo.metadata["llama.block_count"]):
        ours, theirs = f"blk.{layer}.", f"model.layers.{layer}."
        for name, heads in (("q", 4), ("k", 2)):
            values = expected[f"{ours}attn_{name}.weight"]
            rows, width = values.shape
            apart = values.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)
            assert numpy.array_equal(written[f"{theirs}self_attn.{name}_proj.weight"], apart)
        for name, there in (("attn_v", "self_attn.v_proj"), ("ffn_down", "mlp.down_proj")):
            assert numpy.array_equal(written[f"{theirs}{there}.weight"], expected[f"{ours}{name}.weight"])


def test_hugging_face_settings_are_those_of_the_gguf(directory: Path, demo: DemoGguf) -> None:
    """Sizes, special tokens and the chat template are carried over."""
    made = write_hugging_face_directory(directory)
    config = json.loads((made / "config.json").read_text(encoding="utf-8"))
    assert config["rms_norm_eps"] == 1e-5
    assert config["head_dim"] == demo.metadata["llama.rope.dimension_count"]
    assert config["max_position_embeddings"] == demo.metadata["llama.context_length"]
    settings = json.loads((made / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert settings["chat_template"] == demo.metadata["tokenizer.chat_template"]
    generation = json.loads((made / "generation_config.json").read_text(encoding="utf-8"))
    assert generation == {"bos_token_id": 1, "eos_token_id": 2}


def sentencepiece_ids(metadata: dict[str, Any], text: str) -> list[int]:
    """The ids by the format's rule: merge the pair whose union scores highest, the leftmost of equals."""
    tokens, scores = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.scores"]
    kinds = metadata["tokenizer.ggml.token_type"]
    known = {token: index for index, token in enumerate(tokens) if kinds[index] == 1}
    symbols = list((" " + text).replace(" ", "\u2581")) if text else []
    while True:
        pairs = [left + right for left, right in itertools.pairwise(symbols)]
        candidates = [(-scores[known[pair]], at) for at, pair in enumerate(pairs) if pair in known]
        if not candidates:
            break
        at = min(candidates)[1]
        symbols[at : at + 2] = [pairs[at]]
    ids = [metadata["tokenizer.ggml.bos_token_id"]]
    for symbol in symbols:
        if symbol in known:
            ids.append(known[symbol])
        else:
            ids.extend(tokens.index(f"<0x{byte:02X}>") for byte in symbol.encode())
    return ids


play_like = st.text(alphabet="abcdefhilnorstuw ABEIORST\n.,:;'!?-&$3é\u4e2d\U0001f600\u2581\t", max_size=60)


@given(text=st.one_of(play_like, st.text(max_size=40)))
@example(text="")
@example(text=" ")
@example(text="  two spaces")
@example(text="ROMEO:\nBut soft, what light through yonder window breaks?\n\n")
@example(text="\n\nUSER:\nWhat news?\n\nASSISTANT:\n")
@example(text="naïve \U0001f600 \u4e2d\u6587\r\n\x00")
@example(text="<0x41> <unk")
@example(text="aaaaaaaaaaaaa ------ ......")
def test_the_tokenizer_gives_the_ids_of_the_gguf_vocabulary(
    text: str, demo: DemoGguf, tokenizer: Any
) -> None:
    """Any text becomes the same ids by `tokenizer.json` as by the merge rule of the GGUF vocabulary."""
    assume(not any(special in text for special in ("<s>", "</s>", "<unk>")))
    assert tokenizer.encode(text).ids == sentencepiece_ids(demo.metadata, text)


@given(
    text=st.text(alphabet=st.characters(exclude_characters="\u2581", exclude_categories=["Cs"]), max_size=40)
)
def test_decoding_gives_the_text_back(text: str, tokenizer: Any) -> None:
    """Text survives encoding and decoding, leading spaces and line breaks included."""
    assume(not any(special in text for special in ("<s>", "</s>", "<unk>")))
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_text_after_a_special_token_begins_a_word(tokenizer: Any) -> None:
    """A begin token written out, as chat templates do, is one token, and the text after it gets its space."""
    assert tokenizer.encode("<s>ROMEO:", add_special_tokens=False).ids == tokenizer.encode("ROMEO:").ids


@pytest.mark.slow
def test_transformers_computes_the_same_from_both_formats(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory and the F32 GGUF file, loaded by transformers, continue a prompt with the same tokens."""
    # Set before torch is imported, which would otherwise choose a place of its own and set the variable.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiler"))
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    # Its progress bars would leave a thread behind.
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)
    made, file = write_hugging_face_directory(directory), write_gguf(directory, "f32")
    sources: list[tuple[Path, dict[str, str]]] = [(made, {}), (directory, {"gguf_file": file.name})]
    ids = transformers.AutoTokenizer.from_pretrained(made)("ROMEO:").input_ids
    assert ids[0] == 1
    continuations = []
    for source, options in sources:
        model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **options)
        output = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=32)
        continuations.append(output[0].tolist())
    assert continuations[0] == continuations[1]
    assert len(continuations[0]) == len(ids) + 32
