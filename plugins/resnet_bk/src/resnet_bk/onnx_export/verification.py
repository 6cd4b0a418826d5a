"""Runs an ONNX file, and compares what it gives with what the model gives."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from resnet_bk.onnx_export.checks import longest_text
from resnet_bk.onnx_export.errors import OnnxExportError, OnnxMismatchError

if TYPE_CHECKING:
    from resnet_bk.onnx_export.network import Network

__all__ = ["verify_file"]

_SEED = 0
_ERRORS_ONLY = 3


def verify_file(
    path: Path,
    network: Network,
    shape: tuple[int, int],
    *,
    dynamic: bool,
    tolerance: float,
    target: Path,
) -> None:
    """Make sure that a file computes what the model computes; with a state, piece by piece.

    Args:
        path: The file.
        network: What it was recorded from, without dropout.
        shape: Texts and tokens of an input.
        dynamic: Whether it takes inputs of other shapes; then it has to be right for one of them, too.
        tolerance: How large the difference may be, over the largest absolute value.
        target: The name that the file will have, for errors.

    Raises:
        OnnxMismatchError: It computes something else.
        OnnxExportError: It can't be run.
    """
    session = _session(path, target)
    rows, length = shape
    for size in [shape, (rows + 1, length // 3 + 1)] if dynamic else [shape]:
        pieces = list(_pieces(network, size[1], dynamic=dynamic))
        tokens = _tokens(network, size[0], sum(pieces))
        expected = _expected(network, tokens)
        found = _found(session, network, tokens, pieces, target)
        scale = expected.abs().amax().item() or 1.0
        error = (found - expected).abs().amax().item() / scale
        if not error <= tolerance:  # also where it is not a number
            raise OnnxMismatchError(
                f"the ONNX file gives something else than the model, by {error:.1e} of the largest value",
                path=target,
                error=error,
                tolerance=tolerance,
                shape=(size[0], sum(pieces)),
                why=f"{tolerance:g} was allowed, on an input of {size[0]} texts with {sum(pieces)} tokens",
                advice="Allow more with tolerance=..., if that is small enough for you; else report it.",
            )


def _session(path: Path, target: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = _ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it raises a dozen kinds without a common base
        raise _not_run(target, error) from error


def _pieces(network: Network, length: int, *, dynamic: bool) -> Iterator[int]:
    """How many tokens to read at once: with a state there is more than one piece, as far as positions go."""
    pieces = [length]
    if network.with_state:
        pieces += [1, 2] if dynamic else [length]
    longest = longest_text(network.backbone.config)
    for piece, total in zip(pieces, accumulate(pieces), strict=True):
        if longest is None or total <= longest:
            yield piece


def _tokens(network: Network, rows: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(_SEED)
    return torch.randint(0, network.backbone.config.vocab_size, (rows, length), generator=generator)


def _expected(network: Network, tokens: Tensor) -> Tensor:
    ids = tokens.to(network.backbone.embeddings.weight.device)
    found = network.backbone(ids, use_cache=False, copying=network.copying(ids))
    hidden = found.last_hidden_state
    return (hidden if network.head is None else network.head(hidden)).cpu()


def _found(session: Any, network: Network, tokens: Tensor, pieces: list[int], target: Path) -> Tensor:
    state = network.beginning(tokens.shape[0], tokens.device) if network.with_state else ()
    names = [f"past.{tensor.name}" for tensor in network.tensors]
    fed = {name: tensor.numpy() for name, tensor in zip(names, state, strict=bool(state))}
    results = []
    for piece in tokens.split(pieces, 1):
        try:
            first, *rest = session.run(None, {"input_ids": piece.numpy(), **fed})
        except Exception as error:
            raise _not_run(target, error) from error
        results.append(torch.from_numpy(first))
        fed = dict(zip(names, rest, strict=bool(rest)))
    return torch.cat(results, 1)


def _not_run(target: Path, error: Exception) -> OnnxExportError:
    import onnxruntime

    return OnnxExportError(
        f"ONNX Runtime {onnxruntime.__version__} can't run the file that was made",
        path=target,
        why=str(error).strip().splitlines()[0],
        advice="Leave opset_version out, or install the newest onnxruntime.",
    )
