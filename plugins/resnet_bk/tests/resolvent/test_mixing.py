"""The compiled pass between the two projections of a layer: convolution, matrix state and gate at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from resnet_bk.resolvent import kernel_report
from resnet_bk.resolvent.kernels import cpu_library, cpu_mixer
from resnet_bk.resolvent.kernels.cpu_mixer import MixerInputs
from resnet_bk.resolvent.mixing import can_mix, mix

pytestmark = pytest.mark.skipif(
    not any(choice.name == "cpu" and choice.usable for choice in kernel_report("cpu")),
    reason="the compiled kernels are not there",
)


class Sizes(NamedTuple):
    """Of a problem."""

    batch: int = 2
    length: int = 71
    heads: int = 2
    keys: int = 16
    values: int = 32
    taps: int = 4

    @property
    def channels(self) -> int:
        """Of the convolution."""
        return self.heads * (2 * self.keys + self.values)


SIZES = [
    Sizes(),
    Sizes(length=32),
    Sizes(length=33, batch=1),
    Sizes(length=1),
    Sizes(length=2, batch=3),
    Sizes(keys=5, values=7, taps=3, heads=3),
    Sizes(keys=20, values=3, taps=1),
    Sizes(keys=1, values=1, heads=1, taps=2),
    Sizes(keys=33, values=40, length=35, taps=9),
]


def problem(sizes: Sizes, *, later: bool, dtype: torch.dtype = torch.float64, seed: int = 0) -> MixerInputs:
    """Random inputs, leaves of a graph; with `later`, a window and a state to go on from."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    batch, length, heads, keys, values, taps = sizes
    beta = torch.rand(batch, heads, length, generator=generator, dtype=torch.float64) * 0.9 + 0.05
    made = MixerInputs(
        projected=normal(batch, length, sizes.channels + heads * values),
        window=normal(batch, taps - 1, sizes.channels) if later else None,
        taps=normal(sizes.channels, taps),
        bias=normal(sizes.channels),
        skip=normal(heads * values),
        alpha=(1 - beta).sqrt(),
        beta=beta,
        initial=normal(batch, heads, keys, values) if later else None,
    )
    return MixerInputs(*(None if t is None else t.to(dtype).requires_grad_() for t in made))


def by_steps(inputs: MixerInputs) -> tuple[torch.Tensor, torch.Tensor]:
    """The same token by token, as the formulas are written."""
    heads, length = inputs.alpha.shape[1:]
    channels, taps = inputs.taps.shape
    keys = (channels - len(inputs.skip)) // (2 * heads)
    mixed, gate = inputs.projected.split([channels, len(inputs.skip)], -1)
    before = inputs.window
    if before is None:
        before = mixed.new_zeros(len(mixed), taps - 1, channels)
    extended = torch.cat([before, mixed], 1)
    mixed = functional.silu(
        torch.stack(
            [(extended[:, i : i + taps] * inputs.taps.T).sum(1) + inputs.bias for i in range(length)], 1
        )
    )
    q, k, v = (
        part.unflatten(-1, (heads, -1))
        for part in mixed.split([heads * keys, heads * keys, len(inputs.skip)], -1)
    )
    state = inputs.initial
    if state is None:
        state = mixed.new_zeros(len(mixed), heads, keys, v.shape[-1])
    outputs = []
    for i in range(length):
        written = inputs.beta[:, :, i, None, None].sqrt() * k[:, i, :, :, None] * v[:, i, :, None, :]
        state = inputs.alpha[:, :, i, None, None] * state + written
        outputs.append((q[:, i, :, :, None] * keys**-0.5 * state).sum(-2).flatten(1))
    read = torch.stack(outputs, 1) + inputs.skip * v.flatten(2)
    return read * functional.silu(gate), state


def mixed(inputs: MixerInputs) -> tuple[torch.Tensor, torch.Tensor]:
    """What `mix` gives where nothing is wrong."""
    assert can_mix(inputs)
    found = mix(inputs)
    assert found is not None
    return found


