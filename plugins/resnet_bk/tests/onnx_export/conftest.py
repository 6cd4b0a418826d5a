"""Small models, their ONNX files, and ONNX Runtime, which runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import transformers

from resnet_bk.configuration import SeesTheFutureWarning
from resnet_bk.onnx_export import export_to_onnx

SMALL = {
    "vocab_size": 61, "d_model": 32, "n_layers": 1, "n_seq": 64, "value_dim": 16, "key_dim": 8,
    "copy_key_dim": 0,
}  # fmt: skip
# Every setting that changes the graph, in as few models as that takes: an export is seconds of work. float32
# has a relative error of 1e-7 / eta, and without a larger epsilon the widths of `diagonal` begin at 0.01.
KINDS: dict[str, dict[str, Any]] = {
    "mixed": {
        "complex_heads": 2, "free_heads": 1, "feed_forward": "swiglu", "tie_word_embeddings": True,
        "use_prime_bump": True, "prime_bump_scale": 1.0, "norm": "layer", "epsilon": 0.5,
    },
    "phased": {"complex_heads": 4, "free_heads": 0, "conv_kernel": 1, "head_bias": True},
    "routed": {"num_experts": 3, "position_embeddings": True},
    "copying": {"copy_key_dim": 5, "head_bias": True, "use_prime_bump": True, "epsilon": 0.5},
    "diagonal": {
        "n_layers": 2, "mixer": "diagonal", "epsilon": 10.0, "diagonal_heads": 4, "potential_limit": 1.0,
        "num_experts": 2, "use_scattering_router": False, "parallel_feed_forward": True,
        "copy_key_dim": 3, "tie_word_embeddings": True,
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def make_model(make_any_model: Callable[..., Any]) -> Callable[..., Any]:
    """Makes small models, the same for the same settings, with weights large enough for all to count."""

    def make(seed: int = 0, **settings: Any) -> Any:
        return make_any_model(seed, **{**SMALL, **settings})

    return make


@pytest.fixture(scope="session")
def old_model(make_model: Callable[..., Any]) -> Any:
    """A model as before 1.0, which sees the future."""
    with pytest.warns(SeesTheFutureWarning):
        return make_model(mixer="diagonal-bidirectional", num_experts=2, use_scattering_router=False)


@pytest.fixture(scope="session")
def tokens() -> Callable[..., torch.Tensor]:
    """Makes random tokens."""

    def make(rows: int, length: int) -> torch.Tensor:
        return torch.randint(0, 61, (rows, length), generator=torch.Generator().manual_seed(length))

    return make


class Graph:
    """An ONNX file in ONNX Runtime."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = {item.name: item for item in self.session.get_inputs()}
        self.outputs = [item.name for item in self.session.get_outputs()]

    def beginning(self, rows: int) -> dict[str, np.ndarray]:
        """A state of zeros, from what the file itself says of its inputs."""
        kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
        return {
            name: np.zeros((rows, *item.shape[1:]), kinds[item.type])
            for name, item in self.inputs.items()
            if name.startswith("past.")
        }

    def run(self, ids: torch.Tensor, state: dict[str, np.ndarray] | None = None) -> tuple[torch.Tensor, Any]:
        """The first output, and the state to go on with."""
        given = self.beginning(len(ids)) if state is None else state
        first, *rest = self.session.run(None, {"input_ids": ids.numpy(), **given})
        names = [name.replace("present.", "past.", 1) for name in self.outputs[1:]]
        return torch.from_numpy(first), dict(zip(names, rest, strict=True))


@pytest.fixture(scope="session")
def open_graph() -> Callable[[Path], Graph]:
    """Opens an ONNX file."""
    return Graph


@pytest.fixture(scope="session", autouse=True)
def whole_file(make_model: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the default model; what the first export leaves in the process is there before any test."""
    transformers.logging.disable_progress_bar()
    return export_to_onnx(make_model(), tmp_path_factory.mktemp("whole") / "model.onnx", (1, 9))


@pytest.fixture(scope="module", params=sorted(KINDS))
def stateful(
    request: pytest.FixtureRequest, make_model: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Graph]:
    """A model of every kind, and its file with a state."""
    model = make_model(**KINDS[request.param])
    path = tmp_path_factory.mktemp(request.param) / "model.onnx"
    return model, Graph(export_to_onnx(model, path, (2, 9), with_state=True, tolerance=1e-5))


@pytest.fixture(autouse=True)
def quiet(one_thread: None) -> None:
    """Leave processors to others."""
