"""The JSON files beside a tokenizer: what they say, whichever of them says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import attrs

from modelplug.errors import ModelFileError

__all__ = ["AddedToken", "TokenizerFiles", "read_tokenizer_files"]

_LARGEST: Final = 256 << 20


@attrs.frozen
class AddedToken:
    """A token that was added to a vocabulary.

    Attributes:
        text: Its text.
        special: Whether it has a meaning beside its text.
    """

    text: str
    special: bool


@attrs.frozen(kw_only=True)
class TokenizerFiles:
    """What the files say.

    Attributes:
        directory: Where they are.
        tokenizer: `tokenizer.json`; empty if there is none.
        settings: `tokenizer_config.json`; empty likewise.
        added: Token id -> the token that was added there.
        chat_template: The template, or several by name; None if there is none.
    """

    directory: Path
    tokenizer: dict[str, Any]
    settings: dict[str, Any]
    added: dict[int, AddedToken]
    chat_template: str | list[dict[str, str]] | None

    def text_template(self) -> tuple[bool, bool] | None:
        """Whether one text gets a token before it and one after it; None if `tokenizer.json` does not say."""
        processor = self.tokenizer.get("post_processor")
        if not isinstance(processor, dict):
            return None
        parts = processor.get("processors") if processor.get("type") == "Sequence" else [processor]
        for part in parts if isinstance(parts, list) else []:
            single = part.get("single") if isinstance(part, dict) else None
            if isinstance(single, list) and single and part.get("type") == "TemplateProcessing":
                return "SpecialToken" in single[0], "SpecialToken" in single[-1]
        return None


def read_tokenizer_files(directory: Path) -> TokenizerFiles:
    """Read them.

    Raises:
        ModelFileError: One is damaged.
    """
    tokenizer = _read(directory / "tokenizer.json")
    settings = _read(directory / "tokenizer_config.json")
    return TokenizerFiles(
        directory=directory,
        tokenizer=tokenizer,
        settings=settings,
        added=_added_tokens(directory, tokenizer, settings),
        chat_template=_chat_template(directory, settings),
    )


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        if path.stat().st_size > _LARGEST:
            raise _damaged(path, f"it has more than {_LARGEST >> 20} MiB")
        value = json.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"it is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise _damaged(path, "it is not a JSON object")
    return value


def _damaged(path: Path, what: str) -> ModelFileError:
    return ModelFileError(f"{path.name} is damaged: {what}", path=path, advice="Download the file again.")


def _added_tokens(
    directory: Path, tokenizer: dict[str, Any], settings: dict[str, Any]
) -> dict[int, AddedToken]:
    added: dict[int, AddedToken] = {}
    # The oldest file first: where a newer one says more of a token, that counts.
    for text, number in _read(directory / "added_tokens.json").items():
        if type(number) is int:
            added[number] = AddedToken(text, special=False)
    decoder = settings.get("added_tokens_decoder")
    for number, entry in decoder.items() if isinstance(decoder, dict) else ():
        if number.isdecimal() and isinstance(entry, dict) and isinstance(entry.get("content"), str):
            added[int(number)] = AddedToken(entry["content"], entry.get("special") is True)
    for entry in tokenizer.get("added_tokens") or ():
        if isinstance(entry, dict) and type(entry.get("id")) is int and isinstance(entry.get("content"), str):
            added[entry["id"]] = AddedToken(entry["content"], entry.get("special") is True)
    return {number: token for number, token in added.items() if 0 <= number < 1 << 20}


def _chat_template(directory: Path, settings: dict[str, Any]) -> str | list[dict[str, str]] | None:
    own = directory / "chat_template.jinja"
    if own.exists():
        return own.read_text("utf-8")
    stated = settings.get("chat_template") or _read(directory / "chat_template.json").get("chat_template")
    if isinstance(stated, str):
        return stated
    if isinstance(stated, list):
        named = [
            {"name": entry["name"], "template": entry["template"]}
            for entry in stated
            if isinstance(entry, dict)
            and isinstance(entry.get("name"), str)
            and isinstance(entry.get("template"), str)
        ]
        return named or None
    return None
