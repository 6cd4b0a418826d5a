"""Fixtures for tests of conversion: a plugin that converts and fails on demand, and models for it."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIBE = Path(__file__).parent / "scribe"


@pytest.fixture
def scribe(own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the plugin for this process and those it starts, and leave the others out."""
    information = tmp_path / "site" / "scribe-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: scribe\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[modelplug]\nscribe = modelplug_scribe\n")
    paths = [str(tmp_path / "site"), str(SCRIBE)]
    for path in paths:
        monkeypatch.syspath_prepend(path)
    inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*paths, *inherited]))
    others = "llamacpp,ctransformers,transformers,llamafile,resnet-bk,resnet_bk,migrators"
    monkeypatch.setenv("MODELPLUG_DISABLE_PLUGINS", others)
    return SCRIBE


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Makes a model directory that the plugin takes, with a fault to have."""

    def make(fault: str = "", **config: Any) -> Path:
        directory = tmp_path / "models" / "sample"
        directory.mkdir(parents=True)
        values = {"model_type": "sample", "max_position_embeddings": 512, "fault": fault, **config}
        (directory / "config.json").write_text(json.dumps(values))
        header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
        data = struct.pack("<Q", len(header)) + header + bytes(16)
        (directory / "model.safetensors").write_bytes(data)
        return directory

    return make
