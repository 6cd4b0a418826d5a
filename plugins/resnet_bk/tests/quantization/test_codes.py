"""Matrices as codes: nothing is lost by packing, and rounding loses no more than it must."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from resnet_bk.quantization.codes import decode, encode, pack, unpack

MATRICES = st.tuples(st.integers(1, 5), st.integers(1, 40)).flatmap(
    lambda shape: arrays.arrays(
        np.float32, shape, elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
    )
)
GROUPS = st.none() | st.integers(1, 50)


def there_and_back(weight: torch.Tensor, bits: int, group_size: int | None) -> torch.Tensor:
    """What a matrix is once it was quantised."""
    codes, scales = encode(weight, bits, group_size)
    return decode(codes, scales, bits=bits, group_size=group_size, columns=weight.shape[1])


def groups_of(weight: np.ndarray, group_size: int | None) -> list[tuple[int, slice]]:
    """The groups of a matrix: a row, and which columns."""
    rows, columns = weight.shape
    width = group_size or columns
    return [
        (row, slice(start, min(start + width, columns)))
        for row in range(rows)
        for start in range(0, columns, width)
    ]


@given(arrays.arrays(np.int8, st.tuples(st.integers(1, 4), st.integers(1, 33)), elements=st.integers(-8, 7)))
def test_packing_loses_nothing(numbers: np.ndarray) -> None:
    """Numbers of 4 bits come out of their bytes as they went in, two in a byte; also an odd number."""
    packed = pack(torch.from_numpy(numbers))

    assert packed.dtype == torch.uint8
    assert packed.shape == (numbers.shape[0], -(-numbers.shape[1] // 2))
    assert torch.equal(unpack(packed, numbers.shape[1]), torch.from_numpy(numbers))


@given(MATRICES, GROUPS, st.sampled_from([(8, 127), (4, 7)]))
def test_codes_are_those_of_the_formula(
    matrix: np.ndarray, group_size: int | None, kind: tuple[int, int]
) -> None:
    """By numpy: a scale is a group's largest value over the largest code; codes are nearest multiples."""
    bits, largest = kind
    codes, scales = encode(torch.from_numpy(matrix), bits, group_size)
    numbers = unpack(codes, matrix.shape[1]) if bits == 4 else codes
    groups = groups_of(matrix, group_size)

    assert scales.numel() == len(groups)
    for (row, columns), scale in zip(groups, scales.flatten().numpy(), strict=True):
        values = matrix[row, columns]
        assert scale == np.abs(values).max() / np.float32(largest)
        expected = np.rint(values / scale) if scale else np.zeros_like(values)
        assert np.array_equal(numbers[row, columns].numpy(), expected.clip(-largest, largest))


@given(MATRICES, GROUPS, st.sampled_from([8, 4]))
def test_no_weight_moves_by_more_than_half_a_step(
    matrix: np.ndarray, group_size: int | None, bits: int
) -> None:
    """|weight - quantised| <= scale / 2, up to rounding of float32."""
    weight = torch.from_numpy(matrix)
    moved = (there_and_back(weight, bits, group_size).double() - weight.double()).abs().numpy()
    scales = encode(weight, bits, group_size)[1].flatten().double().numpy()

    for (row, columns), scale in zip(groups_of(matrix, group_size), scales, strict=True):
        bound = scale / 2 + 1e-6 * np.abs(matrix[row, columns]).max()
        assert moved[row, columns].max() <= bound


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("group_size", [16, 32])
def test_torch_rounds_alike(bits: int, group_size: int) -> None:
    """PyTorch's own fake quantisation per channel gives the same, with groups as its channels."""
    weight = torch.randn(6, 64, generator=torch.Generator().manual_seed(3))
    largest = 2 ** (bits - 1) - 1
    channels = weight.reshape(-1, group_size)
    scales = channels.abs().amax(1) / largest
    zero = torch.zeros(len(channels), dtype=torch.int32)
    expected = torch.fake_quantize_per_channel_affine(channels, scales, zero, 0, -largest, largest)

    assert torch.allclose(there_and_back(weight, bits, group_size), expected.reshape(6, 64), atol=1e-6)


@given(MATRICES, GROUPS)
def test_quantising_twice_changes_no_code(matrix: np.ndarray, group_size: int | None) -> None:
    """What was rounded is rounded to itself."""
    weight = there_and_back(torch.from_numpy(matrix), 4, group_size)

    assert torch.equal(encode(weight, 4, group_size)[0], encode(torch.from_numpy(matrix), 4, group_size)[0])


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 9)),
        elements=st.floats(-6e4, 6e4, width=32),
    )
)
def test_sixteen_bits_are_a_float16(matrix: np.ndarray) -> None:
    """16 bits keep the nearest float16, in whole numbers that no conversion of a model changes."""
    codes, scales = encode(torch.from_numpy(matrix), 16, None)

    assert codes.dtype == torch.int16
    assert scales.numel() == 0
    decoded = decode(codes, scales, bits=16, group_size=None, columns=matrix.shape[1])
    assert np.array_equal(decoded.numpy(), matrix.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bits", [4, 8])
def test_other_dtypes_keep_the_bound(dtype: torch.dtype, bits: int) -> None:
    """Scales and results are of the weight's dtype, and rounding them adds its rounding only."""
    weight = torch.randn(8, 50, generator=torch.Generator().manual_seed(4)).to(dtype)
    scales = encode(weight, bits, 16)[1]
    found = there_and_back(weight, bits, 16)

    assert scales.dtype == found.dtype == dtype
    bound = scales.double().repeat_interleave(16, 1)[:, :50] / 2
    rounding = 2 * torch.finfo(dtype).eps * weight.double().abs()
    assert ((found.double() - weight.double()).abs() <= bound + rounding).all()


def test_smaller_groups_and_more_bits_lose_less() -> None:
    """The error falls with every step from whole rows to groups of 8, and from 4 over 8 to 16 bits."""
    weight = torch.randn(64, 256, generator=torch.Generator().manual_seed(5))
    by_group = [float((there_and_back(weight, 4, size) - weight).norm()) for size in (None, 128, 32, 8)]
    by_bits = [float((there_and_back(weight, bits, 64) - weight).norm()) for bits in (4, 8, 16)]

    assert by_group == sorted(by_group, reverse=True)
    assert by_bits == sorted(by_bits, reverse=True)
