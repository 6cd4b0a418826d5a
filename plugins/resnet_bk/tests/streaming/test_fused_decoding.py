"""Steps that the compiled kernels take in one call give what the modules give one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import torch

from resnet_bk.errors import InvalidInputError
from resnet_bk.fused_decoding import FusedDecoding
from resnet_bk.resolvent.kernels import cpu_decode, cpu_library

Maker = Callable[..., Any]
TOKENS = torch.randint(0, 61, (20,), generator=torch.Generator().manual_seed(2)).tolist()

pytestmark = pytest.mark.skipif(bool(cpu_library.why_not()), reason="there are no compiled kernels")


class Calls(list[int]):
    """Counts the tokens that went through the compiled step."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """How often the compiled step was taken."""
    found = Calls()

    def counted(*arguments: Any) -> None:
        found.append(len(found))
        cpu_decode.decode(*arguments)

    monkeypatch.setattr("resnet_bk.fused_decoding.decode", counted)
    return found


@torch.inference_mode()
def module_by_module(stream: Any, model: Any, token: int) -> torch.Tensor:
    """The logits after a token, by calling the model."""
    return model.lm_head(stream.hidden(torch.tensor([[token]]))[:, -1])


def compare(model: Any, tokens: list[int], tolerance: float = 2e-5) -> None:
    """Both ways from the same state give the same logits and the same states, relative to the largest."""
    fused, plain = model.stream_state(), model.stream_state()
    for stream in (fused, plain):
        stream.prefill(tokens[:5])
    for token in tokens[5:]:
        one, other = fused.step(token), module_by_module(plain, model, token)
        assert float((one - other).abs().max()) < tolerance * float(other.abs().max())
    assert fused.length == plain.length == len(tokens)
    for mine, theirs in zip(fused.cache.layers, plain.cache.layers, strict=True):
        assert set(mine) == set(theirs)
        for name, state in theirs.items():
            assert float((mine[name] - state).abs().max()) <= tolerance * float(state.abs().max())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"d_model": 42, "value_dim": 7, "key_dim": 5},
        {"d_model": 16, "value_dim": 32, "key_dim": 3, "vocab_size": 7 * 9},
        {"conv_kernel": 2},
        {"conv_kernel": 3},
        {"conv_kernel": 6},
        {"free_heads": 0},
        {"free_heads": 4},
        {"tie_word_embeddings": True},
        {"head_bias": True},
        {"epsilon": 0.3, "norm_eps": 1e-3},
        {"copy_key_dim": 32},
        {"copy_key_dim": 5, "d_model": 42, "value_dim": 7, "key_dim": 5},
        {"copy_key_dim": 200, "d_model": 16, "n_layers": 1, "value_dim": 2},
        {"copy_key_dim": 5, "tie_word_embeddings": True, "free_heads": 0},
        {"copy_key_dim": 32, "head_bias": True, "epsilon": 0.3},
        {"copy_key_dim": 5, "tie_word_embeddings": True, "head_bias": True},
    ],
)
def test_one_call_gives_what_the_modules_give(
    make_model: Maker, calls: Calls, settings: dict[str, Any]
) -> None:
    """For all sizes and settings that it knows, bounded by rounding."""
    compare(make_model(**settings), TOKENS)
    assert len(calls) == len(TOKENS) - 5


@pytest.mark.parametrize("variant", cpu_library.LEVELS)
def test_every_instruction_set_computes_the_same(
    make_model: Maker, calls: Calls, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    """The library's variants for older processors, too."""
    library = cpu_library.load()
    if cpu_library.LEVELS.index(variant) > cpu_library.LEVELS.index(library.variant):
        pytest.skip("this processor can't run it")
    monkeypatch.setattr(cpu_decode, "load", lambda: attrs.evolve(library, variant=variant))
    compare(make_model(d_model=42, value_dim=7, key_dim=5, copy_key_dim=19), TOKENS)
    assert calls


@pytest.mark.parametrize("settings", [{}, {"copy_key_dim": 5}, {"copy_key_dim": 32}])
def test_differences_do_not_grow(make_model: Maker, calls: Calls, settings: dict[str, Any]) -> None:
    """After a thousand tokens both ways are as close as after ten."""
    compare(make_model(**settings), TOKENS * 50)
    assert len(calls) == 1000 - 5


def test_a_step_of_a_single_token_prefill_is_one_call(make_model: Maker, calls: Calls) -> None:
    """What a backend does token by token is fast as well, and the first token begins the general way."""
    model = make_model()
    stream, other = model.stream_state(), model.stream_state()
    for token in TOKENS:
        logits = stream.prefill([token])
    torch.testing.assert_close(logits, other.prefill(TOKENS), rtol=0, atol=1e-4)
    assert len(calls) == len(TOKENS) - 1