def results_and_gradients(
    function: Callable[..., Any],
    inputs: MixerInputs,
    change: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor,
) -> list[torch.Tensor]:
    """Outputs and last state, and the gradients of every input for random cotangents."""
    results = function(MixerInputs(*(None if tensor is None else change(tensor) for tensor in inputs)))
    generator = torch.Generator().manual_seed(9)
    random = [torch.randn(r.shape, generator=generator, dtype=torch.float64) for r in results]
    cotangents = [change(one.to(result.dtype)) for one, result in zip(random, results, strict=True)]
    present = [tensor for tensor in inputs if tensor is not None]
    gradients = torch.autograd.grad(results, present, cotangents)
    return [*(result.detach() for result in results), *gradients]


def largest_error(actual: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """Of any array, relative to its largest entry."""
    return max(
        float((one - other).abs().max() / other.abs().max().clamp(min=1e-30))
        for one, other in zip(actual, expected, strict=True)
        if other.numel()
    )


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets PyTorch's number of threads, until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_it_is_what_the_formulas_say(sizes, later, dtype, tolerance):
    """Outputs, the last state and all gradients, against the recurrence written out in float64."""
    inputs = problem(sizes, later=later)
    given = MixerInputs(*(None if t is None else t.detach().to(dtype).requires_grad_() for t in inputs))
    expected = results_and_gradients(by_steps, inputs)
    actual = results_and_gradients(mixed, given)
    assert {tensor.dtype for tensor in actual} == {dtype}
    assert largest_error([tensor.double() for tensor in actual], expected) < tolerance


@pytest.mark.parametrize("variant", cpu_library.LEVELS)
def test_every_instruction_set_computes_the_same(variant, monkeypatch):
    """Vectors of other lengths and fewer registers cut the work differently, and change nothing."""
    library = cpu_library.load()
    if cpu_library.LEVELS.index(variant) > cpu_library.LEVELS.index(library.variant):
        pytest.skip("this processor can't run it")
    other = cpu_library.Library(library.handle, variant, library.threaded)
    monkeypatch.setattr(cpu_mixer, "load", lambda: other)
    for sizes in (Sizes(), Sizes(keys=5, values=7, taps=3)):
        for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 1e-5)):
            inputs = problem(sizes, later=True, dtype=dtype)
            expected = results_and_gradients(by_steps, inputs)
            actual = results_and_gradients(mixed, inputs)
            assert largest_error(actual, expected) < tolerance


def test_gradients_are_those_of_finite_differences():
    """For every input, the window and the state to go on from included."""
    sizes = Sizes(batch=2, length=5, heads=2, keys=2, values=3, taps=3)
    inputs = problem(sizes, later=True)
    assert torch.autograd.gradcheck(lambda *tensors: mixed(MixerInputs(*tensors)), tuple(inputs))


@pytest.mark.parametrize("closed", [0, 31, 32, 50])
def test_a_closed_gate_is_exact(closed):
    """Where alpha is 0 nothing of what was before counts, and the gradient of alpha is still there."""
    sizes = Sizes()
    inputs = problem(sizes, later=True)
    with torch.no_grad():
        inputs.alpha[:, :, closed] = 0.0
    expected = results_and_gradients(by_steps, inputs)
    actual = results_and_gradients(mixed, inputs)
    assert largest_error(actual, expected) < 1e-13


