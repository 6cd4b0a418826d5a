"""Turns what the command line names into tokens and a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import filelock
import torch

from modelplug.atomic import write_atomically
from modelplug.errors import ModelplugError, UsageError
from resnet_bk.data.texts import Document, documents_in, source_hash, text_sources
from resnet_bk.data.tokenizers import Tokenizer, fingerprint, load_tokenizer, train_tokenizer
from resnet_bk.data.tokens import TokenStream, tokenize_to_file
from resnet_bk.registration import register_with_transformers
from resnet_bk.training.errors import TrainingError

__all__ = ["Data", "DataWish", "build_model", "prepare_data"]

_LONGEST_WHY: Final = 160


@attrs.frozen(kw_only=True)
class DataWish:
    """What to train on.

    Attributes:
        texts: Files, folders of files, saved datasets.
        validation: The same for evaluating; empty takes the end of the training data.
        validation_fraction: How much of the training data that is.
        column: The column of a dataset that holds the text.
        tokenizer: A tokenizer's file or folder; None makes one from the text.
        vocabulary: How many tokens a new tokenizer may have.
    """

    texts: tuple[str, ...]
    validation: tuple[str, ...] = ()
    validation_fraction: float = 0.05
    column: str = "text"
    tokenizer: str | None = None
    vocabulary: int = 4096


@attrs.frozen(kw_only=True)
class Data:
    """What a wish came to.

    Attributes:
        tokenizer: The tokenizer.
        train: The tokens to train on.
        validation: The tokens to evaluate on; None if there are too few.
    """

    tokenizer: Tokenizer
    train: TokenStream
    validation: TokenStream | None


def prepare_data(wish: DataWish, output: Path, *, sequence_length: int) -> Data:
    """The tokens to train and to evaluate on; made once, and found again in the output folder.

    Several processes may ask at the same time: one of them does the work.

    Args:
        wish: What to train on.
        output: The folder of the run, where tokenizer and tokens are kept.
        sequence_length: Tokens in a sequence; with fewer there is nothing to evaluate on.

    Raises:
        DataError: Something is wrong with texts or tokenizer.
        TrainingError: The folder can't be written.
    """
    sources = text_sources(wish.texts)
    held_out = text_sources(wish.validation)
    folder = output / "data"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".lock"):
            tokenizer = _tokenizer(wish, sources, output)
            train = _tokens(sources, tokenizer, folder / "train.bin", wish.column)
            validation = None
            if held_out:
                validation = _tokens(held_out, tokenizer, folder / "validation.bin", wish.column)
    except OSError as error:
        raise TrainingError(
            f"the folder {output} can't be written",
            why=error.strerror or str(error),
            advice="Choose another output folder.",
        ) from error
    if validation is None and wish.validation_fraction > 0:
        train, validation = _split(train, wish.validation_fraction, sequence_length)
    return Data(tokenizer=tokenizer, train=train, validation=validation)


def _split(
    stream: TokenStream, fraction: float, sequence_length: int
) -> tuple[TokenStream, TokenStream | None]:
    """Both parts, unless the second would be too short to be of any use."""
    first, second = stream.split(fraction)
    return (stream, None) if len(second) <= sequence_length else (first, second)


def _documents(sources: Sequence[Path], column: str) -> Iterator[Document]:
    return (document for source in sources for document in documents_in(source, column=column))


def _tokenizer(wish: DataWish, sources: Sequence[Path], output: Path) -> Tokenizer:
    if wish.tokenizer is not None:
        made = load_tokenizer(wish.tokenizer)
    elif (output / "tokenizer.json").is_file():
        return load_tokenizer(output / "tokenizer.json")
    else:
        pieces = (piece for document in _documents(sources, wish.column) for piece in document)
        made = train_tokenizer(pieces, wish.vocabulary)
    for name, content in made.files().items():
        write_atomically(output / name, content)
    return made


def _tokens(sources: Sequence[Path], tokenizer: Tokenizer, path: Path, column: str) -> TokenStream:
    source = f"{source_hash(sources)} {fingerprint(tokenizer)} {column}"
    return tokenize_to_file(_documents(sources, column), tokenizer, path, source=source)


def build_model(path: Path | None, changes: dict[str, Any], vocabulary: int, seed: int) -> torch.nn.Module:
    """A model to train: a new one from a configuration, or one with weights from a folder.

    Args:
        path: A `config.json`, or a folder with a configuration and perhaps weights; None makes a ResNet-BK.
        changes: Entries of the configuration that are to be different.
        vocabulary: How many tokens a new model knows, unless its configuration says.
        seed: What the first weights of a new model depend on.

    Raises:
        UsageError: There is no such configuration, or it has no such entry.
    """
    torch.manual_seed(seed)
    if path is None:
        return _new_resnet_bk({"vocab_size": vocabulary, **changes})
    register_with_transformers()
    # The models come first: the configurations are complete when they are.
    from transformers import AutoModelForCausalLM  # isort: skip
    from transformers import AutoConfig

    try:
        if path.is_dir() and (path / "model.safetensors").is_file():
            config = AutoConfig.from_pretrained(path, local_files_only=True)
            _change(config, changes)
            return AutoModelForCausalLM.from_pretrained(
                path, config=config, dtype=torch.float32, local_files_only=True
            )
        config = _new_config(path / "config.json" if path.is_dir() else path, vocabulary)
        _change(config, changes)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, ModelplugError):
            raise
        # Some of these messages go on with everything that would have been right.
        words = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"no model can be made from {path}",
            why=words if len(words) <= _LONGEST_WHY else f"{words[:_LONGEST_WHY]}...",
            advice="Give a config.json that transformers knows, or a folder with one and model.safetensors.",
        ) from error


def _new_config(path: Path, vocabulary: int) -> Any:
    import transformers

    entries = json.loads(path.read_text("utf-8"))
    kind = entries.pop("model_type")
    return transformers.AutoConfig.for_model(kind, **{"vocab_size": vocabulary, **entries})


def _change(config: Any, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        if not hasattr(config, name):
            raise UsageError(
                f"the model's configuration has no {name}", advice="Leave it out, or correct it."
            )
        setattr(config, name, value)


def _new_resnet_bk(entries: dict[str, Any]) -> torch.nn.Module:
    from resnet_bk.configuration import MambaKillerConfig
    from resnet_bk.modeling import ResNetBKForCausalLM

    return ResNetBKForCausalLM(MambaKillerConfig(**entries))
