"""Clauses on what an engine may be able to do: it works where it is declared, and is refused elsewhere."""

from __future__ import annotations

import math

import pytest

from modelplug.backends.loaded import LoadedModel
from modelplug.backends.model import Message
from modelplug.errors import CapabilityError, ModelplugError
from modelplug.testing.conformance.base import ConformanceBase
from modelplug.testing.conformance.clauses import clause

__all__ = ["CapabilityClauses"]

TEXTS = ("The king is dead.", "O Romeo, Romeo!", "The king is dead.")


class CapabilityClauses(ConformanceBase):
    """Chat, embeddings, grammars and log probabilities."""

    def test_chat(self, conformance_model: LoadedModel) -> None:
        """Chat streams like any request and depends on what was said before; or it is refused."""
        talk = [Message("user", "Hello, who are you?")]
        if not conformance_model.capabilities.chat:
            with pytest.raises(CapabilityError) as caught:
                self.collect(conformance_model.chat(talk, self.greedy(max_tokens=2)))
            assert caught.value.capability == "chat", clause("CapabilityError.capability", "it is not 'chat'")
            return
        short = self.collect(conformance_model.chat(talk, self.greedy()))
        again = self.collect(conformance_model.chat(talk, self.greedy()))
        assert short.text == again.text, clause("Model.chat", "greedy decoding gives two different turns")
        longer = [Message("system", "You are a king."), *talk, Message("assistant", "A king.")]
        longer.append(Message("user", "Of what?"))
        output = self.collect(conformance_model.chat(longer, self.greedy(max_tokens=4)))
        assert output.stats.prompt_tokens > short.stats.prompt_tokens, clause(
            "Model.chat", "a longer conversation makes no longer prompt: messages are dropped"
        )

    def test_embeddings_without_being_loaded_for_it(self, conformance_model: LoadedModel) -> None:
        """A model that does not declare embeddings refuses `embed`."""
        if conformance_model.capabilities.embeddings:
            return
        with pytest.raises(CapabilityError) as caught:
            conformance_model.embed(list(TEXTS))
        assert caught.value.capability == "embeddings", clause(
            "CapabilityError.capability", f"it is {caught.value.capability!r}, not 'embeddings'"
        )

    def test_embeddings(self, conformance_embedder: LoadedModel | None) -> None:
        """Loaded with `embeddings=True`: one vector per text, in order, the same for the same text."""
        if conformance_embedder is None:
            return
        assert conformance_embedder.capabilities.embeddings, clause(
            "Capabilities.embeddings",
            "detection says the engine may have them, but loaded for it, it has not",
        )
        vectors = conformance_embedder.embed(list(TEXTS))
        assert len(vectors) == len(TEXTS), clause("Model.embed", f"{len(vectors)} for {len(TEXTS)} texts")
        assert len({len(vector) for vector in vectors}) == 1, clause("Model.embed", "lengths differ")
        assert vectors[0], clause("Model.embed", "vectors are empty")
        assert all(math.isfinite(value) for vector in vectors for value in vector), clause(
            "Model.embed", "there are values that are not finite"
        )
        assert all(
            math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-4)
            for one, other in zip(vectors[0], vectors[2], strict=True)
        ), clause("Model.embed", "the same text has two different vectors: order or state is wrong")
        assert vectors[0] != vectors[1], clause("Model.embed", "different texts have the same vector")
        assert conformance_embedder.embed([]) == [], clause("Model.embed", "no texts have vectors")

    def test_grammar_is_followed(self, conformance_model: LoadedModel) -> None:
        """The output follows the grammar, whatever the model would have said."""
        if not conformance_model.capabilities.grammar:
            return  # that it is refused is tested with all other parameters
        for grammar, allowed in (
            ('root ::= "yes" | "no"', {"yes", "no"}),
            ('root ::= [0-9] [0-9] "."', {f"{number:02}." for number in range(100)}),
        ):
            for params in (self.greedy(grammar=grammar), self.random(grammar=grammar)):
                output = self.ask(conformance_model, params=params)
                assert output.text.strip() in allowed, clause(
                    "GenerateParams.grammar", f"{output.text!r} does not follow {grammar}"
                )
                assert output.finish_reason == "stop", clause(
                    "Chunk.finish_reason", f"the grammar is complete, and it says {output.finish_reason!r}"
                )

    def test_broken_grammar_is_an_error(self, conformance_model: LoadedModel) -> None:
        """A grammar that can't be parsed is an error, and the engine goes on."""
        if not conformance_model.capabilities.grammar:
            return
        with pytest.raises(ModelplugError):
            self.ask(conformance_model, params=self.greedy(grammar='root ::= ( "a" | nowhere'))
        after = self.ask(conformance_model).finish_reason
        assert after == "length", clause("GenerateParams.grammar", f"the next request ends with {after!r}")

    def test_logprobs(self, conformance_model: LoadedModel) -> None:
        """Each token comes with its likeliest alternatives; greedy decoding takes the first of them."""
        if not conformance_model.capabilities.logprobs:
            return
        output = self.ask(conformance_model, params=self.greedy(logprobs=3))
        entries = [entry for chunk in output.chunks for entry in chunk.logprobs]
        see = "Chunk.logprobs"
        assert len(entries) == self.length, clause(see, f"{len(entries)} for {self.length} tokens")
        for entry in entries:
            assert 1 <= len(entry) <= 3, clause("GenerateParams.logprobs", f"3 were asked for: {entry}")
            assert all(value <= 1e-3 for value in entry.values()), clause(see, f"above 0: {entry}")
            assert sum(math.exp(value) for value in entry.values()) <= 1.01, clause(
                see, f"the probabilities of {entry} add up to more than 1"
            )
        likeliest = "".join(max(entry, key=lambda text: entry[text]) for entry in entries)
        assert likeliest.strip() == output.text.strip(), clause(
            see, f"greedy decoding gives {output.text!r}, but the likeliest candidates are {likeliest!r}"
        )
        plain = self.ask(conformance_model)
        assert plain.text == output.text, clause(
            "GenerateParams.logprobs", "asking for them changes the text"
        )
        assert not any(chunk.logprobs for chunk in plain.chunks), clause(see, "given without being asked for")
