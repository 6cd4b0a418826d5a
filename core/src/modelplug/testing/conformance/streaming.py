"""Clauses on the stream of chunks that every request gives."""

from __future__ import annotations

import math

from modelplug.backends.loaded import LoadedModel
from modelplug.backends.model import Chunk
from modelplug.testing.conformance.base import ConformanceBase, Output
from modelplug.testing.conformance.clauses import clause

__all__ = ["StreamClauses"]


class StreamClauses(ConformanceBase):
    """The form of the stream, its text and its figures."""

    def _without_end(self, output: Output) -> Output:
        assert output.finish_reason == "length", clause(
            "Chunk.finish_reason",
            f"the request for {self.length} tokens after {self.prompts[0]!r} ended with "
            f"{output.finish_reason!r}; if the model itself ended, choose other `prompts`",
        )
        return output

    def test_last_chunk_and_only_it_is_final(self, conformance_model: LoadedModel) -> None:
        """Exactly the last chunk has a finish reason and statistics."""
        output = self.ask(conformance_model)
        assert all(isinstance(chunk, Chunk) for chunk in output.chunks), clause("Model.generate", "no Chunk")
        final = [number for number, chunk in enumerate(output.chunks) if chunk.finish_reason is not None]
        last = len(output.chunks) - 1
        assert final == [last], clause(
            "Chunk.finish_reason", f"chunks {final} of {last + 1} have one; exactly the last must"
        )
        with_stats = [number for number, chunk in enumerate(output.chunks) if chunk.stats is not None]
        assert with_stats == [last], clause(
            "Chunk.stats", f"chunks {with_stats} of {last + 1} have them; exactly the last must"
        )
        assert output.finish_reason in ("stop", "length", "cancelled"), clause(
            "Chunk.finish_reason", f"there is no {output.finish_reason!r}"
        )

    def test_output_comes_in_pieces(self, conformance_model: LoadedModel) -> None:
        """Text is passed on as it is generated, in several chunks, none of them empty but the last."""
        output = self._without_end(self.ask(conformance_model))
        pieces = [chunk for chunk in output.chunks if chunk.text]
        assert len(pieces) > 1, clause(
            "Model.generate", f"{self.length} tokens came in {len(pieces)} chunk: that is no stream"
        )
        empty = [
            number
            for number, chunk in enumerate(output.chunks)
            if not chunk.text and chunk.finish_reason is None
        ]
        assert not empty, clause("Chunk.text", f"chunks {empty} are empty, and not the last")

    def test_complete_gives_the_same_text(self, conformance_model: LoadedModel) -> None:
        """The chunks together are the text that `complete` gives."""
        streamed = self.ask(conformance_model).text
        whole = conformance_model.complete(self.prompts[0], self.greedy())
        assert streamed == whole, clause("Model.generate", f"streamed {streamed!r}, complete {whole!r}")

    def test_tokens_are_counted(self, conformance_model: LoadedModel) -> None:
        """`prompt_tokens` is what `tokenize` gives; `completion_tokens` is what was generated."""
        for prompt in self.prompts:
            stats = self.ask(conformance_model, prompt).stats
            if conformance_model.capabilities.tokenize:
                expected = len(conformance_model.tokenize(prompt))
                assert stats.prompt_tokens == expected, clause(
                    "GenerationStats.prompt_tokens",
                    f"it is {stats.prompt_tokens} for {prompt!r}, which has {expected} tokens",
                )
        params = self.greedy(return_tokens=True)
        output = self._without_end(self.ask(conformance_model, params=params))
        expected = len(output.tokens) if conformance_model.capabilities.token_ids else self.length
        assert output.stats.completion_tokens == expected, clause(
            "GenerationStats.completion_tokens",
            f"it is {output.stats.completion_tokens} for {expected} tokens",
        )

    def test_limit_is_exact(self, conformance_model: LoadedModel) -> None:
        """`max_tokens` tokens are generated, not one more or less."""
        whole = self._without_end(self.ask(conformance_model)).text
        for limit in (1, 2, 7):
            output = self.ask(conformance_model, params=self.greedy(max_tokens=limit))
            assert output.finish_reason == "length", clause(
                "GenerateParams.max_tokens", f"with {limit} it ended with {output.finish_reason!r}"
            )
            assert whole.startswith(output.text), clause(
                "GenerateParams.max_tokens", f"{output.text!r} is no beginning of {whole!r}"
            )
            if conformance_model.capabilities.token_ids:
                params = self.greedy(max_tokens=limit, return_tokens=True)
                tokens = self.ask(conformance_model, params=params).tokens
                assert len(tokens) == limit, clause(
                    "GenerateParams.max_tokens", f"with {limit} there are {len(tokens)} tokens"
                )

    def test_token_ids(self, conformance_model: LoadedModel) -> None:
        """With `return_tokens`, chunks carry the ids of exactly the tokens generated."""
        params = self.greedy(return_tokens=True)
        output = self._without_end(self.ask(conformance_model, params=params))
        if not conformance_model.capabilities.token_ids:
            assert output.tokens == (), clause("Capabilities.token_ids", "not declared, but ids are given")
            return
        assert len(output.tokens) == self.length, clause(
            "Chunk.tokens", f"{len(output.tokens)} ids for {self.length} tokens"
        )
        if conformance_model.capabilities.tokenize:
            prompt = self.prompts[0]
            text = conformance_model.detokenize([*conformance_model.tokenize(prompt), *output.tokens])
            # The last token may end within a character, which the stream leaves out.
            rest = text.removeprefix(prompt + output.text)
            assert text.startswith(prompt + output.text), clause(
                "Chunk.tokens", f"they make {text!r}, not {prompt + output.text!r}"
            )
            assert not rest.strip("\ufffd"), clause("Chunk.tokens", f"they make {rest!r} beyond the text")
        plain = self.ask(conformance_model)
        assert plain.tokens == (), clause(
            "GenerateParams.return_tokens", "ids are given without being asked for"
        )

    def test_token_ids_as_prompt(self, conformance_model: LoadedModel) -> None:
        """A prompt of token ids means the same as its text, and is taken as it is."""
        if not conformance_model.capabilities.tokenize:
            return
        for prompt in self.prompts:
            tokens = conformance_model.tokenize(prompt)
            as_text, as_tokens = self.ask(conformance_model, prompt), self.ask(conformance_model, tokens)
            assert as_tokens.text == as_text.text, clause(
                "Model.generate", f"{tokens} gives {as_tokens.text!r}, their text gives {as_text.text!r}"
            )
            assert as_tokens.stats.prompt_tokens == len(tokens), clause(
                "GenerationStats.prompt_tokens",
                f"{as_tokens.stats.prompt_tokens} for {len(tokens)} given tokens: none may be added",
            )

    def test_times_make_sense(self, conformance_model: LoadedModel) -> None:
        """Times are finite, not negative, and the first token comes before the end."""
        stats = self.ask(conformance_model).stats
        for name in ("prompt_seconds", "generate_seconds", "first_token_seconds", "total_seconds"):
            value = getattr(stats, name)
            assert value is None or (math.isfinite(value) and value >= 0), clause(
                f"GenerationStats.{name}", f"it is {value}"
            )
        assert stats.first_token_seconds is not None
        assert stats.total_seconds is not None
        assert stats.first_token_seconds <= stats.total_seconds

    def test_statistics_of_the_model_grow(self, conformance_model: LoadedModel) -> None:
        """`stats` counts the requests and tokens of the model."""
        before = conformance_model.stats
        request = self.ask(conformance_model).stats
        after = conformance_model.stats
        for name, growth in (
            ("requests", 1),
            ("prompt_tokens", request.prompt_tokens),
            ("completion_tokens", request.completion_tokens),
        ):
            grown = getattr(after, name) - getattr(before, name)
            assert grown == growth, clause(f"ModelStats.{name}", f"it grew by {grown}, not by {growth}")
        assert after.resident_bytes, clause("ModelStats.resident_bytes", f"it is {after.resident_bytes}")
