"""Perplexity does not depend on how the text is cut, or in which form it comes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_bk.configuration import ConfigurationError, SeesTheFutureWarning
from resnet_bk.errors import InvalidInputError
from resnet_bk.evaluation import StreamingEvaluator

Maker = Callable[..., Any]
TOKENS = torch.randint(0, 61, (1000,), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def loss_of(model: Any, tokens: torch.Tensor) -> float:
    """The mean loss, from one pass over the whole text."""
    return float(
        model(tokens.reshape(-1, tokens.shape[-1]), labels=tokens.reshape(-1, tokens.shape[-1])).loss
    )


@given(chunk_size=st.integers(1, 1200), length=st.integers(2, 300))
def test_cuts_change_nothing(make_model: Maker, chunk_size: int, length: int) -> None:
    """With any chunk size and any tail, loss and perplexity are those of one pass."""
    model = make_model()
    found = StreamingEvaluator(model, chunk_size=chunk_size).evaluate(TOKENS[:length])

    assert found.loss == pytest.approx(loss_of(model, TOKENS[:length]), abs=1e-5)
    assert float(found) == pytest.approx(math.exp(found.loss))
    assert (found.tokens, found.predicted, found.chunks) == (length, length - 1, -(-length // chunk_size))


def forms(folder: Path) -> dict[str, Any]:
    """The same tokens in every form they can come in."""
    array = TOKENS.numpy().astype(numpy.uint16)
    numpy.save(folder / "tokens.npy", array)
    array.tofile(folder / "tokens.bin")

    class Stream:
        tokens = array

    return {
        "tensor": TOKENS,
        "int32": TOKENS.int(),
        "one row": TOKENS[None],
        "array": array,
        "list": TOKENS.tolist(),
        "generator": (token for token in TOKENS.tolist()),
        "ragged rows": [TOKENS[:1], TOKENS[1:300].tolist(), array[300:300], TOKENS[None, 300:]],
        "examples": [{"input_ids": row.tolist()} for row in TOKENS.split(77)],
        "file": folder / "tokens.npy",
        "file by name": str(folder / "tokens.npy"),
        "mapped": numpy.memmap(folder / "tokens.bin", dtype=numpy.uint16, mode="r"),
        "token stream": Stream(),
    }


def test_every_form_of_data_gives_the_same(make_model: Maker, tmp_path: Path) -> None:
    """Tensors, arrays, files mapped into memory and iterables of all kinds give the same perplexity."""
    model = make_model()
    expected = loss_of(model, TOKENS)
    for name, data in forms(tmp_path).items():
        found = StreamingEvaluator(model, chunk_size=128).evaluate(data)

        assert found.loss == pytest.approx(expected, abs=1e-5), name
        assert found.chunks == 8, name


def test_texts_side_by_side(make_model: Maker) -> None:
    """Rows of one tensor are texts of their own."""
    model, rows = make_model(), TOKENS.reshape(4, 250)
    found = StreamingEvaluator(model, chunk_size=64).evaluate(rows)

    assert found.loss == pytest.approx(loss_of(model, rows), abs=1e-5)
    assert found.predicted == 4 * 249


def test_no_more_than_the_limit_is_read(make_model: Maker) -> None:
    """`max_length` ends the text, and an endless source is not read beyond it."""
    model, read = make_model(), []

    def endless() -> Any:
        while True:
            read.append(1)
            yield from TOKENS.split(100)

    evaluator = StreamingEvaluator(model, chunk_size=64)
    for source in (TOKENS, endless()):
        found = evaluator.evaluate(source, max_length=130)
        assert found.tokens == 130
        assert found.loss == pytest.approx(loss_of(model, TOKENS[:130]), abs=1e-5)
    assert len(read) == 1


def test_logits_are_computed_in_parts(make_model: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few logits may be held at once, the result is the same."""
    model = make_model()
    expected = StreamingEvaluator(model).evaluate(TOKENS)
    monkeypatch.setattr("resnet_bk.evaluation.streaming_evaluator._LOGITS", 100)

    assert StreamingEvaluator(model).evaluate(TOKENS).loss == pytest.approx(expected.loss, abs=1e-6)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (torch.tensor([3]), "the first of a text is not predicted"),
        ([], "the first of a text is not predicted"),
        (torch.tensor([1.0, 2.0]), "torch.float32"),
        (numpy.array([0.5, 1.0]), "float64"),
        ([1, 61], "no token 61"),
        ([[1, 2], ["a"]], "does not give tokens"),
        ([True, False], "does not give tokens"),
        (torch.zeros(2, 2, 2, dtype=torch.long), "3 dimensions"),
        ([torch.zeros(2, 4, dtype=torch.long)], "side by side"),
        ("tokens.bin", "not a .npy file"),
        (7, "of type int"),
    ],
)
def test_bad_data_is_refused(make_model: Maker, data: Any, words: str) -> None:
    """Too little text, and what holds no tokens, are errors that say so."""
    with pytest.raises(InvalidInputError) as found:
        StreamingEvaluator(make_model()).evaluate(data)

    assert words in str(found.value)
    assert found.value.advice or found.value.why


def test_a_model_that_sees_the_future_has_no_perplexity(make_model: Maker) -> None:
    """Its predictions are none, so evaluating it is refused."""
    with pytest.warns(SeesTheFutureWarning):
        old = make_model(mixer="diagonal-bidirectional")

    with pytest.raises(ConfigurationError):
        StreamingEvaluator(old).evaluate(TOKENS)


@pytest.mark.slow
def test_a_million_tokens(make_model: Maker, tmp_path: Path) -> None:
    """A file of a million tokens is evaluated in chunks of the usual size, and every one is counted."""
    numpy.save(tmp_path / "long.npy", numpy.resize(TOKENS.numpy().astype(numpy.uint16), 1_000_003))
    found = StreamingEvaluator(make_model(n_layers=1)).evaluate(tmp_path / "long.npy", max_length=1_000_000)

    assert (found.tokens, found.predicted, found.chunks) == (1_000_000, 999_999, 123)
    assert math.isfinite(found)
