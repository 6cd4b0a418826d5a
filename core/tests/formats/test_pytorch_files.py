"""PyTorch checkpoints, read without running them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from core.tests.formats import format_samples as samples

from modelplug.errors import NotAModelError, TruncatedModelError
from modelplug.formats import inspect
from modelplug.formats.pickle_scan import scan_pickle

SHARED = Path(os.environ.get("MODELPLUG_SHARED", Path(__file__).resolve().parents[4] / "shared"))


@pytest.mark.parametrize(
    ("content", "form"), [(samples.pytorch_zip(), "pytorch"), (samples.pytorch_legacy(), "pytorch-legacy")]
)
def test_a_checkpoint_of_either_form(content: bytes, form: str, tmp_path: Path) -> None:
    """Tensors are counted from the pickle's instructions, which are never carried out."""
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(content)
    info = inspect(path)
    assert info.format == form
    assert info.parameters == 2 * 16 * 8 + 64
    assert info.quantization == "F16"
    assert info.weights.layers == (128,)
    assert info.weights.token_embedding == 256
    assert "torch._utils._rebuild_tensor_v2" in info.metadata["pickle.globals"]
    assert info.warnings == ()


def test_a_hostile_pickle_is_reported_and_not_run(tmp_path: Path) -> None:
    """A checkpoint that would run a command is described, its global named, and nothing happens."""
    mark = tmp_path / "ran"
    command = f"touch {mark}".encode()
    attack = b"cposix\nsystem\n(X" + len(command).to_bytes(4, "little") + command + b"tR0"
    path = tmp_path / "evil.pt"
    path.write_bytes(samples.pytorch_zip(samples.state_dict_pickle(samples.LLAMA_STATE, extra=attack)))
    info = inspect(path)
    assert "posix.system" in info.warnings[0]
    assert "posix.system" in info.metadata["pickle.globals"]
    assert info.parameters == 320
    assert not mark.exists()


@pytest.mark.parametrize(
    "pickle",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02(((((",
        b"t.",
        b"\x80\x02X\xff\xff\xff\xff.",
        b"\x80\x02" + b"2" * 10,
        b"\x80\x02)" + b"2\x86" * 5000 + b".",
        b"\x80\x02N" + b"2" * 200_000 + b".",
        b"\x80\x02cposix\nsystem",
        b"\x80\x02i\n\n.",
        b"\x80\x02h\x05.",
        b"(" * 100_000 + b"." * 3,
    ],
)
def test_pickles_that_make_no_sense(pickle: bytes) -> None:
    """Whatever the bytes, scanning ends with a report."""
    assert scan_pickle(pickle).tensors == {}


def test_shared_storage_is_counted_once(tmp_path: Path) -> None:
    """Tied weights that the file stores once are one tensor's worth of parameters."""
    pickle = samples.state_dict_pickle(
        {"a.weight": ("FloatStorage", (4, 4)), "b.weight": ("FloatStorage", (4, 4))}
    )
    shared = pickle.replace(
        b"X\x01\x00\x00\x001X\x03\x00\x00\x00cpu", b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    )
    assert shared != pickle
    path = tmp_path / "tied.pt"
    path.write_bytes(samples.pytorch_zip(shared))
    assert inspect(path).parameters == 16


def test_an_optimiser_is_no_part_of_the_model(tmp_path: Path) -> None:
    """What a training checkpoint keeps for the optimiser does not count as parameters."""
    state = samples.LLAMA_STATE | {"optimizer_state.momentum": ("FloatStorage", (1000,))}
    path = tmp_path / "training.pt"
    path.write_bytes(samples.pytorch_zip(samples.state_dict_pickle(state)))
    assert inspect(path).parameters == 320


def test_a_pickle_of_something_else(tmp_path: Path) -> None:
    """A pickle that is no checkpoint is refused with the reason to be careful."""
    path = tmp_path / "data.pkl"
    path.write_bytes(b"\x80\x04N.")
    with pytest.raises(NotAModelError, match="Python pickle, but no PyTorch checkpoint"):
        inspect(path)


def test_truncated_checkpoints(tmp_path: Path) -> None:
    """A zip without its end and a legacy file shorter than its tensors are truncated."""
    path = tmp_path / "cut.pt"
    path.write_bytes(samples.pytorch_zip()[:-30])
    with pytest.raises(TruncatedModelError, match="directory at the end of the archive is missing"):
        inspect(path)
    whole = samples.pytorch_legacy()
    large = whole.replace(b"K\x10K\x08t(", b"J\x00\x00\x01\x00K\x08t(")
    assert large != whole
    path.write_bytes(large)
    with pytest.raises(TruncatedModelError, match="its tensors take"):
        inspect(path)


def test_real_checkpoints() -> None:
    """Checkpoints that torch itself wrote are followed to the end."""
    path = SHARED / "data" / "resnet-bk-checkpoints" / "bare_state_dict.pt"
    if not path.exists():
        pytest.skip("the shared checkpoints are not here; generated ones cover the same")
    info = inspect(path)
    assert (info.format, info.parameters, info.quantization) == ("pytorch", 170_207, "F32")
    assert info.warnings == ()
