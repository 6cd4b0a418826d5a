"""What holds for any YAML document and any edits of it."""

from __future__ import annotations

from random import Random

from core.tests.documents.random_edits import (
    SCALARS,
    are_in_order,
    missing_comments,
    play,
    same,
    there_and_back,
    untouched_lines,
)
from core.tests.documents.yaml_samples import plain, with_names, yaml_document
from hypothesis import given, settings
from hypothesis import strategies as st

from modelplug.documents import read_document

VALUES = [*SCALARS, None, float("inf")]


@given(st.randoms(use_true_random=True))
def test_a_document_that_is_not_edited_keeps_every_byte(random: Random) -> None:
    """Reading says what the text says, and rendering without edits gives the same bytes."""
    sample = yaml_document(random)
    document = read_document(sample.text.encode(), "yaml")
    assert same(with_names(document.value), plain(sample.text))
    assert same(plain(sample.text), sample.value)
    assert document.render() == sample.text.encode()
    assert not document.changed


@given(st.randoms(use_true_random=True))
@settings(max_examples=300)
def test_any_edits_give_a_text_that_says_what_the_tree_says(random: Random) -> None:
    """The value is right by another reader, comments survive, untouched lines keep bytes and order."""
    sample = yaml_document(random)
    document = read_document(sample.text.encode(), "yaml")
    run = play(random, document, sample.value, VALUES, normal=with_names)
    text = document.render().decode()
    assert same(plain(text), run.model)
    assert missing_comments(run, sample, text) == []
    # Between brackets, a comma comes or goes when an entry becomes the last one, or ceases to be. A text in
    # lines of its own is written in another way if otherwise what comes to stand below it would belong to it.
    wanted = [
        line.replace(",", "")
        for line in untouched_lines(run, sample, r"(?!.*[|>]2?[-+]?( |$))(?!.*: *(#|$))\s*[^\s#}\]:]")
    ]
    assert are_in_order(wanted, text.replace(",", "")), wanted
    assert read_document(document.render(), "yaml").render() == document.render()


@given(st.randoms(use_true_random=True))
@settings(max_examples=200)
def test_moves_that_are_undone_leave_the_text_as_it_was(random: Random) -> None:
    """Entries carried away and back again, through sections made for them, stand where they stood."""
    sample = yaml_document(random)
    document = read_document(sample.text.encode(), "yaml")
    there_and_back(random, document, sample.value, normal=with_names)
    assert document.render() == sample.text.encode()
