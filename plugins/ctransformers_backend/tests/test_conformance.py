"""ctransformers keeps the contract that modelplug has with every backend."""

from __future__ import annotations

import pytest

from modelplug.testing import BackendConformance

pytestmark = pytest.mark.integration


class TestCtransformers(BackendConformance):
    """Every clause, with the bundled demo model."""

    backend = "ctransformers"
    engine_modules = ("ctransformers",)
