"""What can't be exported is refused before anything is computed, with what to do instead."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_bk.errors import InvalidInputError
from resnet_bk.onnx_export import OnnxExportError, OnnxPackagesMissingError, export_to_onnx

pytestmark = pytest.mark.timeout(600)  # an export is seconds of work, and more on a busy machine
Maker = Callable[..., Any]


@pytest.mark.parametrize("wrap", [torch.nn.DataParallel, lambda _: torch.nn.Linear(2, 2), lambda _: "model"])
def test_other_models(make_model: Maker, tmp_path: Path, wrap: Callable[[Any], Any]) -> None:
    """Models of others, and ours in a wrapper, are refused by what they are."""
    other = wrap(make_model())
    with pytest.raises(InvalidInputError, match=type(other).__name__) as caught:
        export_to_onnx(other, tmp_path / "model.onnx")

    assert caught.value.tensor == "model"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_types(make_model: Maker, tmp_path: Path, dtype: torch.dtype) -> None:
    """Weights of another type than float32 are refused, with what to convert them with."""
    with pytest.raises(InvalidInputError, match=str(dtype)) as caught:
        export_to_onnx(make_model().to(dtype), tmp_path / "model.onnx")

    assert "model.float()" in caught.value.advice


@pytest.mark.parametrize("shape", [512, (1,), (1, 2, 3), (0, 5), (1, -5), (1, 5.0), (True, 5), "ab"])
def test_no_shapes(make_model: Maker, tmp_path: Path, shape: Any) -> None:
    """A shape is two positive whole numbers."""
    with pytest.raises(InvalidInputError, match="two positive whole numbers"):
        export_to_onnx(make_model(), tmp_path / "model.onnx", shape)


def test_longer_than_the_model_takes(make_model: Maker, old_model: Any, tmp_path: Path) -> None:
    """A model with a fixed number of positions can't be verified with a longer text."""
    for model in (old_model, make_model(position_embeddings=True)):
        with pytest.raises(InvalidInputError, match="65 tokens, and this model takes 64") as caught:
            export_to_onnx(model, tmp_path / "model.onnx", (1, 65))

        assert "(1, 64)" in caught.value.advice


def test_no_state_where_the_future_is_seen(old_model: Any, tmp_path: Path) -> None:
    """A model that sees the future can't be read piece by piece."""
    with pytest.raises(InvalidInputError, match="no state to go on from") as caught:
        export_to_onnx(old_model, tmp_path / "model.onnx", (1, 8), with_state=True)

    assert caught.value.tensor == "with_state"


@pytest.mark.parametrize("version", [17, 999, "18", 18.0])
def test_other_operators(make_model: Maker, tmp_path: Path, version: Any) -> None:
    """The version of ONNX's operators is one that is known and new enough."""
    with pytest.raises(InvalidInputError, match="from 18 to"):
        export_to_onnx(make_model(), tmp_path / "model.onnx", opset_version=version)


def test_places_where_no_file_can_be(make_model: Maker, tmp_path: Path) -> None:
    """A folder that is not there, and one in the file's place, are named."""
    with pytest.raises(OnnxExportError, match="there is no folder") as caught:
        export_to_onnx(make_model(), tmp_path / "none" / "model.onnx")
    assert caught.value.path == tmp_path / "none" / "model.onnx"
    with pytest.raises(OnnxExportError, match="is a folder"):
        export_to_onnx(make_model(), tmp_path)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no folder that nobody can write to")
def test_a_folder_that_takes_no_files(make_model: Maker) -> None:
    """Where nothing can be written, the system's reason is given, before the model is recorded."""
    with pytest.raises(OnnxExportError, match=r"/proc/model.onnx can't be written") as caught:
        export_to_onnx(make_model(), "/proc/model.onnx")

    assert caught.value.why


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_packages_that_are_not_there(
    make_model: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A missing package is named, with what to type; what only verifies is not needed without."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda each: None if each == name else found(each))
    with pytest.raises(OnnxPackagesMissingError, match=f"not installed: {name}$") as caught:
        export_to_onnx(make_model(), tmp_path / "model.onnx")

    assert caught.value.packages == (name,)
    assert "pip install 'modelplug-resnet-bk[onnx]'" in caught.value.advice
    assert caught.value.exit_code == 3
