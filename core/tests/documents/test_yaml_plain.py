"""The quick reader of plain YAML, held against the library part by part."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
from core.tests.documents.yaml_samples import yaml_document
from hypothesis import given, settings
from hypothesis import strategies as st

from modelplug.documents.yaml_events import (
    DOCUMENT,
    DOCUMENT_END,
    LIST_END,
    LIST_START,
    MAPPING_END,
    MAPPING_START,
    TEXT_SCALAR,
    Event,
    library_events,
)
from modelplug.documents.yaml_plain import plain_events

SHARED = Path(os.environ.get("MODELPLUG_SHARED", Path(__file__).resolve().parents[4] / "shared"))
CONFIGS = sorted((SHARED / "data/resnet-bk-configs").glob("*.yaml"))

PLAIN = """\
# header
a: 1   # one
b:
  c.d: 1.0e-5
  # inside
  e-f: "quoted # text"

  g: 'single'
  list: [1, two, "three", 4.5e3, ]
empty:
dashes:
- x
- 2  # two
deeper:
    - ./path/to.file
    - null
last: some words (and more)
"""


def essence(events: list[Event]) -> list[tuple[object, ...]]:
    """Events without the places that nobody uses: of what has no text of its own."""
    shown: list[tuple[object, ...]] = []
    begun: list[Event] = []
    for event in events:
        place: tuple[int, ...] = ()
        if event.kind in (MAPPING_START, LIST_START):
            begun.append(event)
            place = (event.start,)
        elif event.kind in (MAPPING_END, LIST_END):
            place = (event.start, event.end) if begun.pop().flow else ()
        elif event.kind == TEXT_SCALAR and event.start < event.end:
            place = (event.start, event.end)
        value = repr(event.meaning) if event.kind == TEXT_SCALAR else ""
        shown.append((event.kind, value, event.style, event.anchor, event.tagged, event.flow, place))
    return shown


def agree(text: str) -> bool:
    """Whether the quick reader takes a text; if it does, it must say what the library says."""
    quick = plain_events(text)
    if quick is not None:
        assert essence(quick) == essence(list(library_events(text))), text
    return quick is not None


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_plain_texts_are_taken(newline: str, mark: str) -> None:
    """What most configurations look like needs no library, whatever their line ends."""
    assert agree(mark + PLAIN.replace("\n", newline))
    assert agree(mark + PLAIN.replace("\n", newline).removesuffix(newline))


@pytest.mark.skipif(not CONFIGS, reason="the shared configurations are not here")
def test_real_configurations_are_taken() -> None:
    """Of the configurations that people wrote, only the one with tags and aliases is not plain."""
    taken = [path.name for path in CONFIGS if agree(path.read_text("utf-8"))]
    assert sorted({path.name for path in CONFIGS} - set(taken)) == ["compression_report.yaml"]


OTHER = [
    "",
    "# only\n",
    "a: b: c\n",
    "a: &x 1\n",
    "a: *x\n",
    "a: !!str 1\n",
    "a: |\n  x\n",
    "a: {}\n",
    "a: [[1]]\n",
    "a: [b: 1]\n",
    "a: 'it''s'\n",
    'a: "\\n"\n',
    "a: x#y\n",
    "a:1\n",
    "a\n",
    "- a: 1\n",
    "- - a\n",
    "---\na: 1\n",
    "a: 1\n---\n",
    "%YAML 1.1\n---\na: yes\n",
    "a: 1\na: 2\n",
    "a: 1\n  b: 2\n",
    "a:\n  b: 1\n c: 2\n",
    "a:\n b\n",
    "a: b\n c\n",
    "a: 0x1F\n",
    "a: 0o17\n",
    "a: 1_000\n",
    "a: 2001-01-01\n",
    "a: 1:30\n",
    "a: .inf\n",
    "a: 10B\n",
    "a: \x01\n",
    "a:\tb\n",
    "a: 1 \t# c\n",
    "<<: 1\n",
    "null: 1\n",
    "true: 1\n",
    "? a\n",
    "a: -\n",
    "a: - b\n",
    "a: ?\n",
    "a: b:\n",
    "a: @b\n",
    "a: %b\n",
    "a: `b\n",
    "a: 'b' c\n",
    "a: [1,, 2]\n",
    "a: [1, 2\n",
    "a: [1] 2\n",
    "a: é\n",
    "a: x\u2028y\n",
    f"{'k' * 1100}: 1\n",
    f"a: {'9' * 5000}\n",
]


@pytest.mark.parametrize("text", OTHER)
def test_everything_else_is_left_to_the_library(text: str) -> None:
    """What is not plain, and every fault, is none of the quick reader's business."""
    assert plain_events(text) is None


PARTS = [
    "a", "b", "key", "a.b", "x-y", "null", "True", "~", "1", "-1", "+1", "01", "1.", "1.5", ".5", "1e3",
    "1.0e-5", "1e", "0x1", "1_0", "yes", "on", "'q'", "'it''s'", '"d"', '"\\n"', "'# x'", "[1, 2]",
    "[a, b ,]", "[]", "[ ]", "[,]", "[1,,2]", '[\'x\', "y"]', "{}", "{a: 1}", "|", ">", "&a", "*a", "!t",
    "- ", "-", "? ", ": ", ":", "#", " # c", "#c", " ", "  ", "\n", "\n  ", "\n    ", "\n- ", "\n  - ",
    "\na: ", "\n  b: ", "\nc:\n", "\n\n", "\r\n", "\t", "é", "./x", "../y", "/z", ".", "..", "@", "%",
    "(x)", "a b", "a  b", "a - b", "a -b", "a (b)", "word, word", "---", "...", "\n---\n", "<<", "=",
    "2001-01-01", "12:30", "x:y",
]  # fmt: skip


@given(st.randoms(use_true_random=True))
@settings(max_examples=1000)
def test_whatever_is_taken_means_what_the_library_says(random: Random) -> None:
    """Random texts, near the border of what is plain, are left alone or read exactly alike."""
    if random.randrange(2):
        lines = PLAIN.splitlines(keepends=True)
        for _ in range(random.randint(1, 3)):
            position = random.randrange(len(lines))
            line = lines[position]
            cut = random.randrange(len(line))
            lines[position] = line[:cut] + random.choice(PARTS) + line[cut + random.randrange(3) :]
        agree("".join(lines))
    else:
        agree("a:" + "".join(random.choice(PARTS) for _ in range(random.randint(1, 12))))


@given(st.randoms(use_true_random=True))
@settings(max_examples=200)
def test_generated_documents_are_read_alike(random: Random) -> None:
    """Documents with everything YAML has are left to the library unless they happen to be plain."""
    agree(yaml_document(random).text)


def test_the_parts_are_told_in_order() -> None:
    """A text is a document with mappings, lists and scalars in it, each begun and ended."""
    kinds = [event.kind for event in plain_events("a: [1]\nb:\n- x\n") or []]
    assert kinds == [
        DOCUMENT,
        MAPPING_START,
        TEXT_SCALAR,
        LIST_START,
        TEXT_SCALAR,
        LIST_END,
        TEXT_SCALAR,
        LIST_START,
        TEXT_SCALAR,
        LIST_END,
        MAPPING_END,
        DOCUMENT_END,
    ]