@pytest.mark.parametrize("cut", [1, 2, 31, 32, 40, 70])
def test_a_text_can_come_in_pieces(cut):
    """With window and state carried over, pieces give what the whole does, short ones too."""
    sizes = Sizes()
    whole = problem(sizes, later=True)
    outputs, last = mixed(whole)
    mixed_part = whole.projected[..., : sizes.channels]
    first = whole._replace(
        projected=whole.projected[:, :cut], alpha=whole.alpha[..., :cut], beta=whole.beta[..., :cut]
    )
    start, state = mixed(first)
    second = whole._replace(
        projected=whole.projected[:, cut:],
        window=torch.cat([whole.window, mixed_part], 1)[:, cut : cut + sizes.taps - 1],
        alpha=whole.alpha[..., cut:],
        beta=whole.beta[..., cut:],
        initial=state,
    )
    end, final = mixed(second)
    torch.testing.assert_close(torch.cat([start, end], 1), outputs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(final, last, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("place", [0, 3, 31, 32, 70])
def test_a_later_token_changes_nothing_before_it(place):
    """To the last bit."""
    sizes = Sizes()
    inputs = problem(sizes, later=False, dtype=torch.float32)
    changed = inputs.projected.detach().clone()
    changed[:, place] += 1
    before, after = (
        mixed(inputs._replace(projected=projected))[0] for projected in (inputs.projected, changed)
    )
    assert torch.equal(before[:, :place], after[:, :place])
    assert not torch.equal(before[:, place], after[:, place])


@pytest.mark.parametrize(
    "layout",
    [
        lambda tensor: torch.stack([tensor, tensor * 0 + 7], -1)[..., 0],
        lambda tensor: tensor.movedim(0, -1).contiguous().movedim(-1, 0),
        lambda tensor: torch.complex(tensor, -tensor).conj().imag,
    ],
    ids=["gapped", "transposed", "negated"],
)
def test_layouts_make_no_difference(layout):
    """How inputs and cotangents lie in memory."""
    sizes = Sizes()
    inputs = problem(sizes, later=True)
    expected = results_and_gradients(mixed, inputs)
    actual = results_and_gradients(mixed, inputs, layout)
    assert largest_error(actual, expected) < 1e-13


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(threads, batch):
    """Heads of a text are computed together or one by one, with the same result to the last bit."""
    inputs = problem(Sizes(batch=batch), later=True, dtype=torch.float32)
    found = []
    for number in (1, 2, 3):
        threads(number)
        found.append(results_and_gradients(mixed, inputs))
    for one in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(one, found[0], strict=True))


@pytest.mark.parametrize("only", [0, 1])
def test_one_result_alone_has_a_gradient(only):
    """The outputs or the last state, with no cotangent for the other."""
    sizes = Sizes()
    inputs = problem(sizes, later=True)
    wanted = [inputs.projected, inputs.alpha, inputs.initial]
    found, expected = (
        torch.autograd.grad(function(inputs)[only].sum(), wanted) for function in (mixed, by_steps)
    )
    assert largest_error(list(found), list(expected)) < 1e-13


def test_recomputing_in_the_backward_pass_gives_the_same(monkeypatch, tmp_path):
    """Non-reentrant checkpointing hands out each saved tensor once."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # PyTorch makes one when it is imported
    sizes = Sizes()
    inputs = problem(sizes, later=True)
    expected = results_and_gradients(mixed, inputs)
    actual = results_and_gradients(lambda given: checkpoint(mixed, given, use_reentrant=False), inputs)
    assert all(torch.equal(one, other) for one, other in zip(actual, expected, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["projected", "window", "taps", "bias", "alpha", "beta"])
def test_what_can_not_be_computed_with_gives_nothing(name, bad):
    """No result rather than a wrong one; the general way then says what is wrong."""
    inputs = problem(Sizes(), later=True)
    with torch.no_grad():
        getattr(inputs, name).view(-1)[3] = bad
        assert mix(inputs) is None


def test_only_what_the_kernel_knows_goes_there(monkeypatch):
    """One type, on the CPU, real gates, and no other kernel asked for."""
    inputs = problem(Sizes(), later=False, dtype=torch.float32)
    assert can_mix(inputs)
    assert not can_mix(inputs._replace(alpha=inputs.alpha.double()))
    assert not can_mix(inputs._replace(alpha=inputs.alpha.to(torch.complex64)))
    assert not can_mix(inputs._replace(projected=inputs.projected.double()))
    assert not can_mix(inputs._replace(taps=inputs.taps.bfloat16()))
    assert not can_mix(inputs._replace(bias=inputs.bias[:-1]))
    assert not can_mix(inputs._replace(initial=inputs.alpha.new_zeros(1, 2, 16, 32)))
    assert not can_mix(MixerInputs(*(t if t is None else t.detach().to("meta") for t in inputs)))
    monkeypatch.setenv("RESNET_BK_KERNEL", "torch")
    assert not can_mix(inputs)


def test_half_precision_is_computed_in_full():
    """What autocast projected counts as if converted by hand; its gradient has its own type."""
    full = problem(Sizes(), later=True, dtype=torch.float32)
    half = full._replace(
        **{name: getattr(full, name).detach().bfloat16() for name in ("projected", "window")}
    )
    half.projected.requires_grad_()
    outputs, last = mixed(half)
    expected = mixed(half._replace(projected=half.projected.float(), window=half.window.float()))
    assert torch.equal(outputs, expected[0])
    assert torch.equal(last, expected[1])
    assert torch.autograd.grad(outputs.sum(), half.projected)[0].dtype is torch.bfloat16
