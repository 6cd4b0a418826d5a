"""The resnet-bk backend keeps the contract that modelplug has with every backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelplug.testing import BackendConformance
from resnet_bk.backend.demo_model import demo_directory

pytestmark = pytest.mark.integration


class TestResNetBK(BackendConformance):
    """Every clause, with the demo model of this distribution."""

    backend = "resnet-bk"
    engine_modules = ("torch", "transformers", "tokenizers", "safetensors", "numpy")

    def model_path(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The bundled model."""
        return demo_directory()
