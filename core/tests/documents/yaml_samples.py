"""YAML documents as people write them: blocks and brackets, every kind of scalar, comments everywhere."""

from __future__ import annotations

from random import Random
from typing import Any

from core.tests.documents.random_edits import Path, Sample
from ruamel.yaml import YAML

KEYS = [
    ("a", "a"),
    ("b.c", "b.c"),
    ("'k 1'", "k 1"),
    ('"k\\u00e92"', "ké2"),
    ("é", "é"),
    ("model", "model"),
    ("1", "1"),
    ("0.25", "0.25"),
    ("it's", "it's"),
    ("x y", "x y"),
]
SCALARS = [
    ("1", 1),
    ("1.0e-8", 1.0e-8),
    ("1e-3", 1e-3),
    ("035", 35),
    ("0x1F", 31),
    ("1_000", 1000),
    ("~", None),
    ("null", None),
    ("true", True),
    ("yes", "yes"),
    ("0.10", 0.1),
    (".inf", float("inf")),
    ("'it''s # no'", "it's # no"),
    ('"a: \\"b\\" # c"', 'a: "b" # c'),
    ("plain text", "plain text"),
    ("http://x/y#z", "http://x/y#z"),
    ("-x", "-x"),
    ("!!str 3", "3"),
    ("&anchor 3", 3),
]
BLOCK_ONLY = [("a, b", "a, b"), ("x {y}", "x {y}"), ("a]", "a]")]


def plain(text: str) -> Any:
    """What the first document of a text says by another reader, with keys as text."""
    documents = YAML(typ="safe", pure=True).load_all(text)
    value = next(iter(documents), None)
    return with_names(value if value is not None else {})


