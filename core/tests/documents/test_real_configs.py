"""Configurations that people wrote, edited as a migration edits them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from random import Random

import pytest
from core.tests.documents.random_edits import SCALARS, play, same, there_and_back, walk
from core.tests.documents.yaml_samples import plain, with_names
from hypothesis import given, settings
from hypothesis import strategies as st

from modelplug.documents import Document, format_of, read_document

SHARED = Path(os.environ.get("MODELPLUG_SHARED", Path(__file__).resolve().parents[4] / "shared"))
CONFIGS = sorted((SHARED / "data/resnet-bk-configs").glob("*"))
# One file holds objects of another program, which no other reader makes sense of.
READABLE = [path for path in CONFIGS if b"!!python" not in path.read_bytes()]

pytestmark = pytest.mark.skipif(not CONFIGS, reason="the shared configurations are not here")


def document_of(path: Path) -> Document:
    """A configuration as a document."""
    return read_document(path.read_bytes(), format_of(path) or "", name=str(path))


def comments_of(text: str) -> list[str]:
    """The comments of a text that has no number sign in a value."""
    return sorted(found.strip() for found in re.findall(r"(?:^|\s)(#.*)", text))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_reading_changes_nothing(path: Path) -> None:
    """What is read is what another reader reads, every entry has a line, and all bytes stay."""
    document = document_of(path)
    assert document.render() == path.read_bytes()
    if path in READABLE:
        assert same(document.value, plain(document.text))
    lines = document.text.splitlines()
    for origin, _ in document.tree.source_leaves():
        line = document.line_of(origin)
        assert line is not None
        assert str(origin[-1]) in lines[line - 1]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_renaming_everything_changes_only_keys(path: Path) -> None:
    """With every name of the first two levels changed, each line still ends as it did, in the same order."""
    document = document_of(path)
    tree = document.tree
    before = document.text.splitlines()
    for name in tree.names():
        for inner in tree.names((name,)):
            tree.rename((name, inner), f"new_{inner}")
        tree.rename((name,), f"new_{name}")
    after = document.render().decode().splitlines()
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert new.replace("new_", "", 1) == old or new == old


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_gathering_everything_in_one_section_keeps_every_comment(path: Path) -> None:
    """All entries moved into a section that is made: nothing is lost, and undoing it gives the same bytes."""
    document = document_of(path)
    names = document.tree.names()
    value = document.value
    for name in names:
        document.tree.move((name,), ("all", name))
    text = document.render().decode()
    assert same(read_document(text.encode(), document.format).value, {"all": value})
    if document.format == "yaml":
        assert comments_of(text) == comments_of(document.text)
    for name in names:
        document.tree.move(("all", name), (name,))
    document.tree.remove(("all",))
    assert document.render() == path.read_bytes()


@given(st.randoms(use_true_random=True))
@settings(max_examples=30)
def test_any_edits_of_real_configurations(random: Random) -> None:
    """Random edits give what the tree says by another reader; removals and moves lose no comment."""
    path = random.choice(READABLE)
    document = document_of(path)
    scalars = [value for value in (*SCALARS, None) if "#" not in str(value)]
    run = play(random, document, document.value, scalars, normal=with_names)
    assert same(plain(document.render().decode()), run.model)
    if document.format == "yaml" and not run.replaced:
        assert set(comments_of(document.text)) <= set(comments_of(document.render().decode()))


@given(st.randoms(use_true_random=True))
@settings(max_examples=30)
def test_undone_edits_of_real_configurations(random: Random) -> None:
    """Entries carried away and back again leave the file as it was."""
    path = random.choice([path for path in READABLE if walk(document_of(path).value)])
    document = document_of(path)
    there_and_back(random, document, document.value, normal=with_names)
    assert document.render() == path.read_bytes()