@pytest.mark.parametrize(
    "settings",
    [
        {"complex_heads": 1},
        {"feed_forward": "swiglu"},
        {"norm": "layer"},
        {"use_prime_bump": True},
        {"position_embeddings": True},
        {"mixer": "diagonal"},
        {"mixer": "diagonal", "copy_key_dim": 5},
        {"complex_heads": 1, "copy_key_dim": 5},
    ],
)
def test_other_models_go_the_general_way(make_model: Maker, calls: Calls, settings: dict[str, Any]) -> None:
    """Whatever the kernel does not know is computed by the modules."""
    compare(make_model(**settings), TOKENS)
    assert not calls


@pytest.mark.parametrize("copy_key_dim", [0, 5])
def test_a_state_of_several_texts_goes_the_general_way(
    make_model: Maker, calls: Calls, copy_key_dim: int
) -> None:
    """The kernel does not take one of its rows for the whole, and changes nothing."""
    model = make_model(copy_key_dim=copy_key_dim)
    several = model.stream_state(batch_size=2)
    several.prefill(torch.tensor([TOKENS[:5], TOKENS[5:10]]))
    before = several.cache.clone()
    assert FusedDecoding(model).logits(several.cache, 3) is None
    for mine, theirs in zip(several.cache.layers, before.layers, strict=True):
        assert all(torch.equal(mine[name], state) for name, state in theirs.items())
    several.step([3, 4])
    assert not calls


def test_a_token_without_a_row_of_the_output_is_not_copied(make_model: Maker, calls: Calls) -> None:
    """An output that is smaller than the input goes the general way, which looks before it reads."""
    model = make_model(copy_key_dim=5)
    model.set_output_embeddings(torch.nn.Linear(32, 50, bias=False))
    stream = model.stream_state()
    stream.prefill([1, 2, 3])
    assert stream.step(49).shape == (1, 50)
    with pytest.raises(IndexError):
        stream.step(50)
    assert not calls


def test_an_epsilon_of_its_own_goes_the_general_way(make_model: Maker, calls: Calls) -> None:
    """The kernel knows one for all layers and the copy memory."""
    model = make_model(copy_key_dim=5)
    model.copy_memory.gates.epsilon = 3.0
    compare(model, TOKENS[:8])
    assert not calls


def test_hooks_are_called(make_model: Maker, calls: Calls) -> None:
    """A module with a hook is called, not stepped over."""
    model = make_model()
    seen = []
    handle = model.model.layers[1].mixer.in_proj.register_forward_hook(lambda *_: seen.append(1))
    compare(model, TOKENS[:8])
    handle.remove()
    assert seen
    assert not calls


@pytest.mark.parametrize("copy_key_dim", [0, 5])
def test_weights_that_change_are_the_ones_that_count(
    make_model: Maker, calls: Calls, copy_key_dim: int
) -> None:
    """A change in place is seen at once, a conversion of the model as well."""
    model = make_model(copy_key_dim=copy_key_dim)
    stream, other = model.stream_state(), model.stream_state()
    for one in (stream, other):
        one.prefill(TOKENS[:5])
    stream.step(1), module_by_module(other, model, 1)
    with torch.no_grad():
        model.lm_head.weight.mul_(2)
        model.model.layers[0].mixer.in_proj.weight.mul_(0.5)
        if copy_key_dim:
            model.copy_memory.scale.mul_(2)
    model.set_epsilon(2.0)
    torch.testing.assert_close(stream.step(2), module_by_module(other, model, 2), rtol=0, atol=1e-4)
    assert len(calls) == 2
    model.bfloat16()
    torch.testing.assert_close(stream.step(3), module_by_module(other, model, 3))
    assert len(calls) == 2


@pytest.mark.parametrize("copy_key_dim", [0, 5])
def test_states_that_were_put_in_place_are_the_ones_that_count(
    make_model: Maker, calls: Calls, copy_key_dim: int
) -> None:
    """After a reset, a clone and a replaced state, steps go on from there."""
    model = make_model(copy_key_dim=copy_key_dim)
    stream = model.stream_state()
    stream.prefill(TOKENS[:5])
    stream.step(1)
    copy = stream.clone()
    expected = stream.step(2)
    torch.testing.assert_close(copy.step(2), expected, rtol=0, atol=1e-6)
    stream.reset()
    stream.prefill(TOKENS[:5])
    stream.step(1)
    torch.testing.assert_close(stream.step(2), expected, rtol=0, atol=1e-5)
    other = copy.clone()
    stream.cache.replace(copy.cache)
    torch.testing.assert_close(stream.step(4), other.step(4), rtol=0, atol=1e-6)
    assert len(calls) == 7


def test_a_token_that_does_not_exist_is_refused(make_model: Maker) -> None:
    """The step checks what the model checks."""
    stream = make_model().stream_state()
    stream.prefill(TOKENS[:5])
    for token in (-1, 61):
        with pytest.raises(InvalidInputError, match="there is no token"):
            stream.step(token)
    assert stream.length == 5


def test_without_compiled_kernels_the_modules_compute(
    make_model: Maker, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RESNET_BK_KERNEL is followed here, too."""
    monkeypatch.setenv("RESNET_BK_KERNEL", "torch")
    compare(make_model(), TOKENS)
    assert not calls
