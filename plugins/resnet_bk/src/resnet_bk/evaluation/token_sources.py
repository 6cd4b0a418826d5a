"""Tokens from wherever they are, in chunks of one size."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from resnet_bk.errors import InvalidInputError

__all__ = ["chunks_of"]


def chunks_of(dataset: Any, size: int, limit: int) -> Iterator[Tensor]:
    """Cut a data set into chunks, without ever holding more of it than a chunk and one of its pieces.

    Args:
        dataset: Tokens, as `StreamingEvaluator.evaluate` takes them.
        size: Tokens of a chunk; the last one may be shorter.
        limit: Tokens of each text to take at most.

    Yields:
        (B, up to size), whole numbers.

    Raises:
        InvalidInputError: It holds something else than tokens.
    """
    source = _opened(dataset)
    if _is_array(source):
        yield from _chunks_of_array(source, size, limit)
        return
    if not isinstance(source, Iterable) or isinstance(source, (str, bytes)):
        raise _refuse(f"it is of type {type(source).__name__}")
    waiting: list[Tensor] = []
    count = taken = 0
    for piece in _pieces(source):
        piece = piece[: limit - taken]
        taken += len(piece)
        waiting.append(piece)
        count += len(piece)
        if count >= size:
            whole = torch.cat(waiting)
            full = count // size * size
            yield from (part.unsqueeze(0) for part in whole[:full].split(size))
            waiting, count = [whole[full:]], count - full
        if taken >= limit:
            break
    if count:
        yield torch.cat(waiting).unsqueeze(0)


def _opened(dataset: Any) -> Any:
    """A file as an array that is mapped into memory; a stream of tokens as its tokens."""
    if isinstance(dataset, (str, os.PathLike)):
        path = Path(dataset).expanduser()
        if path.suffix != ".npy":
            raise _refuse(
                f"{path.name} is not a .npy file, and nothing else says of which type its numbers are"
            )
        return numpy.load(path, mmap_mode="r", allow_pickle=False)
    tokens = getattr(dataset, "tokens", None)
    return tokens if _is_array(tokens) else dataset


def _is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, numpy.ndarray))


def _chunks_of_array(array: Any, size: int, limit: int) -> Iterator[Tensor]:
    if array.ndim not in (1, 2):
        raise _refuse(f"it has {array.ndim} dimensions")
    length = min(array.shape[-1], limit)
    for start in range(0, length, size):
        part = _whole_numbers(array[..., start : min(start + size, length)])
        yield part if part.ndim == 2 else part.unsqueeze(0)


def _pieces(source: Iterable[Any]) -> Iterator[Tensor]:
    """Rows of tokens, of whatever lengths the source has them; single tokens are gathered."""
    single: list[int] = []
    for item in source:
        found = item["input_ids"] if isinstance(item, Mapping) and "input_ids" in item else item
        if isinstance(found, int) and not isinstance(found, bool):
            single.append(found)
            if len(single) < 4096:
                continue
            found, single = single, []
        elif single:
            yield _whole_numbers(torch.tensor(single))
            single = []
        row = _whole_numbers(found if _is_array(found) else _listed(found))
        # A piece is a stretch of the one text, also where it comes as a batch of one.
        yield row.flatten() if row.ndim < 2 or row.shape[0] == 1 else _refuse_rows(row)
    if single:
        yield _whole_numbers(torch.tensor(single))


def _listed(value: Any) -> Tensor:
    try:
        return torch.tensor(list(value) if isinstance(value, Iterable) else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _refuse(f"it holds {value!r:.60}") from error


def _whole_numbers(values: Any) -> Tensor:
    if isinstance(values, numpy.ndarray):
        if values.dtype.kind not in "iu":
            raise _refuse(f"it holds numbers of type {values.dtype}")
        # torch has no unsigned types wide enough for all there are in files of tokens.
        return torch.from_numpy(values.astype(numpy.int64))
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        if not values.numel():
            return values.long()
        raise _refuse(f"it holds numbers of type {values.dtype}")
    return values.long()


def _refuse_rows(row: Tensor) -> Tensor:
    raise _refuse(
        f"a piece of it has the shape {tuple(row.shape)}, and texts side by side must come as one tensor"
    )


def _refuse(why: str) -> InvalidInputError:
    return InvalidInputError(
        "the data set does not give tokens",
        tensor="dataset",
        why=why,
        advice="Give a tensor or array of token ids, a .npy file of them, or an iterable of ids, of rows "
        "of ids, or of examples with `input_ids`.",
    )
