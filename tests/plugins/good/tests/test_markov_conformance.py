"""The contract with backends, checked by modelplug's own kit. The plugin must be installed for this."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from modelplug_markov.training import train

from modelplug.testing import BackendConformance

SPEAKERS = ("ROMEO", "JULIET", "HAMLET", "GHOST")
LINES = """
Hello! But soft, what light through yonder window breaks?
To be, or not to be, that is the question:
whether it is nobler in the mind to suffer.
"""
WORDS = re.findall(r"\w+", LINES)


def scenes(lines: int = 2000) -> str:
    """A play of random words, in which no line decides how the next one goes."""
    chance = random.Random(1)
    speeches = (
        f"{chance.choice(SPEAKERS)}:\n{' '.join(chance.choices(WORDS, k=chance.randint(3, 9)))}.\n\n"
        for _ in range(lines)
    )
    return "".join(speeches)


class TestMarkov(BackendConformance):
    """Every clause, with a model that has read one bad play."""

    backend = "markov"
    engine_modules = ("modelplug_markov.engine", "modelplug_markov.chain")

    def model_path(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A model trained for the occasion."""
        path = tmp_path_factory.mktemp("markov") / "play.markov"
        train(scenes(), path, name="play", order=2, vocabulary=320)
        return path
