"""A converted vocabulary splits texts as the original tokenizer does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import pytest

from modelplug.backends.types import LoadRequest
from modelplug.errors import ConversionRefusedError, ModelFileError
from modelplug.formats import inspect
from modelplug_llamacpp.conversion.byte_pairs import _SPLITS
from modelplug_llamacpp.conversion.sentencepiece import read_sentencepiece
from modelplug_llamacpp.engine import LlamaCppModel

REAL = Path(__file__).parents[5] / "shared/data/models/tiny-llama/tokenizer.model"
TEXTS = (
    "Once upon a time, when the King's men had gone to sea.",
    "def mean(values):\n    total = sum(values)\n\treturn total/2  # DON'T\r\n\n",
    "In 1984, 32 of 256 cost $1,024.50; that's 12.5% more  than  they'd paid.",
    "\u00c7a va? \u00dcbung: 5 \u20ac. \u4f60\u597d \U0001f642 caf\u00e9",
    "HELLO WORLDwide iPhone \u01c5",
)
has_real = pytest.mark.skipif(not REAL.exists(), reason="the real models are not here")


@contextmanager
def loaded(path: Path) -> Iterator[LlamaCppModel]:
    """The model in llama.cpp, in this process."""
    model = LlamaCppModel(
        LoadRequest(backend="llamacpp", path=path, info=inspect(path), context_size=128, threads=1)
    )
    try:
        yield model
    finally:
        model.close()


def field(path: Path, name: str) -> Any:
    """An entry of the header; None if there is none."""
    fields = gguf.GGUFReader(path).fields
    return fields[name].contents() if name in fields else None


def byte_level(directory: Path, split: str) -> Any:
    """Train a small byte-level tokenizer and write it as Hugging Face does; gives the tokenizer."""
    tokenizers = pytest.importorskip("tokenizers")
    pre = tokenizers.pre_tokenizers
    byte = pre.ByteLevel(add_prefix_space=False, use_regex=split in ("gpt-2", "smollm"))
    made = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=split == "llama-bpe"))
    if split == "gpt-2":
        made.pre_tokenizer = byte
    elif split == "smollm":
        made.pre_tokenizer = pre.Sequence([pre.Digits(individual_digits=True), byte])
    else:
        pattern = next(p for p, name in _SPLITS.items() if name == split.replace("dbrx", "llama-bpe"))
        made.pre_tokenizer = pre.Sequence([pre.Split(tokenizers.Regex(pattern), "isolated"), byte])
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|start|>", "<|end|>"],
        initial_alphabet=pre.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([*TEXTS, "the cat and the hat and 1984 2001 don't won't"] * 3, trainer)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|start|> $A", special_tokens=[("<|start|>", made.token_to_id("<|start|>"))]
    )
    made.save(str(directory / "tokenizer.json"))
    return made


@pytest.mark.parametrize("split", ["llama-bpe", "dbrx", "qwen2", "tekken", "gpt-2", "smollm"])
def test_byte_level_tokens_are_those_of_the_original(split: str, tmp_path: Path, models: Any) -> None:
    """llama.cpp gives the ids that the tokenizers library gives, start token included, and the text back."""
    source = models.write_model(tmp_path / "model", vocab_size=512, bos_token_id=0, eos_token_id=1)
    original = byte_level(source, split)
    path = models.convert(source, tmp_path / "out.gguf")

    assert field(path, "tokenizer.ggml.pre") == split
    with loaded(path) as model:
        for text in TEXTS:
            ids = original.encode(text).ids
            assert model.tokenize(text) == ids
            assert model.detokenize(ids) == text


def test_merges_are_read_in_both_spellings(tmp_path: Path, models: Any) -> None:
    """Pairs written as one text, as before 2024, give the same file as pairs of texts."""
    source = models.write_model(tmp_path / "model", vocab_size=512)
    byte_level(source, "llama-bpe")
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    first = field(models.convert(source, tmp_path / "a.gguf"), "tokenizer.ggml.merges")
    tokenizer["model"]["merges"] = [" ".join(pair) for pair in tokenizer["model"]["merges"]]
    (source / "tokenizer.json").write_text(json.dumps(tokenizer))

    assert field(models.convert(source, tmp_path / "b.gguf"), "tokenizer.ggml.merges") == first
    assert len(first) > 100


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "in a way not known here by name"),
        ({"normalizer": {"type": "Lowercase"}}, "the normaliser 'Lowercase'"),
        ({"model": {"type": "Unigram", "vocab": []}}, "of the type 'Unigram'"),
        ({"model": {"type": "BPE", "vocab": {"a": "b"}}}, "holds no vocabulary"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}}, "is no pair of tokens"),
        ({"model": {"type": "BPE", "vocab": {"a": 1 << 30}}}, "no plausible token id"),
    ],
)
def test_tokenizers_that_llama_cpp_lacks_are_refused(
    change: dict[str, Any], reason: str, tmp_path: Path, models: Any
) -> None:
    """A way of splitting that is not known by name is refused, and llama.cpp's own converter is named."""
    source = models.write_model(tmp_path / "model", vocab_size=512)
    byte_level(source, "llama-bpe")
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    (source / "tokenizer.json").write_text(json.dumps(tokenizer | change))

    with pytest.raises(ConversionRefusedError) as caught:
        models.convert(source, tmp_path / "out.gguf")
    assert reason in caught.value.why
    assert caught.value.tool == "convert_hf_to_gguf.py"


