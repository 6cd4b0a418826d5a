"""Text to tokens and back: Hugging Face and SentencePiece tokenizers, and a new one made from text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from resnet_bk.data.errors import TokenizerError

__all__ = ["SentencePieceTokenizer", "Tokenizer", "load_tokenizer", "train_tokenizer"]

END_OF_TEXT: Final = "<|endoftext|>"
_ENDS: Final = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "[EOS]", "<|im_end|>")
_BYTES: Final = 256


class Tokenizer(Protocol):
    """What the data need of a tokenizer.

    Attributes:
        vocabulary: How many tokens there are; every token is less.
        end_of_text: The token put after every document; None if there is none.
    """

    vocabulary: int
    end_of_text: int | None

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, without special ones around it."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""
        ...

    def files(self) -> dict[str, bytes]:
        """The files from which transformers makes the same tokenizer, by name."""
        ...


class HuggingFaceTokenizer:
    """A tokenizer of the `tokenizers` library.

    Args:
        tokenizer: The library's object.

    Attributes:
        vocabulary: How many tokens there are.
        end_of_text: The token put after every document; None if there is none.
    """

    def __init__(self, tokenizer: Any) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self.vocabulary: int = max(tokenizer.get_vocab().values(), default=-1) + 1
        self._end = next((name for name in _ENDS if tokenizer.token_to_id(name) is not None), None)
        self.end_of_text: int | None = None if self._end is None else tokenizer.token_to_id(self._end)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, without special ones around it."""
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=False)
        return text

    def files(self) -> dict[str, bytes]:
        """`tokenizer.json` and the few settings that transformers wants beside it."""
        settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
        if self._end is not None:
            settings["eos_token"] = self._end
        return {
            "tokenizer.json": self._tokenizer.to_str(pretty=True).encode(),
            "tokenizer_config.json": json.dumps(settings, indent=1).encode(),
        }


class SentencePieceTokenizer:
    """A tokenizer of the SentencePiece library.

    Args:
        model: The content of its `.model` file.

    Attributes:
        vocabulary: How many tokens there are.
        end_of_text: The token put after every document; None if there is none.
    """

    def __init__(self, model: bytes) -> None:
        import sentencepiece

        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor()
        self._processor.LoadFromSerializedProto(model)
        self.vocabulary: int = self._processor.GetPieceSize()
        end = self._processor.eos_id()
        self.end_of_text: int | None = None if end < 0 else end

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, without special ones around it."""
        return [self._processor.EncodeAsIds(text) for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""
        text: str = self._processor.DecodeIds(list(tokens))
        return text

    def files(self) -> dict[str, bytes]:
        """`tokenizer.model`."""
        return {"tokenizer.model": self._model}


def load_tokenizer(path: str | Path) -> Tokenizer:
    """A tokenizer from a file, or from a folder that holds one.

    Args:
        path: A `tokenizer.json`, a SentencePiece `.model` file, or a folder with either.

    Raises:
        TokenizerError: It can't be read.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        names = ("tokenizer.json", "tokenizer.model")
        file = next((path / name for name in names if (path / name).is_file()), None)
        if file is None:
            raise TokenizerError(
                f"there is no tokenizer in {path}",
                path=path,
                why=f"neither {names[0]} nor {names[1]} is there",
            )
        path = file
    try:
        content = path.read_bytes()
        if content.lstrip()[:1] == b"{":
            import tokenizers

            return HuggingFaceTokenizer(tokenizers.Tokenizer.from_buffer(content))
        return SentencePieceTokenizer(content)
    except Exception as error:
        # Both libraries raise plain Exception and RuntimeError for whatever is wrong with a file.
        raise TokenizerError(
            f"the tokenizer {path} can't be read",
            path=path,
            why=str(error).strip() or type(error).__name__,
            advice="Give a tokenizer.json, or the .model file of a SentencePiece tokenizer.",
        ) from error


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE tokenizer made from text; it can write any text, and its tokens spell it exactly.

    Args:
        texts: The text, in pieces.
        vocabulary: How many tokens it may have; a short text gives fewer.

    Raises:
        TokenizerError: The vocabulary is too small for the 256 bytes, or there is no text.
    """
    if vocabulary <= _BYTES:
        raise TokenizerError(
            f"a vocabulary of {vocabulary} is too small",
            why=f"{_BYTES} bytes and the end of a text have tokens of their own",
            advice=f"Ask for at least {_BYTES + 1}.",
        )
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    counted = _Counted(texts)
    made.train_from_iterator(counted, trainer)
    if not counted.characters:
        raise TokenizerError(
            "there is no text to make a tokenizer from", advice="Name a file that is not empty."
        )
    return HuggingFaceTokenizer(made)


class _Counted:
    """Passes texts on and counts their characters."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self.characters = 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.characters += len(text)
            yield text


def fingerprint(tokenizer: Tokenizer) -> str:
    """SHA-256 over a tokenizer's files: two with the same give the same tokens."""
    digest = hashlib.sha256()
    for name, content in sorted(tokenizer.files().items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()
