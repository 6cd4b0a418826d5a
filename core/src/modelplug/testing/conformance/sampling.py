"""Clauses on sampling parameters: those declared have their documented effect, the others are refused."""

from __future__ import annotations

from typing import Any

import pytest

from modelplug.backends.loaded import LoadedModel
from modelplug.backends.streaming import honoured_parameters
from modelplug.errors import UnsupportedParameterError
from modelplug.testing.conformance.base import ConformanceBase
from modelplug.testing.conformance.clauses import clause

__all__ = ["SamplingClauses"]

# High enough to make every token about as probable as any other, unless a filter has come first.
BOILING = 100.0

DEMANDING: dict[str, Any] = {
    "temperature": 0.7,
    "top_k": 5,
    "top_p": 0.5,
    "min_p": 0.2,
    "repeat_penalty": 1.3,
    "seed": 5,
    "stop": ("\x07",),
    "grammar": 'root ::= "a"',
    "logprobs": 2,
}


class SamplingClauses(ConformanceBase):
    """Each parameter means the same on every engine."""

    def _same_as_greedy(self, model: LoadedModel, name: str, **filters: Any) -> None:
        if name not in honoured_parameters(model.capabilities):
            return
        expected = self.ask(model).text
        for _ in range(2):
            output = self.ask(model, params=self.random(temperature=BOILING, **filters)).text
            assert output == expected, clause(
                f"GenerateParams.{name}",
                f"{filters} leaves only the most probable token, whatever the temperature; but the output is "
                f"{output!r}, not {expected!r}",
            )

    def test_greedy_decoding_repeats(self, conformance_model: LoadedModel) -> None:
        """With temperature 0, the same prompt gives the same text, and no seed changes that."""
        for prompt in self.prompts:
            first = self.ask(conformance_model, prompt).text
            second = self.ask(conformance_model, prompt).text
            seeded = self.ask(conformance_model, prompt, self.greedy(seed=1234)).text
            assert first == second == seeded, clause(
                "GenerateParams.temperature",
                f"0 is greedy decoding, but {prompt!r} gives {first!r}, {second!r} and {seeded!r}",
            )

    def test_prompts_are_told_apart(self, conformance_model: LoadedModel) -> None:
        """Different prompts give different texts: nothing of one request gets into another."""
        texts = {prompt: self.ask(conformance_model, prompt).text for prompt in self.prompts}
        assert len(set(texts.values())) == len(texts), clause(
            "Model.generate", f"different prompts give the same text: {texts}"
        )

    def test_seed_repeats_the_text(self, conformance_model: LoadedModel) -> None:
        """The same seed gives the same text, also when other requests come in between."""
        if "seed" not in conformance_model.capabilities.parameters:
            return
        params = self.random(seed=42)
        first = self.ask(conformance_model, params=params).text
        second = self.ask(conformance_model, params=params).text
        self.ask(conformance_model, self.prompts[-1], self.random(seed=7))
        third = self.ask(conformance_model, params=params).text
        assert first == second == third, clause(
            "GenerateParams.seed", f"42 gives {first!r}, then {second!r}, then {third!r}"
        )

    def test_other_seeds_give_other_texts(self, conformance_model: LoadedModel) -> None:
        """Several seeds do not all give the same text."""
        if "seed" not in conformance_model.capabilities.parameters:
            return
        texts = {self.ask(conformance_model, params=self.random(seed=seed)).text for seed in range(1, 5)}
        assert len(texts) > 1, clause("GenerateParams.seed", f"four seeds all give {texts.pop()!r}")

    def test_no_seed_means_a_fresh_one(self, conformance_model: LoadedModel) -> None:
        """Without a seed, sampling is different every time."""
        texts = {self.ask(conformance_model, params=self.random()).text for _ in range(4)}
        assert len(texts) > 1, clause(
            "GenerateParams.seed", f"None draws a fresh one, but four requests all give {texts.pop()!r}"
        )

    def test_temperature_has_an_effect(self, conformance_model: LoadedModel) -> None:
        """A temperature above 0 does not always choose the most probable token."""
        greedy = self.ask(conformance_model).text
        texts = {self.ask(conformance_model, params=self.random(temperature=1.5)).text for _ in range(4)}
        assert texts != {greedy}, clause(
            "GenerateParams.temperature", "at 1.5 four requests all give what greedy decoding gives"
        )

    def test_top_k(self, conformance_model: LoadedModel) -> None:
        """`top_k=1` keeps the most probable token only."""
        self._same_as_greedy(conformance_model, "top_k", top_k=1)

    def test_top_p(self, conformance_model: LoadedModel) -> None:
        """A tiny `top_p` keeps the most probable token only."""
        self._same_as_greedy(conformance_model, "top_p", top_p=0.0001)

    def test_min_p(self, conformance_model: LoadedModel) -> None:
        """`min_p=1` keeps the most probable token only."""
        self._same_as_greedy(conformance_model, "min_p", min_p=1.0)

    def test_filters_come_before_temperature(self, conformance_model: LoadedModel) -> None:
        """Tokens are ruled out by the probabilities that the model gives, before temperature changes them."""
        honoured = honoured_parameters(conformance_model.capabilities)
        strict = {name: value for name, value in (("min_p", 0.9), ("top_p", 0.1)) if name in honoured}
        if not strict:
            return
        name, value = next(iter(strict.items()))
        params = self.random(temperature=BOILING, max_tokens=1, **{name: value})
        found = [
            {self.ask(conformance_model, prompt, params).text for _ in range(8)} for prompt in self.prompts
        ]
        # At this temperature all tokens are alike: applied first, it would leave most of the vocabulary.
        assert min(map(len, found)) <= 3, clause(
            f"GenerateParams.{name}",
            f"temperature comes last, so {value} rules out nearly every token at any temperature; but after "
            f"{len(found)} prompts 8 requests gave {found}",
        )

    def test_repeat_penalty(self, conformance_model: LoadedModel) -> None:
        """A high `repeat_penalty` changes what greedy decoding gives."""
        if "repeat_penalty" not in conformance_model.capabilities.parameters:
            return
        plain = self.ask(conformance_model, params=self.greedy(max_tokens=2 * self.length)).text
        params = self.greedy(max_tokens=2 * self.length, repeat_penalty=10.0)
        punished = self.ask(conformance_model, params=params).text
        assert punished != plain, clause(
            "GenerateParams.repeat_penalty", f"it is declared, but 10 changes nothing about {plain!r}"
        )

    def test_declared_parameters_are_accepted(self, conformance_model: LoadedModel) -> None:
        """Every parameter in `Capabilities.parameters` is accepted, together with all others."""
        honoured = honoured_parameters(conformance_model.capabilities) - {"grammar"}
        asked = {name: value for name, value in DEMANDING.items() if name in honoured}
        params = self.random(**{"max_tokens": 6, **asked})
        output = self.ask(conformance_model, params=params)
        assert output.finish_reason in ("length", "stop")
        assert output.stats.warnings == (), clause(
            "GenerationStats.warnings", f"declared parameters are warned about: {output.stats.warnings}"
        )

    def test_undeclared_parameters_are_refused(self, conformance_model: LoadedModel) -> None:
        """A parameter that is not declared is an error that names it."""
        honoured = honoured_parameters(conformance_model.capabilities)
        for name in DEMANDING.keys() - honoured:
            with pytest.raises(UnsupportedParameterError) as caught:
                self.ask(conformance_model, params=self.random(**{name: DEMANDING[name]}))
            assert caught.value.parameter == name, clause(
                "UnsupportedParameterError.parameter", f"it names {caught.value.parameter!r}, not {name!r}"
            )

    def test_undeclared_parameters_can_be_left_out(self, conformance_model: LoadedModel) -> None:
        """With `unsupported="warn"`, the request goes on without it and a warning names it."""
        honoured = honoured_parameters(conformance_model.capabilities)
        for name in DEMANDING.keys() - honoured:
            params = self.random(max_tokens=3, unsupported="warn", **{name: DEMANDING[name]})
            warnings = self.ask(conformance_model, params=params).stats.warnings
            assert any(name in warning for warning in warnings), clause(
                "GenerationStats.warnings", f"{name} was dropped in silence; the warnings are {warnings}"
            )
