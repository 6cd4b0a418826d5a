"""ONNX files appear verified or not at all, say what they hold, and leave the model as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from resnet_bk import __version__
from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.onnx_export import OnnxExportError, OnnxMismatchError, export_to_onnx
from resnet_bk.onnx_export.network import Network
from resnet_bk.onnx_export.verification import verify_file

pytestmark = pytest.mark.timeout(600)  # an export is seconds of work, and more on a busy machine
Maker = Callable[..., Any]


def metadata(path: Path) -> dict[str, str]:
    """What stands in a file besides the graph."""
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_a_file_says_what_it_holds(whole_file: Path, make_model: Maker) -> None:
    """Kind of model, version and the whole configuration stand in the metadata."""
    found = metadata(whole_file)
    config = MambaKillerConfig.from_dict(json.loads(found["config"]))

    assert (found["model_type"], found["resnet_bk_version"]) == ("resnet_bk", __version__)
    assert found["state"] == "[]"
    assert config.to_dict() == make_model().config.to_dict()


def test_inputs_and_outputs_have_names(whole_file: Path) -> None:
    """Tokens go in as whole numbers of 64 bits, logits come out; texts and tokens are open dimensions."""
    graph = onnx.load(whole_file).graph
    (tokens,), (logits,) = graph.input, graph.output
    sizes = [
        [size.dim_param or size.dim_value for size in item.type.tensor_type.shape.dim]
        for item in (tokens, logits)
    ]

    assert (tokens.name, logits.name) == ("input_ids", "logits")
    assert tokens.type.tensor_type.elem_type == onnx.TensorProto.INT64
    assert sizes == [["batch", "length"], ["batch", "length", 61]]


def test_a_file_tells_nothing_of_the_machine(whole_file: Path) -> None:
    """Neither the names of source files nor of folders are in it."""
    content = whole_file.read_bytes()

    assert b".py" not in content
    assert str(Path.home()).encode() not in content


def test_the_model_stays_as_it_was(make_model: Maker, tmp_path: Path) -> None:
    """Weights, the mode of every module, and the random numbers that come next are those of before."""
    model = make_model(dropout=0.5).train()
    model.model.norm.eval()
    modes = [module.training for module in model.modules()]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    attributes = [sorted(vars(module)) for module in model.modules()]
    numbers = torch.get_rng_state()
    path = export_to_onnx(model, tmp_path / "model.onnx", (1, 5), dynamic=False)

    assert path == (tmp_path / "model.onnx").resolve()
    assert [module.training for module in model.modules()] == modes
    assert [sorted(vars(module)) for module in model.modules()] == attributes
    assert torch.equal(torch.get_rng_state(), numbers)
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_differs_gets_no_name(make_model: Maker, tmp_path: Path) -> None:
    """A file that differs by more than is allowed is not put in place: what was there before is."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the old one")
    with pytest.raises(OnnxMismatchError) as caught:
        export_to_onnx(make_model(), path, (1, 9), dynamic=False, tolerance=0.0)

    assert caught.value.path == path
    assert caught.value.shape == (1, 9)
    assert 0 < caught.value.error < 1e-5
    assert path.read_bytes() == b"the old one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("value", [2.0, np.nan])
def test_another_weight_is_found(whole_file: Path, make_model: Maker, tmp_path: Path, value: float) -> None:
    """A file in which one weight is another, or not a number, is found by running it."""
    path = tmp_path / "changed.onnx"
    changed = onnx.load(whole_file)
    (skip,) = (weight for weight in changed.graph.initializer if weight.name.endswith("mixer.skip"))
    skip.CopyFrom(
        onnx.numpy_helper.from_array(np.full_like(onnx.numpy_helper.to_array(skip), value), skip.name)
    )
    onnx.save(changed, path)
    network = Network(make_model(), with_state=False).eval()
    with torch.no_grad(), pytest.raises(OnnxMismatchError, match="something else than the model"):
        verify_file(path, network, (1, 9), dynamic=True, tolerance=1e-4, target=path)


def test_half_a_file_is_found(whole_file: Path, make_model: Maker, tmp_path: Path) -> None:
    """A file that ONNX Runtime can't read is an error that says so."""
    path = tmp_path / "half.onnx"
    shutil.copy(whole_file, path)
    with path.open("rb+") as stream:
        stream.truncate(path.stat().st_size // 2)
    network = Network(make_model(), with_state=False).eval()
    with pytest.raises(OnnxExportError, match="can't run the file"):
        verify_file(path, network, (1, 9), dynamic=True, tolerance=1e-4, target=path)
