"""What a caller hands over, checked in full sentences before it reaches an engine."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from modelplug.backends.model import GenerateParams, Message
from modelplug.errors import UsageError

__all__ = ["AnyMessage", "checked_params", "checked_text", "conversation", "prompt_of", "well_formed"]

AnyMessage: TypeAlias = Message | Mapping[str, str]
"""A turn of a conversation: a `Message`, or a mapping with `role` and `content`."""


def conversation(messages: Sequence[AnyMessage]) -> list[Message]:
    """The turns as `Message` objects of well-formed text.

    Args:
        messages: Messages, or mappings with `role` and `content`.

    Raises:
        UsageError: There is none, or one is something else.
    """
    given: object = messages
    if isinstance(given, (str, bytes, Mapping, Message)) or not isinstance(given, Iterable):
        raise UsageError(
            f"a conversation can't be {_named(given)}",
            why="it is a list of messages, one for each turn",
            advice='For example: model.chat([modelplug.Message("user", "Hello")]).',
        )
    turns = [_message(turn, number) for number, turn in enumerate(given, start=1)]
    if not turns:
        raise UsageError(
            "the conversation is empty",
            why="there is no message to answer",
            advice='Give at least one: model.chat([modelplug.Message("user", "Hello")]).',
        )
    return turns


def _message(turn: object, number: int) -> Message:
    if isinstance(turn, Message):
        return Message(turn.role, well_formed(turn.content))
    if not isinstance(turn, Mapping):
        raise _no_message(number, f"it is {_named(turn)}")
    if set(turn) != {"role", "content"}:
        raise _no_message(number, f"it has {', '.join(sorted(map(str, turn))) or 'nothing'}")
    try:
        return Message(turn["role"], well_formed(checked_text(turn["content"], "content")))
    except (ValueError, UsageError) as error:
        raise _no_message(number, str(error)) from error


def _no_message(number: int, why: str) -> UsageError:
    return UsageError(
        f"message {number} of the conversation can't be used",
        why=why,
        advice='Give modelplug.Message(role, content), or {"role": ..., "content": ...} with text in both. '
        "Roles are system, user and assistant.",
    )


def prompt_of(prompt: object) -> str | list[int]:
    """The prompt as well-formed text or as a list of token ids.

    Raises:
        UsageError: It is neither text nor token ids.
    """
    if isinstance(prompt, str):
        return well_formed(prompt)
    if isinstance(prompt, Iterable) and not isinstance(prompt, (bytes, bytearray, Mapping)):
        try:
            return [operator.index(token) for token in prompt]
        except TypeError as error:
            raise _no_prompt("a list that holds something else than whole numbers") from error
    raise _no_prompt(_named(prompt))


def _no_prompt(given: str) -> UsageError:
    return UsageError(
        f"a prompt can't be {given}",
        why="it is text, or a list of token ids",
        advice='For example: model.generate("Once upon a time"). Conversations go to model.chat.',
    )


def checked_text(text: object, name: str) -> str:
    """The text itself.

    Args:
        text: What was given.
        name: What it is, for the message.

    Raises:
        UsageError: It is no text.
    """
    if isinstance(text, str):
        return text
    raise UsageError(
        f"{name} can't be {_named(text)}",
        why=f"{name} must be text",
        advice="Give a string; bytes are decoded with .decode().",
    )


def checked_params(params: object) -> GenerateParams | None:
    """The parameters themselves.

    Raises:
        UsageError: They are something else.
    """
    if params is None or isinstance(params, GenerateParams):
        return params
    raise UsageError(
        f"parameters can't be {_named(params)}",
        why="they are one object, which says what each of them means",
        advice="Give modelplug.GenerateParams(max_tokens=64), for example, or nothing at all.",
    )


def well_formed(text: str) -> str:
    """The text with U+FFFD for every half of a surrogate pair, which no encoding and few engines take."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _named(value: object) -> str:
    """A value by its kind, for a sentence."""
    if value is None:
        return "None"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
