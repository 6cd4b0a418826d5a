"""`export_to_onnx`: checks what is asked for, records the model, verifies the file, puts it in place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from modelplug.atomic import move_into_place
from resnet_bk.onnx_export.checks import check_model, check_opset, check_packages, check_path, check_shape
from resnet_bk.onnx_export.errors import OnnxExportError
from resnet_bk.onnx_export.network import Network

if TYPE_CHECKING:
    from resnet_bk.modeling import ResNetBKForCausalLM, ResNetBKModel

__all__ = ["OPSET", "export_to_onnx"]

OPSET = 18


def export_to_onnx(
    model: ResNetBKForCausalLM | ResNetBKModel,
    path: str | os.PathLike[str],
    input_shape: tuple[int, int] = (1, 512),
    *,
    dynamic: bool = True,
    opset_version: int = OPSET,
    with_state: bool = False,
    verify: bool = True,
    tolerance: float = 1e-4,
) -> Path:
    """Write a model as an ONNX file that gives, run by another program, the logits that the model gives.

    The input `input_ids` holds whole numbers of 64 bits, (batch, length), and the output `logits` float32,
    (batch, length, vocab_size); a model without an output matrix gives `last_hidden_state`. With
    `with_state` a text can be read piece by piece, down to single tokens: each tensor of the state goes in
    as `past.NAME` and comes out as `present.NAME`, (batch, ...), and zeros are the beginning of a text.
    There is no mask: texts of different lengths are to be padded on the right.

    The model stays as it is. Type, version and configuration stand in the file's metadata. Weights of more
    than 2 GB are written to a second file, with `.data` after the name.

    Args:
        model: The model, in float32.
        path: The file to write; one of that name is replaced, as soon as the new one is verified.
        input_shape: Texts and tokens of the input that the file is verified with.
        dynamic: Whether the file takes any number of texts and tokens; else that of `input_shape` only.
        opset_version: The version of ONNX's operators, 18 at least.
        with_state: Whether the file takes and gives a state.
        verify: Whether the file is run by ONNX Runtime, on this input and on one of another shape, and
            compared with the model, before it gets its name.
        tolerance: How much it may differ, over the largest absolute value that the model gives.

    Returns:
        The file.

    Raises:
        InvalidInputError: An argument can't be used; it is named.
        OnnxPackagesMissingError: A package is missing.
        OnnxMismatchError: The file computes something else than the model.
        OnnxExportError: The file can't be made or written.
    """
    check_model(model, with_state=with_state)
    rows, length = check_shape(input_shape, model.config)
    target = check_path(path)
    check_packages(verify=verify)
    check_opset(opset_version)
    from resnet_bk.onnx_export.recording import record
    from resnet_bk.onnx_export.verification import verify_file

    network = Network(model, with_state=with_state)
    with _staging(target) as folder, _evaluating(network), torch.no_grad():
        made = folder / target.name
        record(network, made, None if dynamic else (rows, length), opset_version, target)
        if verify:
            verify_file(made, network, (rows, length), dynamic=dynamic, tolerance=tolerance, target=target)
        # The graph comes last: before it has its name, nothing refers to the weights beside it.
        for file in sorted(folder.iterdir(), key=lambda file: file == made):
            move_into_place(file, target.with_name(file.name))
    return target


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A folder beside the target, gone afterwards.

    Raises:
        OnnxExportError: Nothing can be written there.
    """
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp"))
        yield folder
    except OSError as error:
        raise OnnxExportError(
            f"{target} can't be written",
            path=target,
            why=error.strerror or str(error),
            advice="Choose a folder that you may write to, with room for the weights.",
        ) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _evaluating(network: Network) -> Iterator[None]:
    """Without dropout, and every module as it was afterwards."""
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, before in training.items():
            module.training = before
