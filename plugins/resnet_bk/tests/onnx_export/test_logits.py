"""What ONNX files compute is what the models compute, for every number of texts and tokens."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resnet_bk.modeling import ResNetBKModel
from resnet_bk.onnx_export import export_to_onnx

pytestmark = pytest.mark.timeout(600)  # an export is seconds of work, and more on a busy machine
Maker = Callable[..., Any]
SHAPES = [(1, 1), (1, 2), (3, 5), (2, 33), (1, 64)]
# Of the largest logit; the specification of earlier versions asked for it.
CLOSE = 1e-5


def off(found: torch.Tensor, model: Any, ids: torch.Tensor) -> float:
    """The largest difference to what the model gives in double precision, over the largest value."""
    with torch.no_grad():
        exact = copy.deepcopy(model).double()(ids, use_cache=False)[0]
    return float((found - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize(("rows", "length"), SHAPES)
def test_whole_texts(
    whole_file: Path, open_graph: Maker, make_model: Maker, tokens: Maker, rows: int, length: int
) -> None:
    """A file takes texts of any number and length, whatever it was verified with."""
    ids = tokens(rows, length)

    assert off(open_graph(whole_file).run(ids)[0], make_model(), ids) < CLOSE


@pytest.mark.parametrize(("rows", "length"), SHAPES)
def test_every_kind_of_model_from_the_beginning(
    stateful: tuple[Any, Any], tokens: Maker, rows: int, length: int
) -> None:
    """With a state of zeros a text is at its beginning, for every mixer, norm, feed-forward and head."""
    model, graph = stateful
    ids = tokens(rows, length)

    assert off(graph.run(ids)[0], model, ids) < CLOSE


def test_piece_by_piece(stateful: tuple[Any, Any], tokens: Maker) -> None:
    """A text read in pieces of any size, single tokens too, gets the logits of the whole text."""
    model, graph = stateful
    ids, state, found = tokens(2, 40), None, []
    for piece in ids.split([1, 1, 17, 3, 1, 1, 16], 1):
        logits, state = graph.run(piece, state)
        found.append(logits)

    assert off(torch.cat(found, 1), model, ids) < CLOSE


def test_the_state_has_one_size(stateful: tuple[Any, Any], tokens: Maker) -> None:
    """After many tokens the state is as large as after one, as large as the configuration says."""
    model, graph = stateful
    _, after_one = graph.run(tokens(1, 1))
    _, after_many = graph.run(tokens(1, 50))
    floats = [tensor for tensor in after_many.values() if tensor.dtype == np.float32]

    assert {name: tensor.shape for name, tensor in after_one.items()} == {
        name: tensor.shape for name, tensor in after_many.items()
    }
    assert sum(tensor.nbytes for tensor in floats) == model.config.state_bytes


def test_texts_do_not_touch_each_other(stateful: tuple[Any, Any], tokens: Maker) -> None:
    """Rows of a state can be taken apart: a text goes on by itself as it does beside others."""
    _, graph = stateful
    ids = tokens(3, 20)
    _, state = graph.run(ids[:, :12])
    together, _ = graph.run(ids[:, 12:], state)
    alone, _ = graph.run(ids[1:2, 12:], {name: tensor[1:2] for name, tensor in state.items()})

    torch.testing.assert_close(alone[0], together[1], rtol=0, atol=1e-5 * float(together.abs().max()))


def test_a_model_that_sees_the_future(
    old_model: Any, open_graph: Maker, tokens: Maker, tmp_path: Path
) -> None:
    """A model as before 1.0 is exported, and takes texts up to its number of positions."""
    graph = open_graph(export_to_onnx(old_model, tmp_path / "old.onnx", (1, 64), tolerance=CLOSE))
    for rows, length in SHAPES:
        ids = tokens(rows, length)

        assert off(graph.run(ids)[0], old_model, ids) < CLOSE


def test_one_shape_only_and_no_output_matrix(
    make_model: Maker, open_graph: Maker, tokens: Maker, tmp_path: Path
) -> None:
    """Without `dynamic` a file takes one shape; what `AutoModel` loads gives its last hidden states."""
    model, ids = make_model().model, tokens(2, 6)
    path = export_to_onnx(model, tmp_path / "fixed.onnx", (2, 6), dynamic=False, opset_version=20)
    graph = open_graph(path)

    assert isinstance(model, ResNetBKModel)
    assert graph.outputs == ["last_hidden_state"]
    assert graph.inputs["input_ids"].shape == [2, 6]
    assert off(graph.run(ids)[0], model, ids) < CLOSE
    with pytest.raises(Exception, match="invalid dimensions"):
        graph.run(tokens(2, 7))
