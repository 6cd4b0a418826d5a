"""The bundled demo model: where it is, and what its file holds."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

import modelplug.data
from modelplug.data import demo_model_path
from modelplug.errors import ModelNotFoundError
from modelplug.testing.demo_gguf import DemoGguf, read_demo_gguf

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 1_500_000


@pytest.fixture(scope="module")
def demo() -> DemoGguf:
    """The bundled file, read."""
    return read_demo_gguf(demo_model_path())


def test_the_bundled_file_is_a_small_gguf() -> None:
    """The demo model is a file of at most 1.5 MB that begins as GGUF version 3 does."""
    path = demo_model_path()
    assert path.stat().st_size <= MOST_BYTES
    with path.open("rb") as file:
        assert struct.unpack("<4sI", file.read(8)) == (b"GGUF", 3)


def test_a_missing_file_is_an_error_with_advice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the file was not installed, the error says what to type."""
    monkeypatch.setattr(modelplug.data, "DEMO_MODEL", tmp_path / "demo.gguf")
    with pytest.raises(ModelNotFoundError, match=r"demo model is missing") as caught:
        demo_model_path()
    assert "pip install" in caught.value.advice
    assert caught.value.path == tmp_path / "demo.gguf"


def test_the_model_is_a_llama_of_about_a_million_parameters(demo: DemoGguf) -> None:
    """Architecture, sizes and number of weights are those of the small Llama that the script trains."""
    assert demo.metadata["general.architecture"] == "llama"
    assert demo.metadata["general.name"] == "modelplug demo"
    assert demo.metadata["llama.context_length"] == 512
    assert demo.metadata["llama.block_count"] == 4
    parameters = sum(len(tensor.values) for tensor in demo.tensors)
    assert 900_000 < parameters < 1_300_000


def test_the_file_says_where_the_model_comes_from(demo: DemoGguf) -> None:
    """The description names the text, its public-domain status and the training."""
    description = demo.metadata["general.description"]
    assert "Shakespeare" in description
    assert "public domain" in description
    assert "training loss" in description
    assert demo.metadata["general.license"]


def test_the_vocabulary_can_spell_every_byte(demo: DemoGguf) -> None:
    """The tokenizer is a SentencePiece one with all 256 byte tokens, and its special ids are right."""
    tokens, types = demo.metadata["tokenizer.ggml.tokens"], demo.metadata["tokenizer.ggml.token_type"]
    assert demo.metadata["tokenizer.ggml.model"] == "llama"
    assert len(tokens) == len(set(tokens)) == len(types) == demo.metadata["llama.vocab_size"]
    byte_tokens = [token for token, kind in zip(tokens, types, strict=True) if kind == 6]
    assert byte_tokens == [f"<0x{value:02X}>" for value in range(256)]
    names = ("unknown", "bos", "eos")
    assert [tokens[demo.metadata[f"tokenizer.ggml.{name}_token_id"]] for name in names] == [
        "<unk>",
        "<s>",
        "</s>",
    ]
    assert demo.metadata["tokenizer.ggml.add_bos_token"] is True


def test_float16_holds_every_weight_exactly(demo: DemoGguf) -> None:
    """No weight changes when it is stored as F16, so all lossless formats hold the same model."""
    for tensor in demo.tensors:
        values = tensor.values.tolist()
        layout = f"<{len(values)}e"
        assert list(struct.unpack(layout, struct.pack(layout, *values))) == values, tensor.name


def test_the_weights_were_trained(demo: DemoGguf) -> None:
    """No tensor is constant, as the norms of an untrained model are, or zero."""
    for tensor in demo.tensors:
        assert len(set(tensor.values)) > 20, tensor.name


def test_the_chat_template_writes_a_play(demo: DemoGguf) -> None:
    """Turns become speeches under the speaker's name, after the begin token, up to the assistant's line."""
    jinja2 = pytest.importorskip("jinja2")
    template = jinja2.Environment(autoescape=False, trim_blocks=True, lstrip_blocks=True).from_string(
        demo.metadata["tokenizer.chat_template"]
    )
    messages = [
        {"role": "system", "content": "A street in Rome."},
        {"role": "user", "content": " What news? "},
        {"role": "assistant", "content": "None, sir."},
        {"role": "user", "content": "Go."},
    ]
    text = template.render(messages=messages, bos_token="<s>", eos_token="</s>", add_generation_prompt=True)
    assert text == (
        "<s>A street in Rome.\n\nUSER:\nWhat news?\n\nASSISTANT:\nNone, sir.\n\nUSER:\nGo.\n\nASSISTANT:\n"
    )
    without_prompt = template.render(messages=messages[:2], bos_token="<s>", add_generation_prompt=False)
    assert without_prompt == "<s>A street in Rome.\n\nUSER:\nWhat news?\n\n"
