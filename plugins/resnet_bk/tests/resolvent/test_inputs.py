"""What can't be computed with is refused, and the argument is named."""

from __future__ import annotations

import math

import pytest
import torch

from modelplug.errors import ModelplugError
from resnet_bk.errors import InvalidInputError
from resnet_bk.resolvent import (
    causal_gates,
    causal_green_diagonal,
    causal_green_operator,
    gated_state,
    green_diagonal,
)
from resnet_bk.resolvent.kernels.limits import limits_of


def sites(**changes: object) -> dict[str, object]:
    """Arguments that are fine, but for the changes."""
    shape = (2, 40)
    fine = {
        "potential": torch.randn(shape),
        "coupling": torch.rand(shape),
        "energy": torch.zeros(2, 1),
        "eta": torch.ones(shape),
    }
    return {**fine, **changes}


def spoiled(name: str, value: float) -> torch.Tensor:
    """The fine argument of that name with one value replaced, near the end."""
    tensor = sites()[name].expand(2, 40).clone()  # type: ignore[attr-defined]
    tensor[1, 38] = value
    return tensor


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["potential", "coupling", "energy", "eta"])
def test_a_value_that_is_not_finite_is_an_error_that_names_the_tensor(kernel, name, value):
    """One NaN or infinity anywhere: an error, ours and a ValueError, never a replaced value."""
    for operation in (green_diagonal, causal_green_diagonal):
        with pytest.raises(InvalidInputError, match=f"`{name}`") as caught:
            operation(**sites(**{name: spoiled(name, value)}), kernel=kernel)
        assert caught.value.tensor == name
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, ModelplugError)


@pytest.mark.parametrize("name", ["potential", "hopping", "energy", "eta"])
def test_gates_and_operator_name_it_too(kernel, name):
    """The same for the operations that take the hopping."""
    arguments = sites()
    arguments["hopping"] = arguments.pop("coupling")
    tensor = arguments[name].expand(2, 40).clone()
    tensor[0, 0] = math.nan
    arguments[name] = tensor
    with pytest.raises(InvalidInputError, match=f"`{name}` holds NaN"):
        causal_gates(**arguments, kernel=kernel)
    with pytest.raises(InvalidInputError, match=f"`{name}` holds NaN"):
        causal_green_operator(torch.randn(2, 40, 1), **arguments, kernel=kernel)


@pytest.mark.parametrize("name", ["queries", "keys", "values", "alpha", "beta", "initial"])
def test_the_matrix_state_names_it_too(kernel, name):
    """Every input of the matrix state."""
    arguments = {
        "queries": torch.randn(2, 70, 3),
        "keys": torch.randn(2, 70, 3),
        "values": torch.randn(2, 70, 4),
        "alpha": torch.rand(2, 70),
        "beta": torch.rand(2, 70) + 0.1,
        "initial": torch.zeros(2, 3, 4),
    }
    arguments[name].flatten()[-2] = math.inf
    with pytest.raises(InvalidInputError, match=f"`{name}` holds an infinity"):
        gated_state(**arguments, kernel=kernel)


@pytest.mark.parametrize("eta", [0.0, -0.1, torch.zeros(2, 1)])
def test_the_energy_must_lie_above_the_real_axis(kernel, eta):
    """With eta <= 0 there is an error, not a clamp."""
    with pytest.raises(InvalidInputError, match=r"`eta` holds .* must be positive"):
        green_diagonal(**sites(eta=eta), kernel=kernel)
    with pytest.raises(InvalidInputError, match=r"`eta` holds .* must be positive"):
        causal_gates(torch.zeros(2, 9), torch.ones(2, 9), 0.0, eta, kernel=kernel)


def test_a_negative_coupling_is_an_error(kernel):
    """With b c < 0 one loses the bound on the denominators."""
    with pytest.raises(InvalidInputError, match="must not be negative"):
        green_diagonal(**sites(coupling=spoiled("coupling", -1e-3)), kernel=kernel)


