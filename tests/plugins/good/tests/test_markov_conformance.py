"""The contract with backends, checked by modelplug's own kit. The plugin must be installed for this."""

from __future__ import annotations

from pathlib import Path

import pytest
from modelplug_markov.training import train

from modelplug.testing import BackendConformance

TEXT = """ROMEO:
But, soft! what light through yonder window breaks?
It is the east, and Juliet is the sun.

HAMLET:
To be, or not to be, that is the question:
Whether it is nobler in the mind to suffer.

Hello, said the one; hello, said the other, and on they went, and on and on.
"""


class TestMarkov(BackendConformance):
    """Every clause, with a model that knows a few lines of Shakespeare by heart."""

    backend = "markov"
    engine_modules = ("modelplug_markov.engine", "modelplug_markov.chain")

    def model_path(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A model trained for the occasion."""
        path = tmp_path_factory.mktemp("markov") / "lines.markov"
        train(TEXT * 40, path, name="lines", order=3, vocabulary=400)
        return path
