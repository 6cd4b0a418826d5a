"""JSON documents as people write them: comments everywhere, odd layout, numbers in any spelling."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

from core.tests.documents.random_edits import Path, Sample

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\r\n]*|/\*.*?\*/|[^"/]', re.DOTALL)

NAMES = ["a", "b.c", "k1", "k2", "é", 'q"', "model", ""]
SPELLINGS = [
    ("1", 1),
    ("-0", 0),
    ("1.0e-8", 1.0e-8),
    ("1E3", 1000.0),
    ("0.10", 0.1),
    ("true", True),
    ("null", None),
    ('"a // b"', "a // b"),
    ('"\\u00e9 /* */"', "é /* */"),
    ('"x,"', "x,"),
]


def plain(text: str) -> Any:
    """What a text says by the standard library, without its comments and trailing commas."""
    tokens = [
        token for token in _TOKEN.findall(text.removeprefix("\ufeff")) if not token.startswith(("//", "/*"))
    ]
    kept = []
    solid = [(position, token) for position, token in enumerate(tokens) if token.strip()]
    following = dict(zip((p for p, _ in solid), [token for _, token in solid[1:]] + [""], strict=True))
    for position, token in enumerate(tokens):
        if token == "," and following[position] in ("}", "]"):
            continue
        kept.append(token)
    return json.loads("".join(kept))


class _Writer:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.newline = random.choice(["\n", "\r\n"])
        self.unit = random.choice(["  ", "\t", "    "])
        self.comments: dict[str, list[Path]] = {}

    def comment(self, holders: list[Path], *, block: bool) -> str:
        number = len(self.comments) + 1
        text = f"/* c{number}: {{ */" if block else f'// c{number}, "it\'s"'
        if block and self.chance(6):
            text = f"/* c{number}{self.newline}     more, */"
        self.comments[text] = holders
        return text

    def chance(self, one_in: int) -> bool:
        return self.random.randrange(one_in) == 0

    def gap(self, holders: list[Path]) -> str:
        """Blanks where blanks may be, seldom with a comment."""
        if self.chance(12):
            return " " + self.comment(holders, block=True) + " "
        return self.random.choice(["", "", " "])

    def above(self, indent: str, holders: list[Path]) -> str:
        """Whole lines above an entry."""
        lines = ""
        for _ in range(self.random.randint(0, 2)):
            if self.chance(3):
                lines += self.random.choice(["", indent]) + self.newline
            else:
                lines += indent + self.comment(holders, block=self.chance(3)) + self.newline
        return lines

    def behind(self, holders: list[Path]) -> str:
        """What stands behind an entry on its line."""
        if self.chance(3):
            return self.random.choice([" ", "   ", ""]) + self.comment(holders, block=self.chance(3))
        return self.random.choice(["", "", " "])

    def value(self, path: Path, holders: list[Path], indent: str, depth: int) -> tuple[str, Any]:
        kind = self.random.choice(["scalar", "scalar", "mapping", "list"]) if depth < 3 else "scalar"
        if kind == "scalar":
            return self.random.choice(SPELLINGS)
        return self.container(path, [*holders, path], indent, depth, is_mapping=kind == "mapping")

    def container(
        self, path: Path, holders: list[Path], indent: str, depth: int, *, is_mapping: bool
    ) -> tuple[str, Any]:
        names = self.random.sample(NAMES, self.random.randint(0, 4))
        steps: list[Any] = list(names) if is_mapping else list(range(len(names)))
        lined = self.chance(2) if depth else not self.chance(5)
        trailing = self.chance(3)
        pieces, value = [], {}
        inner = indent + self.unit if lined else indent
        for step in steps:
            spelled, value[step] = self.value((*path, step), holders, inner, depth + 1)
            key = ""
            if is_mapping:
                key = (
                    json.dumps(step, ensure_ascii=self.chance(2))
                    + self.gap(holders)
                    + ":"
                    + self.gap(holders)
                )
            comma = "," if trailing or step != steps[-1] else ""
            pieces.append((key + spelled, comma))
        opening, closing = "{}" if is_mapping else "[]"
        if lined:
            text = opening + self.behind(holders[:]) + self.newline
            for piece, comma in pieces:
                mess = self.gap(holders) if self.chance(8) else ""
                text += self.above(inner, holders) + inner + piece + mess + comma + self.behind(holders)
                text += (
                    "" if comma and self.chance(10) and not text.rstrip(" ").endswith('s"') else self.newline
                )
            text += self.above(inner, holders)
            text += self.newline if not text.endswith(self.newline) else ""
            text += indent + closing
        else:
            gaps = [
                self.gap(holders) + piece + (self.gap(holders) if self.chance(3) else "") + c
                for piece, c in pieces
            ]
            text = opening + "".join(gaps) + self.gap(holders) + closing
        return text, value if is_mapping else list(value.values())


def json_document(random: Random) -> Sample:
    """A JSON object with comments and odd layout."""
    writer = _Writer(random)
    head = writer.above("", [])
    text, value = writer.container((), [], "", 0, is_mapping=True)
    text = random.choice(["", "\ufeff"]) + head + text + writer.behind([]) + writer.newline
    return Sample(text, value, writer.comments)