@has_real
def test_a_sentencepiece_model_is_read_as_its_own_library_reads_it(tmp_path: Path) -> None:
    """Pieces, scores, types and the special ids are those that the sentencepiece library gives."""
    sentencepiece = pytest.importorskip("sentencepiece")
    library = sentencepiece.SentencePieceProcessor(model_file=str(REAL))
    model = read_sentencepiece(REAL)

    assert len(model.pieces) == library.vocab_size()
    for number, piece in enumerate(model.pieces):
        assert piece.text == library.id_to_piece(number)
        assert piece.score == library.get_score(number)
        assert (piece.type == 3) == library.is_control(number)
        assert (piece.type == 6) == library.is_byte(number)
        assert (piece.type == 2) == library.is_unknown(number)
    assert (model.unknown, model.start, model.end) == (0, library.bos_id(), library.eos_id())
    assert model.padding is None
    assert library.pad_id() == -1


@has_real
def test_sentencepiece_tokens_are_those_of_the_original(tmp_path: Path, models: Any) -> None:
    """llama.cpp gives the ids that the sentencepiece library gives; characters without a token are bytes."""
    sentencepiece = pytest.importorskip("sentencepiece")
    source = models.write_model(tmp_path / "model", vocab_size=1024)
    (source / "tokenizer.json").unlink()
    shutil.copy(REAL, source)
    library = sentencepiece.SentencePieceProcessor(model_file=str(REAL))

    with loaded(models.convert(source, tmp_path / "out.gguf")) as model:
        for text in TEXTS:
            if "  " not in text and "\n" not in text:
                assert model.tokenize(text) == [1, *library.encode(text)]


@has_real
def test_a_vocabulary_written_as_pairs_gives_the_same_tokens(tmp_path: Path, models: Any) -> None:
    """`tokenizer.json` alone, as transformers writes it of a SentencePiece model, does as well."""
    transformers = pytest.importorskip("transformers")
    source = models.write_model(tmp_path / "model", vocab_size=1024)
    (source / "tokenizer.json").unlink()
    shutil.copy(REAL, source)
    fast = transformers.LlamaTokenizer.from_pretrained(source)
    (source / "tokenizer.model").unlink()
    fast.save_pretrained(source)
    assert not (source / "tokenizer.model").exists()

    with loaded(models.convert(source, tmp_path / "out.gguf")) as model:
        for text in TEXTS:
            assert model.tokenize(text, add_special=False) == fast.encode(text, add_special_tokens=False)


