"""Clauses on the tokenizer."""

from __future__ import annotations

import random

import pytest

from modelplug.backends.loaded import LoadedModel
from modelplug.errors import BackendError, ModelplugError
from modelplug.testing.conformance.base import ConformanceBase
from modelplug.testing.conformance.clauses import clause

__all__ = ["TokenClauses"]

ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0123456789 .,;:!?-_()[]{}<>/\\|@#$%^&*+=~`'\"",
    " \n\t  ",
    "äöüßéèçñøåþðαβγδжщыאבתعربي",
    "日本語漢字かなカナ한국어中文",
    "😀🎉🚀🏳\u200d🌈",
)
RANDOM_TEXTS = 40


def random_texts() -> list[str]:
    """Texts that mix scripts, always the same ones."""
    source = random.Random(20)  # noqa: S311  nothing here is secret
    return [
        "".join(source.choice(source.choice(ALPHABETS)) for _ in range(source.randint(1, 40)))
        for _ in range(RANDOM_TEXTS)
    ]


class TokenClauses(ConformanceBase):
    """Text to tokens and back; refused if `Capabilities.tokenize` is not declared."""

    def _refused(self, model: LoadedModel) -> bool:
        if model.capabilities.tokenize:
            return False
        with pytest.raises(BackendError):
            model.tokenize("Hello")
        with pytest.raises(BackendError):
            model.detokenize([1])
        return True

    def test_tokens_give_the_text_back(self, conformance_model: LoadedModel) -> None:
        """Detokenising the tokens of a text gives that text, whatever its script and white space."""
        if self._refused(conformance_model):
            return
        lost = []
        for text in (*self.round_trip_texts, *random_texts()):
            back = conformance_model.detokenize(conformance_model.tokenize(text))
            if back != text:
                lost.append((text, back))
        assert not lost, clause(
            "Model.detokenize",
            f"{len(lost)} texts do not come back from their tokens; the first is {lost[0][0]!r} and becomes "
            f"{lost[0][1]!r}",
        )

    def test_no_text_is_cut_in_silence(self, conformance_model: LoadedModel) -> None:
        """A text with a NUL or half a surrogate pair comes back whole, or it is refused."""
        if self._refused(conformance_model):
            return
        for text, back in (
            ("before\x00after", "before\x00after"),
            ("before\ud800after", "before\ufffdafter"),
        ):
            try:
                tokens = conformance_model.tokenize(text)
            except ModelplugError:
                continue
            found = conformance_model.detokenize(tokens)
            assert found == back, clause("Model.tokenize", f"{text!r} became {found!r} without an error")

    def test_tokens_are_plain_numbers(self, conformance_model: LoadedModel) -> None:
        """`tokenize` gives a list of whole numbers, and the same ones every time."""
        if self._refused(conformance_model):
            return
        first = conformance_model.tokenize(self.prompts[0])
        assert isinstance(first, list), clause("Model.tokenize", f"it gives a {type(first).__name__}")
        assert all(type(token) is int and token >= 0 for token in first), clause(
            "Model.tokenize", f"not whole numbers from 0 on: {first}"
        )
        assert conformance_model.tokenize(self.prompts[0]) == first, clause(
            "Model.tokenize", "the same text gives other tokens the second time"
        )

    def test_start_token_is_optional(self, conformance_model: LoadedModel) -> None:
        """`add_special=False` leaves out the start token and nothing else."""
        if self._refused(conformance_model):
            return
        start = conformance_model.tokenize("")
        for text in self.prompts:
            plain = conformance_model.tokenize(text, add_special=False)
            full = conformance_model.tokenize(text)
            assert full == [*start, *plain], clause(
                "Model.tokenize", f"{full} is not {start} followed by {plain} for {text!r}"
            )

    def test_nothing_has_no_tokens(self, conformance_model: LoadedModel) -> None:
        """An empty text without start token has no tokens, and no tokens have no text."""
        if self._refused(conformance_model):
            return
        tokens = conformance_model.tokenize("", add_special=False)
        assert tokens == [], clause("Model.tokenize", f"an empty text has the tokens {tokens}")
        text = conformance_model.detokenize([])
        assert text == "", clause("Model.detokenize", f"no tokens have the text {text!r}")

    def test_unknown_tokens_are_refused(self, conformance_model: LoadedModel) -> None:
        """Token ids that do not exist are an error of modelplug's family, and the engine goes on."""
        if self._refused(conformance_model):
            return
        for wrong in ([10**9], [-1], [2**63]):
            with pytest.raises(ModelplugError):
                self.ask(conformance_model, wrong, self.greedy(max_tokens=2))
            with pytest.raises(ModelplugError):
                conformance_model.detokenize(wrong)
        assert self.ask(conformance_model, params=self.greedy(max_tokens=2)).text is not None

    def test_long_text(self, conformance_model: LoadedModel) -> None:
        """A text far longer than the context is tokenised all the same."""
        if self._refused(conformance_model):
            return
        text = "A horse! a horse! my kingdom for a horse!\n" * 400
        tokens = conformance_model.tokenize(text)
        assert len(tokens) > conformance_model.effective.context_size, clause(
            "Model.tokenize", f"{len(text)} characters have {len(tokens)} tokens: the text was cut"
        )
        assert conformance_model.detokenize(tokens) == text, clause(
            "Model.detokenize", "a long text does not come back from its tokens"
        )
