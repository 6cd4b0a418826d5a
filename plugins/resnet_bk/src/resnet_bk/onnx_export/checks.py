"""What is refused before anything is computed."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from resnet_bk.errors import InvalidInputError
from resnet_bk.onnx_export.errors import OnnxExportError, OnnxPackagesMissingError

if TYPE_CHECKING:
    from resnet_bk.configuration import MambaKillerConfig

__all__ = ["check_model", "check_opset", "check_packages", "check_path", "check_shape"]

_RECORDING: Final = ("onnx", "onnxscript")
_RUNNING: Final = "onnxruntime"
_LEAST_OPSET: Final = 18


def check_model(model: Any, *, with_state: bool) -> None:
    """Make sure that this is a model of ours that an ONNX file can hold.

    Raises:
        InvalidInputError: It is not.
    """
    from resnet_bk.modeling import ResNetBKForCausalLM, ResNetBKModel

    if not isinstance(model, (ResNetBKForCausalLM, ResNetBKModel)):
        raise InvalidInputError(
            f"`model` is a {type(model).__name__}, and only ResNet-BK models can be exported",
            tensor="model",
            advice="Pass what ResNetBK(config) or ResNetBK.from_pretrained(...) gives, without a wrapper.",
        )
    kinds = {tensor.dtype for tensor in (*model.parameters(), *model.buffers())} - {torch.float32}
    if kinds:
        raise InvalidInputError(
            f"the model has weights of type {min(map(str, kinds))}",
            tensor="model",
            why="the file computes in float32",
            advice="Export model.float(); for a quantised model, what its dequantize() gives.",
        )
    if with_state and not model.config.is_causal:
        raise InvalidInputError(
            "a model with the mixer diagonal-bidirectional has no state to go on from",
            tensor="with_state",
            why="every output depends on all tokens, also on those to come",
            advice="Export it with with_state=False.",
        )


def check_shape(shape: Any, config: MambaKillerConfig) -> tuple[int, int]:
    """Texts and tokens of an input.

    Raises:
        InvalidInputError: They are not two positive whole numbers, or more tokens than the model takes.
    """
    sizes = tuple(shape) if isinstance(shape, (tuple, list, torch.Size)) else ()
    if len(sizes) != 2 or any(type(size) is not int or size < 1 for size in sizes):
        raise InvalidInputError(
            f"`input_shape` is {shape!r}, and must be two positive whole numbers: texts and tokens",
            tensor="input_shape",
            advice="For example input_shape=(1, 512).",
        )
    rows, length = sizes
    longest = longest_text(config)
    if longest is not None and length > longest:
        raise InvalidInputError(
            f"`input_shape` has {length} tokens, and this model takes {longest} at most",
            tensor="input_shape",
            why="it was made for a fixed number of positions",
            advice=f"Use input_shape=({rows}, {longest}).",
        )
    return rows, length


def longest_text(config: MambaKillerConfig) -> int | None:
    """How many tokens a text may have; None if there is no limit."""
    limited = config.position_embeddings or not config.is_causal
    return int(config.n_seq) if limited else None


def check_path(path: str | os.PathLike[str]) -> Path:
    """The file to write.

    Raises:
        OnnxExportError: There can be no such file.
    """
    target = Path(path)
    if target.is_dir():
        raise OnnxExportError(
            f"{target} is a folder",
            path=target,
            advice=f"Name a file, for example {target / 'model.onnx'}.",
        )
    if not target.parent.is_dir():
        raise OnnxExportError(
            f"there is no folder {target.parent}", path=target, advice="Make it, or name another one."
        )
    return Path(os.path.realpath(target))


def check_packages(*, verify: bool) -> None:
    """Make sure that everything is installed.

    Args:
        verify: Whether the file is to be run.

    Raises:
        OnnxPackagesMissingError: Something is missing, or too old.
    """
    needed = (*_RECORDING, _RUNNING) if verify else _RECORDING
    missing = tuple(name for name in needed if importlib.util.find_spec(name) is None)
    if missing:
        raise OnnxPackagesMissingError(
            f"an export needs packages that are not installed: {', '.join(missing)}",
            packages=missing,
            advice=f"{sys.executable} -m pip install 'modelplug-resnet-bk[onnx]'",
        )
    if not hasattr(torch.onnx, "ops"):
        raise OnnxPackagesMissingError(
            f"an export needs a newer torch than {torch.__version__}",
            packages=("torch",),
            advice=f"{sys.executable} -m pip install --upgrade 'modelplug-resnet-bk[onnx]'",
        )


def check_opset(version: int) -> None:
    """Make sure that there is such a version of ONNX's operators, and that it is new enough.

    Raises:
        InvalidInputError: It is not.
    """
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if type(version) is not int or not _LEAST_OPSET <= version <= newest:
        raise InvalidInputError(
            f"`opset_version` is {version!r}, and must be a whole number from {_LEAST_OPSET} to {newest}",
            tensor="opset_version",
            why="earlier ones lack operators, and this onnx knows no later ones",
            advice=f"Leave it out, for {_LEAST_OPSET}.",
        )
