"""A text can be read piece by piece, in memory that does not grow, with the results of reading it at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_bk.configuration import ConfigurationError, SeesTheFutureWarning
from resnet_bk.errors import InvalidInputError

Maker = Callable[..., Any]


def text(length: int, rows: int = 1, seed: int = 0) -> torch.Tensor:
    """Random tokens."""
    return torch.randint(0, 61, (rows, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def largest_difference(model: Any, tokens: torch.Tensor, chunk_size: int) -> float:
    """Between the logits of a stream and those of one pass over the whole text, if none is beyond 50."""
    whole = model.model(tokens, use_cache=False, copying=model.copying(tokens)).last_hidden_state
    largest, start, scale = 0.0, 0, 50.0
    for logits in model.stream_state().logits(tokens, chunk_size=chunk_size):
        expected = model.lm_head(whole[:, start : start + logits.shape[1]])
        largest = max(largest, float((logits - expected).abs().max()))
        scale = max(scale, float(expected.abs().max()))
        start += logits.shape[1]
    assert start == tokens.shape[1]
    return largest * 50 / scale


@pytest.mark.parametrize("copy_key_dim", [0, None])
@pytest.mark.parametrize("chunk_size", [1, 7, 512])
def test_a_stream_gives_the_logits_of_one_pass(
    make_model: Maker, chunk_size: int, copy_key_dim: int | None
) -> None:
    """Token by token or in chunks, the logits are those of the whole text within 1e-4."""
    assert largest_difference(make_model(copy_key_dim=copy_key_dim), text(1500), chunk_size) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("copy_key_dim", [0, None])
@pytest.mark.parametrize("chunk_size", [1000, 8192])
def test_a_long_stream_gives_the_logits_of_one_pass(
    make_model: Maker, chunk_size: int, copy_key_dim: int | None
) -> None:
    """Over 100,000 tokens, the logits are those of the whole text within 1e-4."""
    assert largest_difference(make_model(copy_key_dim=copy_key_dim), text(100_000), chunk_size) < 1e-4


def test_a_stream_token_by_token(make_model: Maker) -> None:
    """Over thousands of single steps the state is of one size and bounded, and the last logits are right."""
    model, tokens = make_model(n_layers=1), text(4000)
    stream = model.stream_state()
    sizes = set()
    for token in tokens[0].tolist():
        logits = stream.step(token)
        sizes.add(stream.nbytes)

    assert len(sizes) == 1
    torch.testing.assert_close(model.stream_state().prefill(tokens), logits, rtol=0, atol=1e-4)
    assert stream.cache.layers[0]["memory"].abs().max() < 1e3


@given(cuts=st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_cuts_change_nothing(make_model: Maker, cuts: list[int]) -> None:
    """However a text is cut into pieces, the last logits are the same."""
    model, tokens = make_model(), text(sum(cuts))
    stream = model.stream_state()
    for piece in tokens.split(cuts, dim=1):
        last = stream.prefill(piece, chunk_size=16)

    assert stream.length == sum(cuts)
    torch.testing.assert_close(last, model.stream_state().prefill(tokens), rtol=0, atol=5e-5)


def test_steps_follow_a_prefill(make_model: Maker) -> None:
    """Greedy steps after a prefill write what `generate` writes."""
    model, tokens = make_model(), text(20)
    expected = model.generate(
        tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=8, do_sample=False, pad_token_id=0
    )[0, 20:]
    stream = model.stream_state()
    logits, made = stream.prefill(tokens), []
    for _ in range(8):
        made.append(int(logits.argmax()))
        logits = stream.step(made[-1])

    assert made == expected.tolist()


def test_the_state_has_one_size(make_model: Maker) -> None:
    """The state takes as many bytes after 5000 tokens as after one, and keeps no activation of them alive."""
    stream = make_model().stream_state()
    stream.step(3)
    small = stream.nbytes
    stream.prefill(text(5000), chunk_size=4096)
    held = sum(
        tensor.untyped_storage().nbytes() for state in stream.cache.layers for tensor in state.values()
    )

    assert stream.nbytes == small
    assert held == small


def test_texts_side_by_side(make_model: Maker) -> None:
    """Texts that are read side by side give what each gives by itself, and a copy goes its own way."""
    model, tokens = make_model(), text(30, rows=3)
    stream = model.stream_state(batch_size=3)
    together = stream.prefill(tokens)
    copy = stream.clone()
    copy.step([1, 2, 3])
    for row in range(3):
        torch.testing.assert_close(
            together[row], model.stream_state().prefill(tokens[row])[0], rtol=0, atol=5e-5
        )

    assert (stream.length, copy.length) == (30, 31)
    stream.reset()
    torch.testing.assert_close(stream.prefill(tokens), together, rtol=0, atol=1e-6)


def test_dropout_is_off_and_nothing_is_kept(make_model: Maker) -> None:
    """A model in training is read without dropout and without gradients, and is in training afterwards."""
    model = make_model(dropout=0.5)
    expected = model.stream_state().prefill(text(9))
    model.train()
    found = model.stream_state().prefill(text(9))

    assert torch.equal(found, expected)
    assert not found.requires_grad
    assert model.training


def test_bad_input_to_a_stream(make_model: Maker) -> None:
    """Nothing, the wrong number of texts, and a model that sees the future are refused."""
    model = make_model()
    with pytest.raises(InvalidInputError, match="is empty"):
        model.stream_state().prefill([])
    with pytest.raises(InvalidInputError, match="2 texts"):
        model.stream_state(batch_size=2).prefill(text(4))
    with pytest.raises(InvalidInputError, match="0 tokens"):
        model.stream_state().prefill(text(4), chunk_size=0)
    with pytest.warns(SeesTheFutureWarning):
        old = make_model(mixer="diagonal-bidirectional")
    with pytest.raises(ConfigurationError, match="piece by piece"):
        old.stream_state()
