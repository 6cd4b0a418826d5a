"""Refuses weights that do not fit, where transformers would fill up a model with random numbers."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any

from modelplug.errors import ModelplugError

__all__ = ["WeightsError", "check_complete"]

# Names that only models before 1.0 have.
_OLD_MARKS = ("bk_layer.", "token_embedding.", "position_embedding.", "layer_norm_final.")
_SHOWN = 4


class WeightsError(ModelplugError, ValueError):
    """Weights are not those of the model they were to be loaded into.

    Attributes:
        missing: Tensors that the model has and the file has not.
        unexpected: Tensors that the file has and the model has not.
        misshapen: Tensors of different shapes.
    """

    def __init__(
        self,
        what: str,
        *,
        missing: tuple[str, ...],
        unexpected: tuple[str, ...],
        misshapen: tuple[str, ...],
        why: str,
        advice: str,
    ) -> None:
        self.missing = missing
        self.unexpected = unexpected
        self.misshapen = misshapen
        super().__init__(
            what, why=why, advice=advice, missing=missing, unexpected=unexpected, misshapen=misshapen
        )


def check_complete(place: Any, report: Mapping[str, Any]) -> None:
    """Make sure that every weight of the model came from the file, and every one of the file has a place.

    Args:
        place: What was loaded.
        report: What transformers says about it.

    Raises:
        WeightsError: That is not so.
    """
    missing = tuple(sorted(map(str, report.get("missing_keys") or ())))
    # The headless model is loaded from the same directory as the whole one.
    surplus = (str(name) for name in report.get("unexpected_keys") or ())
    unexpected = tuple(sorted(name for name in surplus if not name.startswith("lm_head.")))
    misshapen = tuple(sorted(str(entry[0]) for entry in report.get("mismatched_keys") or ()))
    if not (missing or unexpected or misshapen):
        return
    parts = []
    for names, text in (
        (missing, "missing"),
        (unexpected, "unknown to the model"),
        (misshapen, "of another shape"),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            parts.append(f"{len(names)} {text}: {', '.join(names[:_SHOWN])}{more}")
    old = any(mark in name for name in unexpected for mark in _OLD_MARKS)
    where = os.fspath(place) if isinstance(place, (str, os.PathLike)) else "PATH"
    raise WeightsError(
        f"the weights in {where} are not those of this model",
        missing=missing,
        unexpected=unexpected,
        misshapen=misshapen,
        why="; ".join(parts),
        advice=(
            f"They are of a version before 1.0: `modelplug migrate plan {shlex.quote(where)}` shows what "
            "becomes of them."
            if old
            else "Load them with the config.json that was saved with them."
        ),
    )