def test_added_tokens_padding_and_special_ids(tmp_path: Path, models: Any) -> None:
    """Added tokens come after the vocabulary with their kind; rows without a token are unused ones."""
    source = models.write_model(tmp_path / "model", vocab_size=280)
    settings = {
        "bos_token": {"content": "<s>"},
        "eos_token": "<|im_end|>",
        "add_bos_token": False,
        "added_tokens_decoder": {
            "272": {"content": "<|im_end|>", "special": True},
            "274": {"content": "<tool>", "special": False},
        },
    }
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    path = models.convert(source, tmp_path / "out.gguf")
    tokens, types = field(path, "tokenizer.ggml.tokens"), field(path, "tokenizer.ggml.token_type")

    assert tokens[271:] == ["u", "<|im_end|>", "[PAD273]", "<tool>", *(f"[PAD{n}]" for n in range(275, 280))]
    assert types[272:276] == [3, 5, 4, 5]
    assert types[:4] == [2, 3, 3, 6]
    assert field(path, "tokenizer.ggml.eos_token_id") == 272
    assert field(path, "tokenizer.ggml.bos_token_id") == 1
    assert field(path, "tokenizer.ggml.add_bos_token") is False


@pytest.mark.parametrize("place", ["tokenizer_config.json", "chat_template.jinja", "several"])
def test_the_chat_template_comes_along(place: str, tmp_path: Path, models: Any) -> None:
    """A template is kept word for word, from wherever transformers keeps it."""
    template = "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
    source = models.write_model(tmp_path / "model")
    if place == "chat_template.jinja":
        (source / place).write_text(template)
    else:
        several = [{"name": "default", "template": template}, {"name": "tool_use", "template": "tools"}]
        settings = {"chat_template": several if place == "several" else template}
        (source / "tokenizer_config.json").write_text(json.dumps(settings))
    path = models.convert(source, tmp_path / "out.gguf")

    assert field(path, "tokenizer.chat_template") == template
    assert field(path, "tokenizer.chat_template.tool_use") == ("tools" if place == "several" else None)
    assert inspect(path).chat_template


def test_a_directory_without_a_tokenizer_is_refused(tmp_path: Path, models: Any) -> None:
    """Weights alone make no model that takes texts."""
    source = models.write_model(tmp_path / "model")
    (source / "tokenizer.json").unlink()

    with pytest.raises(ConversionRefusedError, match="holds no tokenizer"):
        models.convert(source, tmp_path / "out.gguf")


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\xff" * 40, b"\x0a\x05abc", b"\x0a\x02\x0a\x7f", b"\x12\x02\x18\x02"]
)
def test_a_damaged_sentencepiece_model_is_refused(data: bytes, tmp_path: Path) -> None:
    """Bytes that are no vocabulary are an error that says so, never a crash."""
    path = tmp_path / "tokenizer.model"
    path.write_bytes(data)

    with pytest.raises(ConversionRefusedError, match=r"vocabulary in tokenizer\.model can't be converted"):
        read_sentencepiece(path)


def test_a_unigram_model_is_refused(tmp_path: Path) -> None:
    """SentencePiece's other kind of model joins pieces by another rule."""
    path = tmp_path / "tokenizer.model"
    path.write_bytes(b"\x0a\x03\x0a\x01a" + b"\x12\x02\x18\x01")

    with pytest.raises(ConversionRefusedError) as caught:
        read_sentencepiece(path)
    assert "no BPE model" in caught.value.why


def test_half_a_character_is_refused(tmp_path: Path, models: Any) -> None:
    """JSON can spell a text that UTF-8 can't hold."""
    source = models.write_model(tmp_path / "model", vocab_size=273)
    settings = '{"added_tokens_decoder": {"272": {"content": "a\\ud800", "special": true}}}'
    (source / "tokenizer_config.json").write_text(settings)

    with pytest.raises(ConversionRefusedError, match="a text that is none"):
        models.convert(source, tmp_path / "out.gguf")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "added_tokens.json"])
def test_damaged_json_is_named(name: str, tmp_path: Path, models: Any) -> None:
    """A file that is no JSON is an error with its name."""
    source = models.write_model(tmp_path / "model")
    (source / name).write_text("{")

    with pytest.raises(ModelFileError, match=f"{name} is damaged"):
        models.convert(source, tmp_path / "out.gguf")
