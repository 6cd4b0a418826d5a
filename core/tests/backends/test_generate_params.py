"""What `GenerateParams` and `Message` take, and the sentences they refuse the rest with."""

from __future__ import annotations

import re
from typing import Any

import pytest

from modelplug.backends.model import GenerateParams, Message


@pytest.mark.parametrize("seed", [0, 2**32 - 1, None])
def test_every_seed_of_32_bits_is_kept(seed: int | None) -> None:
    """All seeds that every engine takes whole are allowed, and so is none."""
    assert GenerateParams(seed=seed).seed == seed


@pytest.mark.parametrize(
    "grammar",
    [
        'root ::= "yes"',
        "item ::= [a-z]\nroot ::= item+ # the beginning\n",
        '  root\t::=\n  # what follows\n  "a"',
        'root ::= # nothing yet\n"a" | ""',
        None,
    ],
)
def test_grammars_with_a_root_are_taken_as_they_are(grammar: str | None) -> None:
    """A grammar is left to the engine once it has a rule `root` that says something."""
    assert GenerateParams(grammar=grammar).grammar == grammar


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"seed": 2**32}, "seed must be a whole number from 0 to 4294967295, not 4294967296"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"seed": True}, "seed must be a whole number from 0"),
        ({"grammar": ""}, "grammar must be a GBNF grammar"),
        ({"grammar": " \n\t"}, "grammar must be a GBNF grammar"),
        ({"grammar": 3}, "grammar must be a GBNF grammar"),
        ({"grammar": 'start ::= "a"'}, "grammar must have a rule root"),
        ({"grammar": '# root ::= "a"'}, "grammar must have a rule root"),
        ({"grammar": "root ::= "}, "nothing after 'root ::='"),
        ({"grammar": "root ::= # later\n\n"}, "nothing after 'root ::='"),
        ({"grammar": 'root ::=\nitem ::= "a"'}, "nothing after 'root ::='"),
        ({"overflow": "drop"}, "overflow must be 'error' or 'truncate', not 'drop'"),
        ({"unsupported": "ignore"}, "unsupported must be 'error' or 'warn', not 'ignore'"),
    ],
    ids=repr,
)
def test_what_means_nothing_is_refused(given: dict[str, Any], words: str) -> None:
    """A value no engine could honour is refused in one sentence that says what is allowed."""
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        GenerateParams(**given)
    assert len(caught.value.args) == 1


def test_a_message_says_what_it_takes() -> None:
    """An unknown role and a content that is no text are each refused in a sentence."""
    with pytest.raises(
        ValueError, match="role must be 'system', 'user' or 'assistant', not 'robot'"
    ) as caught:
        Message("robot", "x")
    assert len(caught.value.args) == 1
    content: Any = 3
    with pytest.raises(ValueError, match="content must be text, not 3"):
        Message("user", content)