def test_what_float32_can_not_hold_is_an_error_that_says_so(kernel):
    """Potentials past 1e12 and widths below 1e-9 need float64, which takes them."""
    with pytest.raises(InvalidInputError, match="`potential` ranges") as caught:
        green_diagonal(**sites(potential=spoiled("potential", 1e15)), kernel=kernel)
    assert "float64" in caught.value.advice
    with pytest.raises(InvalidInputError, match="`eta` ranges"):
        green_diagonal(**sites(eta=1e-12), kernel=kernel)
    large = spoiled("potential", 1e15).double()
    assert torch.isfinite(torch.view_as_real(green_diagonal(**sites(potential=large, eta=1e-12)))).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_whatever_is_allowed_stays_in_range(kernel, dtype):
    """At the limits themselves, strongest hopping and smallest width together, all results are finite."""
    limits = limits_of(dtype)
    ones = torch.ones(2, 40, dtype=dtype)
    potential = limits.site * torch.linspace(-1, 1, 40, dtype=dtype) * ones
    for a in (potential, 0 * potential):
        full = green_diagonal(a, limits.coupling * ones, 0.0, limits.eta_floor, kernel=kernel)
        gates = causal_gates(a, limits.hopping * ones, 0.0, limits.eta_floor, phase="complex", kernel=kernel)
        for result in (full, *gates):
            assert torch.isfinite(torch.view_as_real(result) if result.is_complex() else result).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"coupling": torch.rand(2, 39)}, "`coupling` has the shape"),
        ({"potential": torch.zeros(2, 0)}, "no sites"),
        ({"potential": torch.zeros(0, 40)}, "leading dimensions|no sequence"),
        ({"energy": torch.zeros(3, 1)}, "`energy`"),
        ({"potential": torch.zeros(2, 40, dtype=torch.int64)}, "int64"),
        ({"coupling": torch.ones(2, 40, dtype=torch.complex64)}, "complex"),
        ({"eta": 1j}, "complex"),
        ({"potential": [1.0, 2.0]}, "not a tensor"),
    ],
)
def test_shapes_and_types_that_do_not_fit_are_named(kernel, changes, words):
    """Nothing is broadcast or cast by accident."""
    with pytest.raises(InvalidInputError, match=words):
        green_diagonal(**sites(**changes), kernel=kernel)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(kernel, dtype):
    """Gates come out in float32, outputs in the type of the values; autocast changes nothing."""
    potential, hopping = torch.randn(2, 70).to(dtype), torch.rand(2, 70).to(dtype)
    gates = causal_gates(potential, hopping, 0.0, 0.1, kernel=kernel)
    assert gates.alpha.dtype == torch.float32
    assert torch.equal(
        gates.alpha, causal_gates(potential.float(), hopping.float(), 0.0, 0.1, kernel=kernel)[0]
    )
    q, k, v = (torch.randn(2, 70, n) for n in (3, 3, 4))
    plain = gated_state(q, k, v, *gates[:2], kernel=kernel)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(gated_state(q, k, v, *gates[:2], kernel=kernel).outputs, plain.outputs)
    assert (
        gated_state(q.to(dtype), k.to(dtype), v.to(dtype), *gates[:2], kernel=kernel).outputs.dtype == dtype
    )


def test_plain_numbers_keep_their_digits(kernel):
    """An energy given as a number is as exact as one given as a float64 tensor."""
    potential, coupling = torch.randn(9, dtype=torch.float64), torch.rand(9, dtype=torch.float64)
    tensors = (torch.tensor(0.3, dtype=torch.float64), torch.tensor([0.7], dtype=torch.float64))
    expected = green_diagonal(potential, coupling, *tensors, kernel=kernel)
    assert torch.equal(green_diagonal(potential, coupling, 0.3, 0.7, kernel=kernel), expected)
