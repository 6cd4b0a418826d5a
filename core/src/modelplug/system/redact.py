"""Takes home paths, user names and secrets out of what people attach to bug reports."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import attrs

__all__ = ["REDACTED", "Redactor", "redact"]

REDACTED = "<redacted>"
USER = "<user>"

# Shapes that say by themselves that they are secrets.
_SECRET_SHAPES = re.compile(
    r"""
      \b(?:hf|api_org)_[A-Za-z0-9]{8,}                        # Hugging Face
    | \b(?:sk|pk|rk)-[A-Za-z0-9_\-]{8,}                       # OpenAI, Anthropic, Stripe
    | \b(?:gh[opsur]|github_pat|glpat|nvapi|pypi|npm)[_-][A-Za-z0-9_\-]{8,}
    | \bxox[abeprs]-[A-Za-z0-9\-]{8,}                         # Slack
    | \b(?:AKIA|ASIA)[A-Z0-9]{12,}                            # AWS
    | \bAIza[A-Za-z0-9_\-]{20,}                               # Google
    | \beyJ[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]*   # JSON web token
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----[\s\S]*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    """,
    re.VERBOSE,
)
_AUTHORIZATION = re.compile(r"\b(Bearer|Basic|Digest)(\s+)[^\s\"',;<][^\s\"',;]*", re.IGNORECASE)
_URL_USER = re.compile(r"(\b[a-z][a-z0-9+.\-]*://)[^\s/@\"'<>]+@", re.IGNORECASE)
# NAME=value, "name": "value", name: value and --name value, where the name speaks of a secret.
_ASSIGNMENT = re.compile(
    r"""
    (?P<name>[A-Za-z0-9_.\-]*
        (?:token|secret|passw(?:or)?d|passphrase|credential|[_\-.]key|apikey|\bkey(?==))[A-Za-z0-9_.\-]*)
    (?P<sign>["']?\s*[=:]\s*|(?<=[a-z])\s+(?=\S))
    (?P<value>"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?
      |(?:[+-]?[\d.]+(?:[eE][+-]?\d+)?|true|false|null|None)(?=[\s,;&}\])]|\Z)
      |[^\s"']+)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_ALWAYS = re.compile(r"secret|passw(?:or)?d|passphrase|pwd|credential|authorization|cookie", re.IGNORECASE)
_OFTEN = re.compile(r"token|key", re.IGNORECASE)
# Names that count or configure tokens and keys of another kind: their numbers are what a report is for.
_COUNTS = re.compile(
    r"tokens|tokeni[sz]|token_?(?:id|type|count|limit|budget)|first_token|per_token|key_?(?:length|size|dim)",
    re.IGNORECASE,
)
_TOKENIZER = re.compile(r"tokeni[sz]", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_HOMES = re.compile(
    r"(?<![\w.])(?:/(?:home|Users)/(?!Shared\b)[^/\s:;,\"'<>]+|[A-Za-z]:\\+Users\\+(?!Public\b)[^\\\s:;,\"'<>]+)"
)


def _is_number(value: object) -> bool:
    return isinstance(value, (bool, int, float)) or value is None


def _hides(name: str, value: object) -> bool:
    """Whether the value stored under that name has to go."""
    if value is None or isinstance(value, bool):
        return False
    if _ALWAYS.search(name):
        return True
    if not _OFTEN.search(name):
        return False
    if not _COUNTS.search(name):
        return True
    if _TOKENIZER.search(name) or _is_number(value):
        return False
    if isinstance(value, (list, tuple)):
        return not all(_is_number(item) for item in value)
    return not isinstance(value, Mapping)


class Redactor:
    """Redacts for one user on one machine.

    Args:
        home: The home directory.
        user: The user's name.
    """

    def __init__(self, home: str | None, user: str | None) -> None:
        self._home = _path_pattern(home)
        # "root" is everybody's name, and a very short one would blot out unrelated text.
        named = user is not None and len(user) >= 3 and user.lower() not in {"root", "user", "redacted"}
        self._user = (
            re.compile(rf"(?<![A-Za-z0-9]){re.escape(user)}(?![A-Za-z0-9])", re.IGNORECASE)
            if named and user is not None
            else None
        )

    @classmethod
    def current(cls) -> Redactor:
        """The redactor for whoever runs this."""
        try:
            home: str | None = str(Path.home())
        except RuntimeError:
            home = None
        try:
            user: str | None = getpass.getuser()
        except (KeyError, OSError, ImportError):
            # A container may run under a number that has no name; then there is none to hide.
            user = None
        return cls(home, user)

    def text(self, text: str) -> str:
        """The text without home paths, the user's name and anything that looks like a secret."""
        text = _SECRET_SHAPES.sub(REDACTED, text)
        text = _URL_USER.sub(rf"\1{REDACTED}@", text)
        text = _AUTHORIZATION.sub(rf"\1\2{REDACTED}", text)
        text = _ASSIGNMENT.sub(_assignment, text)
        if self._home is not None:
            text = self._home.sub("~", text)
        text = _HOMES.sub("~", text)
        return text if self._user is None else self._user.sub(USER, text)

    def value(self, value: Any) -> Any:
        """The same structure with every text in it redacted; records become dictionaries.

        A value whose key names a secret is replaced as a whole, whatever it is.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.text(value.decode("utf-8", "replace"))
        if isinstance(value, PurePath):
            return self.text(str(value))
        if isinstance(value, Mapping):
            return {self._key(key): self._item(str(key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        if isinstance(value, (set, frozenset)):
            return sorted((self.value(item) for item in value), key=str)
        if attrs.has(type(value)):
            names = [field.name for field in attrs.fields(type(value))]
            return {name: self._item(name, getattr(value, name)) for name in names}
        return value if _is_number(value) else self.text(str(value))

    def _key(self, key: object) -> object:
        return self.text(key) if isinstance(key, str) else key

    def _item(self, name: str, value: Any) -> Any:
        return REDACTED if _hides(name, value) else self.value(value)


def _assignment(match: re.Match[str]) -> str:
    name, sign, value = match["name"], match["sign"], match["value"]
    if not sign.strip() and not name.startswith("--"):
        # "token value" is a sentence; "--token value" is a command line.
        return match[0]
    bare = value.strip("\"'")
    number = float(bare) if _NUMBER.fullmatch(bare) else None
    if bare in {"", "None", "null", "true", "false", "True", "False"}:
        return match[0]
    if not _hides(name, bare if number is None else number):
        return match[0]
    # A text that was cut off may open a quote and never close it.
    opening = value[0] if value[0] in "\"'" else ""
    closing = opening if len(value) > 1 and value[-1] == opening else ""
    return f"{name}{sign}{opening}{REDACTED}{closing}"


def _path_pattern(home: str | None) -> re.Pattern[str] | None:
    if home is None or len(home.strip("/\\")) < 2:
        return None
    # JSON writes a backslash twice, and Windows takes a slash as well.
    parts = [re.escape(part) for part in re.split(r"[\\/]+", home.rstrip("/\\"))]
    flags = re.IGNORECASE if os.name == "nt" or re.match(r"[A-Za-z]:", home) else 0
    return re.compile(r"(?<![\w.])" + r"[\\/]+".join(parts) + r"(?![\w\-])", flags)


def redact(value: Any, *, redactor: Redactor | None = None) -> Any:
    """What may be shown to strangers: a text, or any structure of plain data and records, redacted.

    Args:
        value: Text, numbers, lists, dictionaries, paths or attrs records.
        redactor: For another user than the one running this.
    """
    return (redactor or Redactor.current()).value(value)
