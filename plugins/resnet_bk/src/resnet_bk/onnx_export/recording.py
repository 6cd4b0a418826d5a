"""Records what a model computes, and writes it down as an ONNX file."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from resnet_bk._version import __version__
from resnet_bk.onnx_export.errors import OnnxExportError
from resnet_bk.onnx_export.network import Network

__all__ = ["record"]

# Recorded with these, every length and number of texts is left open; 0 and 1 would be taken for fixed.
_OPEN_SHAPE: Final = (2, 7)
# Of PyTorch's own making, and nothing that a user could change.
_HARMLESS: Final = (
    (FutureWarning, r"`isinstance\(treespec, LeafSpec\)` is deprecated"),
    (UserWarning, r"# The axis name: \w+ will not be used, since it shares the same shape constraints"),
)
_CHATTY: Final = "torch.onnx._internal.exporter._registration"


def record(
    network: Network, path: Path, shape: tuple[int, int] | None, opset_version: int, target: Path
) -> None:
    """Write the file.

    Args:
        network: What is recorded.
        path: The file.
        shape: Texts and tokens of every input; None leaves them open.
        opset_version: The version of ONNX's operators.
        target: The name that the file will have, for errors.

    Raises:
        OnnxExportError: PyTorch can't do it.
    """
    import onnx
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    from resnet_bk.onnx_export.functions import insert_loops

    failures = (
        torch.onnx.OnnxExporterError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    )
    try:
        with _quiet():
            program = _program(network, shape, opset_version)
            insert_loops(program.model, opset_version)
            # They hold the source code of this package and the folder that it lies in.
            ClearMetadataAndDocStringPass()(program.model)
            program.model.metadata_props.update(_metadata(network))
            program.save(path)
        onnx.checker.check_model(path, full_check=True)
    except failures as error:
        raise OnnxExportError(
            f"PyTorch {torch.__version__} could not make an ONNX file of this model",
            path=target,
            why=str(error.__cause__ or error).strip().splitlines()[0],
            advice="Try the newest versions of torch, onnx and onnxscript.",
        ) from error


def _program(network: Network, shape: tuple[int, int] | None, opset_version: int) -> Any:
    rows, length = shape or _OPEN_SHAPE
    device = network.backbone.embeddings.weight.device
    arguments: list[Any] = [torch.zeros(rows, length, dtype=torch.int64, device=device)]
    batch = torch.export.Dim("batch")
    sizes: list[Any] = [{0: batch, 1: torch.export.Dim("length")}]
    names = [tensor.name for tensor in network.tensors] if network.with_state else []
    if network.with_state:
        arguments.append(network.beginning(rows, device))
        sizes.append(tuple({0: batch} for _ in names))
    return torch.onnx.export(
        network,
        tuple(arguments),
        dynamo=True,
        input_names=["input_ids", *(f"past.{name}" for name in names)],
        output_names=[network.result, *(f"present.{name}" for name in names)],
        dynamic_shapes=tuple(sizes) if shape is None else None,
        opset_version=opset_version,
        verbose=False,
    )


def _metadata(network: Network) -> dict[str, str]:
    config = network.backbone.config
    return {
        "model_type": config.model_type,
        "resnet_bk_version": __version__,
        "config": config.to_json_string(use_diff=False),
        "state": json.dumps([tensor.name for tensor in network.tensors] if network.with_state else []),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PyTorch's words on what it does itself, and on packages that nothing here uses."""
    logger = logging.getLogger(_CHATTY)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category, message in _HARMLESS:
                warnings.filterwarnings("ignore", message, category)
            yield
    finally:
        logger.setLevel(level)
