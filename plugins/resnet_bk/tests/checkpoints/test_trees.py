"""Nested states as JSON and tensors."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_bk.checkpoints.trees import UnsupportedValueError, flatten, unflatten

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(),
    st.binary(max_size=20),
    st.sampled_from(
        [torch.float32, torch.bfloat16, torch.complex64, torch.device("cpu"), torch.Size([2, 3])]
    ),
    st.floats(width=32).map(numpy.float32),
    st.integers(-(2**63), 2**63 - 1).map(numpy.int64),
)
TENSORS = st.builds(
    lambda shape, dtype: (torch.randint(0, 100, shape) - 50).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(
        [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex128]
    ),
)
KEYS = st.one_of(
    st.text(max_size=5), st.integers(), st.booleans(), st.tuples(st.integers(), st.text(max_size=3))
)
VALUES = st.recursive(
    SCALARS | TENSORS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(st.sampled_from(["$", "a.b", "a", "name"]), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(value=VALUES)
def test_every_value_comes_back_as_it_was(same: Callable[[Any, Any], bool], value: Any) -> None:
    """A trip through JSON text and the table of tensors changes neither values nor types."""
    tree, tensors = flatten(value)
    back = unflatten(json.loads(json.dumps(tree, allow_nan=False)), tensors)
    assert same(back, value)


@pytest.mark.parametrize(
    "value", [OrderedDict([(2, "b"), (1, "a")]), Counter({3: 2}), {1, 2}, frozenset("ab"), (1, (2.0, [True]))]
)
def test_containers_keep_their_type_and_order(value: Any) -> None:
    """Containers that schedulers of torch keep in their states come back as what they were."""
    back = unflatten(*flatten(value))
    assert type(back) is type(value)
    assert repr(back) == repr(value)


def test_arrays_come_back_as_arrays() -> None:
    """NumPy arrays are kept by value and type."""
    value = numpy.arange(6, dtype=numpy.float64).reshape(2, 3).T
    back = unflatten(*flatten({"a": value}))["a"]
    assert isinstance(back, numpy.ndarray)
    assert back.dtype == value.dtype
    assert back.tolist() == value.tolist()


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [lambda: 1]}, "a.0"),
        ({"groups": ({"f": object()},)}, "groups.0.f"),
        ([torch.zeros(2).to_sparse()], "0"),
        ({"names": numpy.array(["x"])}, "names"),
    ],
)
def test_what_is_no_data_is_refused_by_its_place(value: Any, place: str) -> None:
    """Functions, objects and sparse tensors are not stored, and the error says where they are."""
    with pytest.raises(UnsupportedValueError) as caught:
        flatten(value)
    assert caught.value.place == place


def test_a_list_that_contains_itself_is_refused() -> None:
    """A value without end is an error and not an endless loop."""
    value: list[Any] = []
    value.append(value)
    with pytest.raises(UnsupportedValueError, match="contains itself"):
        flatten(value)


def test_names_with_dots_do_not_collide() -> None:
    """Two tensors whose ways read the same stay two tensors."""
    value = {"a.b": torch.tensor(1), "a": {"b": torch.tensor(2)}}
    back = unflatten(*flatten(value))
    assert back["a.b"].item() == 1
    assert back["a"]["b"].item() == 2
