"""Packed sequences: every target is the token that follows in the stream."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_bk.data import IGNORED, BatchOrder, DataError, PackedSequences, TokenStream, VocabularyError

STREAMS = st.integers(2, 60).flatmap(
    lambda count: st.tuples(
        st.just(count), st.integers(1, count - 1), st.sets(st.integers(1, count - 1), max_size=5)
    )
)


@given(STREAMS)
def test_a_target_is_the_next_token_of_the_stream(given_stream: tuple[int, int, set[int]]) -> None:
    """Tokens that tell their own place show that inputs and targets are those of the stream, one apart.

    Windows touch without overlapping, no target is the beginning of a document, and every other token that
    fits into a window is a target exactly once.
    """
    count, length, starts = given_stream
    packed = PackedSequences(TokenStream.from_array(numpy.arange(count), [0, *sorted(starts)]), length)
    assert len(packed) == (count - 1) // length
    seen: list[int] = []
    for window in range(len(packed)):
        batch = packed.batch([window])
        inputs, targets = batch.inputs[0].tolist(), batch.targets[0].tolist()
        assert inputs == list(range(window * length, (window + 1) * length))
        for token, target in zip(inputs, targets, strict=True):
            assert target == (IGNORED if token + 1 in starts else token + 1)
        seen += [target for target in targets if target != IGNORED]
    assert seen == [token for token in range(1, len(packed) * length + 1) if token not in starts]


def test_a_batch_is_its_windows_in_order() -> None:
    """Rows are the windows asked for, of the types that models take; targets that count are counted."""
    packed = PackedSequences(TokenStream.from_array(numpy.arange(21, dtype=numpy.uint16), [0, 6]), 5)
    batch = packed.batch([2, 0, 1])
    assert batch.inputs[:, 0].tolist() == [10, 0, 5]
    assert batch.inputs.dtype == batch.targets.dtype == torch.int64
    assert batch.counted == 14


def test_the_loss_over_targets_is_that_of_transformers() -> None:
    """A Hugging Face model that shifts labels itself, given length + 1 tokens, finds the same loss."""
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    model = transformers.LlamaForCausalLM(config).eval()
    tokens = torch.randint(0, 40, (13,), generator=torch.Generator().manual_seed(1))
    batch = PackedSequences(TokenStream.from_array(tokens.numpy()), 12).batch([0])
    with torch.no_grad():
        theirs = model(input_ids=tokens[None], labels=tokens[None]).loss
        logits = model(input_ids=batch.inputs).logits
    ours = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**40))
def test_every_pass_takes_each_window_once(windows: int, batch_size: int, seed: int) -> None:
    """However batches and passes fall together, and whichever step is asked for first."""
    order = BatchOrder(windows, batch_size, seed)
    steps = -(-3 * windows // batch_size)
    taken = [window for step in range(steps) for window in order.at(step)]
    for epoch in range(3):
        assert Counter(taken[epoch * windows : (epoch + 1) * windows]) == Counter(range(windows))
    middle = steps // 2
    fresh = BatchOrder(windows, batch_size, seed)
    assert fresh.at(middle) == taken[middle * batch_size : (middle + 1) * batch_size]
    assert order.epoch_after(steps) == steps * batch_size // windows
    assert order.at(0) == taken[:batch_size]


def test_passes_and_seeds_differ() -> None:
    """The order is not the same in every pass, nor for every seed."""
    first, second = BatchOrder(50, 50, 1), BatchOrder(50, 50, 2)
    assert len({tuple(first.at(0)), tuple(first.at(1)), tuple(second.at(0))}) == 3


@given(STREAMS, st.floats(0, 1))
def test_a_split_shares_no_token(given_stream: tuple[int, int, set[int]], fraction: float) -> None:
    """The two parts are the stream, in order, and documents begin in them where they did."""
    count, _, starts = given_stream
    stream = TokenStream.from_array(numpy.arange(count), [0, *sorted(starts)])
    first, second = stream.split(fraction)
    assert [*first.tokens, *second.tokens] == list(range(count))
    assert len(second) == int(count * fraction)
    expected = {0, *starts}
    assert {int(first.tokens[start]) for start in first.starts} == {s for s in expected if s < len(first)}
    found = {int(start) + len(first) for start in second.starts}
    assert found == {s for s in expected if s >= len(first)} | {len(first)}


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([0.5, 1.0], "float64"),
        ([[1, 2]], "2 dimensions"),
        ([1, -1], "negative"),
        (["a"], "whole numbers"),
        ([True, False], "bool"),
    ],
)
def test_what_are_no_tokens_is_refused(tokens: Any, words: str) -> None:
    """Fractions, tables, texts, truth values and negative numbers."""
    with pytest.raises(DataError, match=words):
        TokenStream.from_array(tokens)


@pytest.mark.parametrize("count", [0, 1, 8])
def test_too_few_tokens_for_one_sequence_is_an_error(count: int) -> None:
    """The error says how many there are and how long a sequence may be."""
    with pytest.raises(DataError, match=f"have {count} tokens") as caught:
        PackedSequences(TokenStream.from_array(numpy.arange(count)), 8)
    assert f"at most {max(count - 1, 0)}" in caught.value.advice


def test_a_token_outside_the_vocabulary_is_named() -> None:
    """The largest token and the size the model would need."""
    stream = TokenStream.from_array([1, 7, 3])
    stream.check_vocabulary(8)
    with pytest.raises(VocabularyError, match="token 7, and the model knows 7") as caught:
        stream.check_vocabulary(7)
    assert caught.value.token == 7
    assert "vocab_size=8" in caught.value.advice


def test_fingerprints_tell_streams_apart_and_not_their_types() -> None:
    """The same tokens are the same in any type; another token or document boundary is another stream."""
    one = TokenStream.from_array(numpy.array([1, 2, 3], numpy.uint16))
    assert one.fingerprint() == TokenStream.from_array(numpy.array([1, 2, 3], numpy.int64)).fingerprint()
    others = [TokenStream.from_array([1, 2, 4]), TokenStream.from_array([1, 2, 3], [0, 1])]
    assert len({one.fingerprint(), *(other.fingerprint() for other in others)}) == 3
