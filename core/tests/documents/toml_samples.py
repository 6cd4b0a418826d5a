"""TOML documents as people write them: sections, dotted keys, arrays of tables, brackets, comments."""

from __future__ import annotations

import importlib
import sys
from random import Random
from typing import Any

from core.tests.documents.random_edits import Path, Sample

tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

KEYS = [
    ("a", "a"),
    ("b-c", "b-c"),
    ('"b.c"', "b.c"),
    ("'k 1'", "k 1"),
    ('"k\\u00e92"', "ké2"),
    ("model", "model"),
    ("1", "1"),
    ("k1", "k1"),
]
SCALARS = [
    "1",
    "1.0e-8",
    "1e-3",
    "0x1F",
    "1_000",
    "+0.10",
    "inf",
    "true",
    '"a # b"',
    "'lit \\ # x'",
    '"""one # 1\n\\"two"""""',
    "'''\n x = 1\n# no'''",
    "1979-05-27 07:32:00",
    "1979-05-27T00:32:00.999-07:00",
    "1979-05-27",
    "07:32:00",
]


def plain(text: str) -> Any:
    """What a text says by the standard library."""
    return tomllib.loads(text.removeprefix("\ufeff"))


class _Writer:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.newline = random.choice(("\n", "\n", "\r\n"))
        self.comments: dict[str, list[Path]] = {}
        self.spaced = random.randrange(4) > 0

    def chance(self, one_in: int) -> bool:
        return self.random.randrange(one_in) == 0

    def comment(self, holders: list[Path]) -> str:
        text = f"# c{len(self.comments) + 1}: 'it's [\"{{"
        self.comments[text] = holders
        return text

    def above(self, indent: str) -> str:
        lines = ""
        for _ in range(self.random.randint(0, 2)):
            if self.chance(3):
                lines += self.random.choice(("", "  ")) + self.newline
            else:
                lines += indent + self.comment([]) + self.newline
        return lines

    def behind(self, holders: list[Path]) -> str:
        if self.chance(3):
            return self.random.choice((" ", "   ", "\t", "")) + self.comment(holders) + self.newline
        return self.random.choice(("", "", " ")) + self.newline

    def key(self) -> tuple[str, str]:
        return self.random.choice(KEYS)

    def value(self, holders: list[Path], depth: int) -> str:
        """A value; `holders` are the paths of the entries it is in."""
        kind = self.random.choice(("scalar", "scalar", "scalar", "array", "table")) if depth < 2 else "scalar"
        if kind == "scalar":
            return self.random.choice(SCALARS).replace("\n", self.newline)
        if kind == "table":
            pairs = []
            for name, plain_name in self.random.sample(KEYS, self.random.randint(0, 3)):
                dotted = f"{name}.x" if self.chance(8) else name
                here = (*holders[-1], plain_name)
                inner = [*holders, here, (*here, "x")]
                pairs.append(f"{dotted}{self.random.choice((' = ', '='))}{self.value(inner, depth + 1)}")
            gap = self.random.choice(("", " "))
            return "{" + gap + ", ".join(pairs) + gap + "}"
        items = [
            self.value([*holders, (*holders[-1], position)], depth + 1)
            for position in range(self.random.randint(0, 3))
        ]
        trailing = "," if items and self.chance(3) else ""
        if self.chance(2):
            return "[" + ", ".join(items) + trailing + "]"
        text = "[" + self.behind(holders)
        for position, item in enumerate(items):
            comma = "," if position < len(items) - 1 else trailing
            text += "  " + item + comma + self.behind(holders)
        return text + self.random.choice(("", "  ")) + "]"

    def statements(self, path: Path) -> str:
        text = ""
        indent = self.random.choice(("", "", "  ", "\t"))
        for _ in range(self.random.randint(0, 3)):
            names = [self.key() for _ in range(2 if self.chance(4) else 1)]
            here = path
            holders = []
            for _, name in names:
                here = (*here, name)
                holders.append(here)
            dot = self.random.choice((".", ".", " . "))
            equals = self.random.choice((" = ", "=", "  =  "))
            key = dot.join(name for name, _ in names)
            text += self.above(indent) + indent + key + equals + self.value(holders, 0) + self.behind(holders)
        return text


def toml_document(random: Random) -> Sample:
    """A valid TOML text."""
    while True:
        writer = _Writer(random)
        text = writer.above("") + writer.statements(())
        items: dict[Path, int] = {}
        for _ in range(random.randint(0, 4)):
            names = [writer.key() for _ in range(random.choice((1, 1, 2, 3)))]
            path = tuple(name for _, name in names)
            is_item = writer.chance(4) or path in items
            if is_item:
                items[path] = items.get(path, -1) + 1
            real: Path = ()
            for depth, name in enumerate(path):
                real = (*real, name)
                if path[: depth + 1] in items:
                    real = (*real, items[path[: depth + 1]])
            opening, closing = ("[[", "]]") if is_item else ("[", "]")
            gap = random.choice(("", "", " "))
            header = opening + gap + ".".join(name for name, _ in names) + gap + closing
            text += writer.newline if writer.spaced else ""
            text += writer.above("") + header + writer.behind([]) + writer.statements(real)
        text += writer.above("") if writer.chance(3) else ""
        if writer.chance(5):
            text = text.removesuffix(writer.newline)
        try:
            value = plain(text)
        except ValueError:  # a table defined twice, or the like
            continue
        return Sample(random.choice(("", "\ufeff")) + text, value, writer.comments)
