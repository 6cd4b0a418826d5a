"""How many bits each part of a model gets, checked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import attrs

from resnet_bk.quantization.codes import BITS
from resnet_bk.quantization.errors import QuantizationError

__all__ = ["DEFAULT_GROUP_SIZE", "EMBEDDING_BITS", "PARTS", "QuantizationPlan", "read_parts"]

PARTS = ("experts", "bk_core", "output", "embedding")
"""Feed-forwards and experts; projections and gates of mixers and copy memory; output matrix; embeddings."""

DEFAULT_GROUP_SIZE = 128
EMBEDDING_BITS = 8
_AS_THEY_ARE = 32
# What the YAML files of versions before 1.0 call them.
_RENAMED = {"moe_experts": "experts", "output_layers": "output"}


@attrs.frozen
class QuantizationPlan:
    """What to do with the weights of a model.

    Attributes:
        bits: 4, 8 or 16 for parts by name; parts that are not among them stay as they are.
        group_size: Neighbours in a row that share a scale; None for whole rows.

    Raises:
        QuantizationError: That is not possible; what is at fault is named.
    """

    bits: Mapping[str, int]
    group_size: int | None = DEFAULT_GROUP_SIZE

    def __attrs_post_init__(self) -> None:
        for part, bits in self.bits.items():
            _check_part(part)
            _check_bits(part, bits)
        _check_group_size(self.group_size)


def read_parts(given: Mapping[str, int]) -> dict[str, int]:
    """Bits by part, under the names of now and without parts that are to stay as they are.

    Args:
        given: Bits by part; 32 for one that is to stay as it is.

    Raises:
        QuantizationError: There is no such part, it can't have these bits, or it is named twice.
    """
    if not isinstance(given, Mapping):
        raise QuantizationError(
            f"the bits of the parts are given as a mapping, not as {type(given).__name__}",
            key="config",
            value=given,
            advice="Write MixedPrecisionQuantization(model, {'experts': 4, 'bk_core': 8, 'output': 16}).",
        )
    bits: dict[str, int] = {}
    for name, value in given.items():
        part = _RENAMED.get(name, name)
        _check_part(part)
        _check_bits(name, value, (*BITS, _AS_THEY_ARE))
        if part in bits:
            raise QuantizationError(
                f"{part} is named twice",
                key=name,
                value=value,
                why=f"{name!r} is another name of {part!r}" if name != part else "",
                advice=f"Leave one of the two out; the name is {part!r} since 1.0.",
            )
        bits[part] = value
    return {part: value for part, value in bits.items() if value != _AS_THEY_ARE}


def _check_part(name: object) -> None:
    if name in PARTS:
        return
    known = {**{part: part for part in PARTS}, **_RENAMED}
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    nearest = known[close[0]] if close else ""
    guess = f"Did you mean {nearest!r}? " if nearest else ""
    raise QuantizationError(
        f"a model has no part {name!r} that can be quantised",
        key=str(name),
        nearest=nearest,
        advice=f"{guess}The parts are {', '.join(PARTS)}.",
    )


def _check_bits(name: str, value: object, allowed: tuple[int, ...] = BITS) -> None:
    if isinstance(value, int) and not isinstance(value, bool) and value in allowed:
        return
    listed = f"{', '.join(map(str, allowed[:-1]))} or {allowed[-1]}"
    near = ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        near = str(min(allowed, key=lambda bits: abs(bits - value)))
    raise QuantizationError(
        f"{name} can't have {value!r} bits, only {listed}",
        key=name,
        value=value,
        nearest=near,
        advice=f"The nearest is {near}." if near else f"Give {listed}, as a number.",
    )


def _check_group_size(value: object) -> None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return
    raise QuantizationError(
        f"group_size is {value!r}, and must be a whole number of at least 1, or None",
        key="group_size",
        value=value,
        advice="Use 128, or 32 for less error; None gives every row one scale.",
    )
