"""The settings with which a speaking engine is told what to say."""

from __future__ import annotations

import attrs

from modelplug.backends.types import BackendSettings


@attrs.frozen(kw_only=True)
class SpeakingSettings(BackendSettings):
    """What to say, and how.

    Attributes:
        text: The words of every answer, over and over.
        ends: Whether the answer ends with these words.
        probabilities: What is told of them: nothing, or `sound`, `tied` (with `rival`), `nan` or `null`.
        rival: The word that is second.
        tokens: Whether token ids are told.
        seeded: Whether it says that it takes a seed.
        fickle: Whether it says something else every time in spite of the seed.
        hasty: Whether it says something else every time, with greedy decoding too.
        fault: `crash` or `hang`, while it answers.
        only: The fault happens only with files that have this in their name.
        pace: Seconds between two tokens.
        journal: A file that says which fault has happened.
    """

    text: str = "one two three four five"
    ends: bool = False
    probabilities: str = ""
    rival: str = "other"
    tokens: bool = True
    seeded: bool = True
    fickle: bool = False
    hasty: bool = False
    fault: str = ""
    only: str = ""
    pace: float = 0.0
    journal: str = ""
