"""What a model computes: nothing of the future, nothing of other texts, nothing of padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

Maker = Callable[..., Any]


def allowed(usual: float, settings: dict[str, Any], logits: torch.Tensor) -> float:
    """How far logits may differ; with such weights, a copy memory makes them ten times as large."""
    return usual * (max(1.0, float(logits.abs().max()) / 5) if settings.get("copy_key_dim", 0) != 0 else 1)


@torch.no_grad()
def test_no_token_sees_the_future_or_another_text(
    make_model: Maker, tokens: Maker, settings: dict[str, Any]
) -> None:
    """Another token leaves every bit of the logits before it, and of other texts, and changes its own."""
    model, ids = make_model(**settings), tokens(3, 24)
    before = model(ids).logits
    for place in (0, 1, 11, 23):
        changed = ids.clone()
        changed[1, place] = (changed[1, place] + 7) % 61
        after = model(changed).logits

        assert torch.equal(after[1, :place], before[1, :place])
        assert torch.equal(after[[0, 2]], before[[0, 2]])
        assert not torch.equal(after[1, place], before[1, place])


@torch.no_grad()
def test_the_past_is_remembered(make_model: Maker, tokens: Maker) -> None:
    """Every token of the past counts for the last one."""
    model, ids = make_model(), tokens(1, 30)
    before = model(ids).logits[0, -1]
    for place in range(29):
        changed = ids.clone()
        changed[0, place] = (changed[0, place] + 7) % 61

        assert not torch.equal(model(changed).logits[0, -1], before)


@torch.no_grad()
def test_padding_changes_nothing(make_model: Maker, tokens: Maker, settings: dict[str, Any]) -> None:
    """Wherever padding is, in front, behind or within, the logits are those of the text without it."""
    model, ids = make_model(**settings), tokens(4, 20)
    mask = torch.ones_like(ids)
    mask[0, :7] = 0
    mask[1, 15:] = 0
    mask[2, [0, 4, 5, 19]] = 0
    padded = model(ids, attention_mask=mask)
    for row in range(4):
        kept = mask[row].bool()
        alone = model(ids[row : row + 1, kept])

        torch.testing.assert_close(
            padded.logits[row, kept], alone.logits[0], rtol=0, atol=allowed(2e-5, settings, alone.logits)
        )
        for ours, its in zip(padded.past_key_values.layers, alone.past_key_values.layers, strict=True):
            for name, tensor in its.items():
                torch.testing.assert_close(ours[name][row : row + 1], tensor, rtol=1e-4, atol=2e-5)


@torch.no_grad()
def test_what_stands_at_padding_does_not_matter(make_model: Maker, tokens: Maker) -> None:
    """Other tokens at padded places leave every bit of the rest."""
    model, ids = make_model(num_experts=4), tokens(2, 20)
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    other = ids.clone()
    other[0, :5] = 3

    assert torch.equal(
        model(ids, attention_mask=mask).logits[0, 5:], model(other, attention_mask=mask).logits[0, 5:]
    )


@torch.no_grad()
def test_a_text_can_be_given_in_pieces(make_model: Maker, tokens: Maker, settings: dict[str, Any]) -> None:
    """The logits are the same whether a text comes at once, in pieces, or token by token."""
    model, ids = make_model(**settings), tokens(2, 30)
    whole = model(ids).logits
    for cuts in ([10], [1, 2, 3, 29], list(range(1, 30))):
        cache, parts = None, []
        for start, end in zip([0, *cuts], [*cuts, 30], strict=True):
            found = model(ids[:, start:end], past_key_values=cache, use_cache=True)
            cache = found.past_key_values
            parts.append(found.logits)

        atol = allowed(5e-5, settings, whole)
        torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=atol)
        assert cache is not None
        assert cache.counts.tolist() == [30, 30]


@torch.no_grad()
def test_pieces_may_hold_padding(make_model: Maker, tokens: Maker, settings: dict[str, Any]) -> None:
    """Texts of which some pause while others go on keep their states, also one that has not begun."""
    model, ids = make_model(**settings), tokens(3, 18)
    mask = torch.ones_like(ids)
    mask[0, :8] = 0
    mask[1, [3, 7, 8, 14]] = 0
    cache = None
    for start in (0, 6, 12):
        piece = slice(start, start + 6)
        found = model(
            ids[:, piece], attention_mask=mask[:, : start + 6], past_key_values=cache, use_cache=True
        )
        cache = found.past_key_values
    for row in range(3):
        alone = model(ids[row : row + 1, mask[row].bool()])
        torch.testing.assert_close(
            found.logits[row, -1], alone.logits[0, -1], rtol=0, atol=allowed(5e-5, settings, alone.logits)
        )
    assert cache is not None
    assert cache.counts.tolist() == mask.sum(1).tolist()


@torch.no_grad()
def test_the_state_has_one_size(make_model: Maker, tokens: Maker, settings: dict[str, Any]) -> None:
    """The state after many tokens takes as many bytes as after one."""
    model = make_model(**settings)
    sizes = {model(tokens(2, length)).past_key_values.nbytes for length in (1, 2, 9, 31)}

    assert sizes == {2 * model.config.state_bytes}


@torch.no_grad()
def test_hidden_states_and_tuples(make_model: Maker, tokens: Maker) -> None:
    """The residual stream is given for every layer, in the order of the text, and results also as a tuple."""
    model, ids = make_model(), tokens(2, 9)
    mask = torch.ones_like(ids)
    mask[0, 5:] = 0
    found = model(ids, attention_mask=mask, output_hidden_states=True)
    plain = model(ids[:1, :5], output_hidden_states=True)
    logits, _cache = model(ids, return_dict=False)

    assert len(found.hidden_states) == 3
    assert torch.equal(logits, model(ids).logits)
    for level, its in zip(found.hidden_states, plain.hidden_states, strict=True):
        torch.testing.assert_close(level[:1, :5], its, rtol=0, atol=2e-5)


@torch.no_grad()
def test_vectors_can_be_given_for_tokens(make_model: Maker, tokens: Maker) -> None:
    """`inputs_embeds` gives what the tokens of these vectors give; some of the logits can be left out."""
    model, ids = make_model(), tokens(2, 9)
    expected = model(ids).logits

    assert torch.equal(model(inputs_embeds=model.get_input_embeddings()(ids)).logits, expected)
    torch.testing.assert_close(model(ids, logits_to_keep=2).logits, expected[:, -2:], rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_row_comes_back_from_a_cache_as_it_went_in(make_model: Maker, tokens: Maker) -> None:
    """Rows of a state can be chosen, repeated and copied, and going back by tokens is refused."""
    model, ids = make_model(), tokens(3, 9)
    cache = model(ids).past_key_values
    copy = cache.clone()
    cache.reorder_cache(torch.tensor([2, 0]))
    cache.batch_repeat_interleave(2)
    following = tokens(4, 4, seed=5)
    found = model(following, past_key_values=cache).logits
    for row, source in enumerate((2, 2, 0, 0)):
        alone = model(torch.cat([ids[source], following[row]])[None]).logits[0, -4:]
        torch.testing.assert_close(found[row], alone, rtol=0, atol=2e-5)

    assert copy.columns == 9
    assert cache.get_seq_length() == 13
    with pytest.raises(Exception, match="can't go back"):
        cache.crop(-1)
