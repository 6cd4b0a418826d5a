"""The tensor types of ggml: their numbers, names and exact storage sizes."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["GGML_TYPES", "WIDE_FLOAT_TYPES", "GgmlType", "ggml_type_name"]


class GgmlType(NamedTuple):
    """One ggml tensor type.

    Attributes:
        name: As llama.cpp prints it, in upper case, for example `Q4_K`.
        block_size: Elements stored together; the first dimension of a tensor is a multiple of it.
        block_bytes: Bytes of one such block.
        removed: Whether current engines refuse it.
    """

    name: str
    block_size: int
    block_bytes: int
    removed: bool = False

    def row_bytes(self, elements: int) -> int:
        """Bytes of `elements` values, which must be a multiple of the block size."""
        return elements // self.block_size * self.block_bytes


# The numbers are part of the file format: they are never reused, so removed types keep theirs.
GGML_TYPES: Final[dict[int, GgmlType]] = {
    0: GgmlType("F32", 1, 4),
    1: GgmlType("F16", 1, 2),
    2: GgmlType("Q4_0", 32, 18),
    3: GgmlType("Q4_1", 32, 20),
    4: GgmlType("Q4_2", 16, 10, removed=True),
    5: GgmlType("Q4_3", 16, 12, removed=True),
    6: GgmlType("Q5_0", 32, 22),
    7: GgmlType("Q5_1", 32, 24),
    8: GgmlType("Q8_0", 32, 34),
    9: GgmlType("Q8_1", 32, 40),
    10: GgmlType("Q2_K", 256, 84),
    11: GgmlType("Q3_K", 256, 110),
    12: GgmlType("Q4_K", 256, 144),
    13: GgmlType("Q5_K", 256, 176),
    14: GgmlType("Q6_K", 256, 210),
    15: GgmlType("Q8_K", 256, 292),
    16: GgmlType("IQ2_XXS", 256, 66),
    17: GgmlType("IQ2_XS", 256, 74),
    18: GgmlType("IQ3_XXS", 256, 98),
    19: GgmlType("IQ1_S", 256, 50),
    20: GgmlType("IQ4_NL", 32, 18),
    21: GgmlType("IQ3_S", 256, 110),
    22: GgmlType("IQ2_S", 256, 82),
    23: GgmlType("IQ4_XS", 256, 136),
    24: GgmlType("I8", 1, 1),
    25: GgmlType("I16", 1, 2),
    26: GgmlType("I32", 1, 4),
    27: GgmlType("I64", 1, 8),
    28: GgmlType("F64", 1, 8),
    29: GgmlType("IQ1_M", 256, 56),
    30: GgmlType("BF16", 1, 2),
    31: GgmlType("Q4_0_4_4", 32, 18, removed=True),
    32: GgmlType("Q4_0_4_8", 32, 18, removed=True),
    33: GgmlType("Q4_0_8_8", 32, 18, removed=True),
    34: GgmlType("TQ1_0", 256, 54),
    35: GgmlType("TQ2_0", 256, 66),
    36: GgmlType("IQ4_NL_4_4", 32, 18, removed=True),
    37: GgmlType("IQ4_NL_4_8", 32, 18, removed=True),
    38: GgmlType("IQ4_NL_8_8", 32, 18, removed=True),
    39: GgmlType("MXFP4", 32, 17),
    40: GgmlType("NVFP4", 64, 36),
    41: GgmlType("Q1_0", 128, 18),
}

WIDE_FLOAT_TYPES: Final[frozenset[str]] = frozenset({"F32", "F16", "BF16", "F64"})
"""The types that are not quantised."""


def ggml_type_name(number: int) -> str:
    """The name of a ggml type, or `type <number>` for one that is not known here."""
    known = GGML_TYPES.get(number)
    return known.name if known else f"type {number}"
