"""llama.cpp keeps the contract that modelplug has with every backend."""

from __future__ import annotations

import pytest

from modelplug.testing import BackendConformance

pytestmark = pytest.mark.integration


class TestLlamaCpp(BackendConformance):
    """Every clause, with the bundled demo model."""

    backend = "llamacpp"
    engine_modules = ("xllamacpp",)
    parallel_settings = {"parallel": 2}  # noqa: RUF012  read by the kit, never changed