def with_names(value: Any) -> Any:
    """A value with the names of its keys instead of numbers."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): with_names(item) for key, item in value.items()}
    return list(map(with_names, value)) if isinstance(value, list) else value


class _Writer:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.newline = random.choice(("\n", "\n", "\r\n"))
        self.comments: dict[str, list[Path]] = {}
        self.anchored = False
        self.after_text = False

    def chance(self, one_in: int) -> bool:
        return self.random.randrange(one_in) == 0

    def comment(self, holders: list[Path]) -> str:
        text = f"# c{len(self.comments) + 1}: 'it's [{{"
        self.comments[text] = holders
        return text

    def above(self, column: int, holders: list[Path]) -> str:
        lines = ""
        for _ in range(self.random.randint(0, 2)):
            if self.chance(3):
                lines += self.random.choice(("", " " * column, "  ")) + self.newline
            else:
                indent = (
                    column if self.after_text or not self.chance(6) else self.random.choice((0, column + 2))
                )
                lines += " " * indent + self.comment(holders) + self.newline
        return lines

    def behind(self, holders: list[Path]) -> str:
        if self.chance(3):
            return self.random.choice((" ", "   ")) + self.comment(holders) + self.newline
        return self.random.choice(("", "", " ")) + self.newline

    def key(self, used: set[str]) -> tuple[str, str]:
        chosen = self.random.choice([pair for pair in KEYS if pair[1] not in used])
        used.add(chosen[1])
        return chosen

    def scalar(self, *, flow: bool) -> tuple[str, Any]:
        text, value = self.random.choice(SCALARS if flow else [*SCALARS, *BLOCK_ONLY])
        if text.startswith("&"):
            if self.anchored:
                return "3", 3
            self.anchored = True
        return text, value

    # Brackets ---------------------------------------------------------------------------------------------

    def flow(self, path: Path, holders: list[Path], column: int, depth: int) -> tuple[str, Any]:
        """A value in brackets, perhaps over several lines that are indented deeper than `column`."""
        if depth > 2 or self.chance(2):
            return self.scalar(flow=True)
        is_mapping, holders = self.chance(2), [*holders, path]
        lined = self.chance(3)
        used: set[str] = set()
        items: list[str] = []
        value: dict[Any, Any] = {}
        for position in range(self.random.randint(0, 3)):
            key = self.key(used) if is_mapping else ("", "")
            step: Any = key[1] if is_mapping else position
            if is_mapping and self.chance(8):
                items.append(key[0] + self.random.choice(("", ": ")))
                value[step] = None
                continue
            is_pair = not is_mapping and self.chance(6)
            here = (*path, step, "p") if is_pair else (*path, step)
            spelled, value[step] = self.flow(here, holders, column + 2, depth + 1)
            if is_mapping:
                spelled = f"{self.random.choice(('', '', '? '))}{key[0]}: {spelled}"
            elif is_pair:
                spelled, value[step] = f"p: {spelled}", {"p": value[step]}
            items.append(spelled)
        opening, closing = "{}" if is_mapping else "[]"
        trailing = "," if items and self.chance(4) else ""
        if not lined:
            return opening + ", ".join(items) + trailing + closing, value if is_mapping else list(
                value.values()
            )
        indent = " " * (column + 2)
        text = opening + self.behind(holders)
        for position, item in enumerate(items):
            comma = "," if position < len(items) - 1 else trailing
            text += self.above(column + 2, holders) + indent + item + comma + self.behind(holders)
        return text + " " * (column + 1) + closing, value if is_mapping else list(value.values())

    # Blocks -----------------------------------------------------------------------------------------------

    def mapping(self, path: Path, holders: list[Path], column: int, depth: int) -> tuple[str, Any]:
        """Lines of a mapping whose keys stand in `column`; the first line without indentation."""
        used: set[str] = set()
        text, value = "", {}
        for number in range(self.random.randint(1, 4)):
            key = self.key(used)
            if number:
                text += self.above(column, holders) + " " * column
            here = (*path, key[1])
            if self.chance(15):
                text += f"? {key[0]}{self.behind(holders)}{' ' * column}:"
            else:
                text += key[0] + self.random.choice((":", ":", " :"))
            spelled, value[key[1]] = self.value(here, holders, column, depth)
            text += spelled
        return text, value

    def items(self, path: Path, holders: list[Path], column: int, depth: int) -> tuple[str, Any]:
        """Lines of a list whose dashes stand in `column`; the first line without indentation."""
        text, value = "", []
        for number in range(self.random.randint(1, 3)):
            if number:
                text += self.above(column, holders) + " " * column
            here = (*path, number)
            if self.chance(3) and depth < 3:
                wide = self.random.choice((1, 1, 3))
                inner = self.mapping if self.chance(2) else self.items
                spelled, item = inner(here, [*holders, here], column + 1 + wide, depth + 1)
                text += "-" + " " * wide + spelled
            else:
                spelled, item = self.value(here, holders, column, depth)
                text += "-" + spelled
            value.append(item)
        return text, value

    def value(self, path: Path, holders: list[Path], column: int, depth: int) -> tuple[str, Any]:
        """What follows a colon or dash that belongs to `column`, to the end of its last line."""
        self.after_text = False
        kind = self.random.choice(
            ("scalar", "scalar", "scalar", "flow", "text", "long", "empty", "mapping", "list")
        )
        inside = [*holders, path]
        if kind in ("mapping", "list") and depth < 3:
            deeper = column + self.random.randint(1, 4)
            fill = self.mapping if kind == "mapping" else self.items
            text = self.behind(inside) + self.above(deeper, inside)
            spelled, value = fill(path, inside, deeper, depth + 1)
            text += " " * deeper + spelled
            if self.chance(4):
                text += " " * deeper + self.comment(inside) + self.newline
            return text, value
        if kind == "flow":
            text, value = self.flow(path, holders, column, depth)
            return " " + text + self.behind(holders), value
        if kind == "empty":
            return self.behind(holders), None
        if kind == "text":
            self.after_text = True  # a comment that is indented would belong to it
            return self.block_scalar(holders, column)
        if kind == "long":
            indent = self.newline + " " * (column + 2)
            quote = self.random.choice(("", '"', "'"))
            return f" {quote}one{indent}two{indent} three{quote}" + self.behind(holders), "one two three"
        text, value = self.scalar(flow=False)
        return " " + text + self.behind(holders), value

    def block_scalar(self, holders: list[Path], column: int) -> tuple[str, Any]:
        style, chomp = self.random.choice("|>"), self.random.choice(("", "-", "+"))
        indent, newline = " " * (column + 2), self.newline
        digit = "2" if self.chance(4) else ""
        header = f" {style}{digit}{chomp}{self.behind(holders)}"
        blank = self.random.choice(("", newline, newline + newline))
        text = f"{header}{indent}line # 1{newline}{newline}{indent}  'more{newline}{blank}"
        if chomp == "+":  # or the blank lines of the next entry would belong to the text
            text += " " * column + self.comment(holders) + newline
        end = {"-": "", "": "\n", "+": "\n" + "\n" * blank.count("\n")}[chomp]
        return text, ("line # 1\n\n  'more" + end)


def yaml_document(random: Random) -> Sample:
    """A YAML mapping, perhaps with a document after it."""
    writer = _Writer(random)
    head = writer.above(0, [])
    if writer.chance(4):
        head += "---" + writer.behind([])
    text, value = writer.mapping((), [()], 0, 0)
    text = random.choice(("", "\ufeff")) + head + writer.above(0, [()]) + text
    if writer.chance(6):
        text += writer.above(0, []) + "---" + writer.newline + "other: 1 # document" + writer.newline
    elif writer.chance(4):
        text = text.removesuffix(writer.newline)
        value = plain(text)  # without its line break, a text that ends the file says something else
    return Sample(text, value, writer.comments)
