"""The transformers backend keeps the contract that modelplug has with every backend."""

from __future__ import annotations

import pytest

from modelplug.testing import BackendConformance

pytestmark = pytest.mark.integration


class TestTransformers(BackendConformance):
    """Every clause, with the demo model as a Hugging Face directory."""

    backend = "transformers"
    engine_modules = ("transformers", "torch", "accelerate", "safetensors")
